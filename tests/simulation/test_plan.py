"""What `./freshness plan` says, compared with what the system then does in simulated time."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, ClassVar
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from cli.commands import app
from codat_sandbox.server import running_sandbox
from codat_sandbox.settings import Settings
from estimate.bill import DAYS_A_MONTH, usd_a_month
from estimate.memory_dynamodb import MemoryDynamoDB, tables_in_memory
from estimate.plan import Fleet, Plan, effect, plan
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.metrics import Metric
from freshness.domain.datasets.dataset import Trigger
from freshness.policy.loader import load
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Fuse, Simulation
from stack_access.outputs import Outputs
from stack_access.stack import DeployedStack
from tests.builders import DAY, MINUTE, a_policy

FILE = Path(__file__).parents[2] / "freshness.toml"
PRICES = """
[prices]
Xero = "0.50 USD per GB, 3 MB a refresh"
"QuickBooks Online" = "0.002 USD per refresh"
Plaid = "0.004 USD per refresh"
"""


def fleet_of(simulation: Simulation) -> Fleet:
    tables = simulation.tables
    return Fleet(
        companies=list(tables.companies.scan()),
        feeds=list(tables.feeds.scan()),
        limits=tables.control.api_limits(),
        at=simulation.clock(),
    )


def in_a_fleet(test: Callable[[Fleet], None], policy: Policy, companies: int = 6) -> None:
    """Run a test on a fleet that was checked, and of which nothing was queued yet."""

    async def main(loop: SimulatedLoop) -> None:
        simulation = Simulation(loop, Settings(companies=companies), policy, start_paused=True)
        await simulation.check(Fuse(), listing=None)
        test(fleet_of(simulation))

    simulate(main)


def charged(simulation: Simulation, since: datetime, policy: Policy) -> float:
    """Return what the platforms charge for the datasets that were queued since a time."""
    companies = {company.company_id: company for company in simulation.tables.companies.scan()}
    prices = (
        policy.price(companies[each.company_id].connections[each.connection_id])
        for each in simulation.tables.datasets.scan()
        if each.requested_at and each.requested_at >= since and each.trigger is not Trigger.EXTERNAL
    )
    return sum(price.amount for price in prices if price)


def test_calls_and_cost_are_those_of_a_simulated_day_within_a_tenth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "freshness.toml").write_text(FILE.read_text() + PRICES)
    policy = load(tmp_path / "freshness.toml")

    async def main(loop: SimulatedLoop) -> tuple[Plan, int, int, float]:
        simulation = Simulation(loop, Settings(), policy, start_paused=True)
        await simulation.check(Fuse(), listing=None)
        expected = plan(fleet_of(simulation), policy)
        simulation.tables.control.resume(simulation.clock())
        await simulation.run_for(DAY, every=MINUTE, random=Random(1), skips_idle=True)
        simulation.calls.clear()
        before, since = simulation.tallies[Metric.REFRESHES_QUEUED], simulation.clock()
        await simulation.run_for(DAY, every=MINUTE, random=Random(1), skips_idle=True)
        refreshes = simulation.tallies[Metric.REFRESHES_QUEUED] - before
        return expected, simulation.calls.total(), refreshes, charged(simulation, since, policy)

    expected, calls, refreshes, platforms = simulate(main)
    charged_a_day = expected.platforms_a_month / DAYS_A_MONTH
    with capsys.disabled():
        print(
            f"\nA day: planned {expected.calls_a_day:.0f} calls, {expected.refreshes_a_day:.0f} refreshes and "
            f"{charged_a_day:.2f} USD at the platforms, made {calls}, {refreshes} and {platforms:.2f}; a month at AWS "
            f"{expected.aws_usd_a_month:.2f} USD, {expected.aws_usd_a_month_with_free_tier:.2f} with its free tier"
        )
    assert expected.calls_a_day == pytest.approx(calls, rel=0.1)
    assert expected.refreshes_a_day == pytest.approx(refreshes, rel=0.1)
    assert expected.aws_usd_a_month == pytest.approx(usd_a_month(refreshes, expected.companies), rel=0.1)
    assert charged_a_day == pytest.approx(platforms, rel=0.1)
    assert expected.currency == "USD"


def test_what_is_due_now_is_what_the_next_tick_queues() -> None:
    policy = load(FILE)

    async def main(loop: SimulatedLoop) -> None:
        settings = Settings(companies=6, not_supported=0)
        simulation = Simulation(loop, settings, policy, start_paused=True)
        await simulation.check(Fuse(), listing=None)
        expected = plan(fleet_of(simulation), policy)
        assert not simulation.tallies[Metric.REFRESHES_QUEUED]
        simulation.tables.control.resume(simulation.clock())
        await simulation.queue(Fuse())
        # Codat says of some that their platforms do not have them.
        tried = simulation.tallies[Metric.REFRESHES_QUEUED] + simulation.tallies[Metric.FEEDS_FOUND_UNSUPPORTED]
        assert tried == sum(expected.queued_now.values())

    simulate(main)


def test_a_promise_that_cannot_be_kept_is_named_with_its_reason() -> None:
    tight = a_policy("10 minutes", budget={"share_of_quota": 0.05})

    def test(fleet: Fleet) -> None:
        [unkept] = plan(fleet, tight).unkept
        assert (unkept.rule, unkept.why) == ("[default]", "over budget")
        assert unkept.feeds > 10

    in_a_fleet(test, tight, companies=2)


def test_a_rule_that_matches_nothing_is_named() -> None:
    rule = {"name": "gold", "tags": {"plan": "gold"}, "fresh_within": "1 hour"}
    policy = a_policy("1 day", rules=[rule])

    def test(fleet: Fleet) -> None:
        [sentence] = plan(fleet, policy).matches_nothing
        assert sentence.startswith('rule "gold"')

    in_a_fleet(test, policy)


def test_the_effect_of_another_policy_names_what_it_tightens_and_loosens() -> None:
    def policy(**data_types: dict[str, Any]) -> Policy:
        return a_policy("1 day", data_types=data_types)

    six_hours = {"fresh_within": "6 hours"}
    before = policy(invoices=six_hours, bills=six_hours)
    after = policy(invoices={"fresh_within": "2 hours"}, bills={"off": True})

    def test(fleet: Fleet) -> None:
        assert effect(fleet, before, policy(bills=six_hours, invoices=six_hours)).feeds == 0
        changed = effect(fleet, before, after)
        assert changed.tightened > 0
        assert changed.loosened > 0
        assert changed.otherwise == 0
        assert len(changed.named) == min(10, changed.feeds)
        assert any(name.startswith("invoices of") and name.endswith("6 h → 2 h") for name in changed.named)
        assert any(name.startswith("bills of") and name.endswith("6 h → off") for name in changed.named)

    in_a_fleet(test, before)


class NewStack(DeployedStack):
    """A stack of which no tick has run, with the sandbox as its Codat."""

    dynamodb: ClassVar[MemoryDynamoDB]
    base_url: ClassVar[str]

    @property
    def tables(self) -> Tables:
        return tables_in_memory(self.dynamodb)

    def environment(self, function: str) -> dict[str, str]:  # noqa: ARG002
        return {"CODAT_BASE_URL": self.base_url, "START_PAUSED": "true"}

    def secret(self, name: str) -> str:  # noqa: ARG002
        return "key"


@pytest.fixture
def new_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[NewStack]]:
    """The stack that commands select, with five companies at its Codat."""
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps({field.alias: "x" for field in Outputs.model_fields.values() if field.alias}))
    monkeypatch.setattr(
        DeployedStack, "in_aws", lambda *given: NewStack(Mock(), "CodatFreshness", given[-1], None, outputs)
    )
    monkeypatch.setattr(NewStack, "dynamodb", MemoryDynamoDB(), raising=False)
    with running_sandbox(Settings(companies=5), "key") as sandbox:
        monkeypatch.setattr(NewStack, "base_url", sandbox.base_url, raising=False)
        yield NewStack


def test_on_a_stack_with_nothing_checked_it_reads_codat_itself_and_writes_nothing(
    new_stack: type[NewStack], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = CliRunner().invoke(app, ["plan", "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    text = CliRunner().invoke(app, ["plan"]).stdout

    assert said["companies"] == 5
    assert sum(said["queuedNow"].values()) > 5
    assert said["callsADay"] > 96
    assert "5 companies" in text
    assert "Everything is paused (a new stack)" in text
    assert "of the quota" in text
    assert f"{said['awsUsdAMonth']:.2f} USD at AWS" in text
    assert not new_stack.dynamodb.writes.total()

    monkeypatch.setattr(NewStack, "base_url", "http://127.0.0.1:9")
    refused = CliRunner().invoke(app, ["plan"])
    assert refused.exit_code == 1
    assert "doctor" in refused.stderr


def test_a_draft_is_planned_with_wherever_its_option_is(new_stack: type[NewStack], tmp_path: Path) -> None:
    draft = tmp_path / "draft.toml"
    draft.write_text('[default]\nfresh_within = "4 weeks"\n[prices]\nXero = "0.01 USD per refresh"\n')

    in_force, *of_draft = (
        json.loads(CliRunner().invoke(app, arguments).stdout)
        for arguments in (
            ["plan", "--json"],
            ["plan", "--json", "--policy", str(draft)],
            ["--policy", str(draft), "plan", "--json"],
        )
    )

    assert of_draft[0] == of_draft[1]
    assert (in_force["currency"], of_draft[0]["currency"]) == ("", "USD")
    assert of_draft[0]["refreshesADay"] < in_force["refreshesADay"] / 2
    assert not new_stack.dynamodb.writes.total()
    text = CliRunner().invoke(app, ["plan", "--policy", str(draft)]).stdout
    assert "policy push" in text
    assert "USD at the platforms" in text
    draft.write_text("[default\n")
    mistaken = CliRunner().invoke(app, ["plan", "--policy", str(draft)])
    assert mistaken.exit_code == 2
    assert "draft.toml:1:" in mistaken.stderr
