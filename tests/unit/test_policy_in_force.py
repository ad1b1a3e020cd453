"""Which policy a process takes: the one that was deployed, or one that was pushed since."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from random import Random

import pytest

from estimate.memory_dynamodb import MemoryDynamoDB, tables_in_memory
from freshness.app.policy_in_force import NOT_LOADED, TAKEN, PolicyInForce
from freshness.aws.dynamodb.control_items.policy_versions import PolicyVersion
from freshness.aws.dynamodb.tables import Tables
from freshness.domain.companies.company import Company
from freshness.policy import compiled
from freshness.policy.file import values
from infra.removals import replaced_policy
from stack_access.deployed_policies import DeployedPolicies
from stack_access.errors import StackError
from tests.builders import NOON, a_connection


def policy(folder: Path, hours: int, comment: str = "", account: str = "") -> str:
    """Return a compiled policy."""
    file = folder / "freshness.toml"
    codat = f'[codat]\naccount = "{account}"\n' if account else ""
    file.write_text(f'# {comment}\n{codat}[default]\nfresh_within = "{hours} hours"\n')
    return compiled.compiled(file)


@dataclass
class World:
    """A stack's tables with the processes of its functions, and a clock."""

    folder: Path
    dynamodb: MemoryDynamoDB = field(default_factory=MemoryDynamoDB)
    seconds: float = 0.0

    @property
    def tables(self) -> Tables:
        return tables_in_memory(self.dynamodb)

    def process(self, deployed: str, *, deployed_only: bool = False) -> PolicyInForce:
        """Return a process of a function of the deployment of a policy."""
        return PolicyInForce(
            self.tables.policies, lambda: deployed, deployed_only=deployed_only, seconds=lambda: self.seconds
        )

    def deploy(self, hours: int, account: str = "") -> PolicyInForce:
        """Deploy a policy, and run a tick of the function that records it."""
        process = self.process(policy(self.folder, hours, account=account))
        process.record_deployed(NOON)
        return process

    def push(self, hours: int, by: str = "Ann", seen: PolicyVersion | None = None) -> PolicyVersion:
        policies = self.policies()
        return policies.put(policy(self.folder, hours), seen or policies.latest(), by=by, how="pushed")

    def policies(self) -> DeployedPolicies:
        return DeployedPolicies(self.tables.policies, self.folder / "freshness.toml")

    def in_force(self) -> float:
        """Return the hours that are promised by the policy that people are shown."""
        return self.policies().in_force().default.fresh_within.total_seconds() / 3600

    def reads(self) -> int:
        return self.dynamodb.calls.total()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def hours(process: PolicyInForce) -> float:
    """Return the hours that a process promises."""
    return process.policy().default.fresh_within.total_seconds() / 3600


def test_a_pushed_policy_is_in_force_within_a_minute_and_that_is_read_once_a_minute(world: World) -> None:
    process = world.deploy(24)
    assert hours(process) == 24
    world.push(2)
    before = world.reads()

    assert hours(process) == 24
    assert world.reads() == before
    world.seconds += 60
    assert hours(process) == 2
    read = world.reads()
    assert [hours(process) for _ in range(100)] == [2] * 100
    assert world.reads() == read
    world.seconds += 60
    assert hours(process) == 2
    assert world.reads() == read + 1  # the content only if it is another
    assert hours(world.process(policy(world.folder, 24))) == 2


def test_a_deployment_of_another_policy_wins_over_what_was_pushed_and_stays_so(world: World) -> None:
    world.deploy(24)
    world.push(2)
    deployed = world.deploy(12)

    assert hours(deployed) == hours(world.process(policy(world.folder, 12))) == 12
    assert hours(world.deploy(24)) == 24  # and not what was once pushed on top of it
    assert [each.how for each in world.policies().versions.history(world.policies().latest())] == [
        "deployed",
        "deployed",
        "pushed",
        "deployed",
    ]


def test_it_is_logged_once_that_another_policy_was_taken(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    process = world.deploy(24)
    assert hours(process) == 24
    assert TAKEN not in caplog.messages

    world.push(2)
    for _ in range(2):
        world.seconds += 61
        assert hours(process) == 2

    assert caplog.messages.count(TAKEN) == 1


def test_a_deployment_of_the_same_policy_leaves_what_was_pushed_in_force(world: World) -> None:
    world.deploy(24)
    world.push(2)
    assert hours(world.deploy(24)) == 2
    assert world.policies().latest().version == 2


def test_a_compiled_policy_has_its_holidays_as_they_were_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions have no package that knows holidays."""
    file = tmp_path / "freshness.toml"
    file.write_text('[default]\nfresh_within = "1 day"\n[calendars.uk]\nholidays = "GB-ENG"\n')
    content = compiled.compiled(file)
    monkeypatch.delattr(values, "public_holidays")
    assert date(2027, 12, 27) in compiled.parse(content).calendars["uk"].all_dates


def test_before_a_deployment_it_is_said_what_it_replaces(world: World) -> None:
    world.deploy(24)
    deployed, other = (compiled.parse(policy(world.folder, each)) for each in (24, 12))
    assert replaced_policy(world.tables.policies, other) == ""
    world.push(2)

    assert replaced_policy(world.tables.policies, deployed) == ""
    assert "version 2, which Ann put in force at" in replaced_policy(world.tables.policies, other)
    assert replaced_policy(world.tables.policies, compiled.parse(policy(world.folder, 2))) == ""
    assert replaced_policy(None, other) == ""


def corrupt(world: World, change: Callable[[bytes], bytes | None]) -> None:
    """Change what the table has of the latest version's content."""
    latest = world.policies().latest()
    key = {"name": {"S": f"policy content {latest.digest} 000"}}
    table = world.dynamodb.tables["control"]
    item = table.get(key)
    assert item
    part = change(item["part"]["B"])
    table.replace(key, None if part is None else {**item, "part": {"B": part}})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _: None, id="missing"),
        pytest.param(lambda part: part[:-1], id="cut off"),
        pytest.param(lambda part: bytes([part[0] ^ 1]) + part[1:], id="a bit flipped"),
    ],
)
def test_a_corrupted_policy_changes_nothing_and_raises_an_alarm(
    world: World, change: Callable[[bytes], bytes | None], caplog: pytest.LogCaptureFixture
) -> None:
    process = world.deploy(24)
    world.push(6)
    world.seconds += 60
    assert hours(process) == 6
    world.push(2)
    corrupt(world, change)
    world.seconds += 60

    assert hours(process) == hours(world.process(policy(world.folder, 24))) == 6
    assert NOT_LOADED in caplog.text
    caplog.clear()
    policies = world.policies()
    assert world.in_force() == 6
    rolled_back = policies.content(policies.version(2))
    policies.put(rolled_back, policies.latest(), by="Ann", how="rolled back to version 2")
    world.seconds += 60
    assert hours(process) == 6
    assert NOT_LOADED not in caplog.text


def test_what_is_stored_but_no_policy_changes_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    process = world.deploy(24)
    latest = world.policies().latest()
    version = PolicyVersion(fingerprint="other", deployed=latest.deployed, at=NOON, by="Eve", how="pushed")
    world.tables.policies.put(version, '{"tables": {"default": {"fresh_within": "soon"}}}', latest)
    world.seconds += 60

    assert hours(process) == 24
    assert NOT_LOADED in caplog.text
    caplog.clear()


def test_of_two_people_who_push_at_once_the_second_is_told_of_the_first(world: World) -> None:
    world.deploy(24)
    seen = world.policies().latest()
    world.push(2, by="Ann", seen=seen)
    with pytest.raises(StackError, match="Ann put version 2 in force meanwhile"):
        world.push(3, by="Ben", seen=seen)
    assert hours(world.deploy(24)) == 2


def test_a_setting_keeps_pushed_policies_out_of_force(world: World) -> None:
    world.deploy(24)
    world.push(2)
    deployed = policy(world.folder, 24)
    process = world.process(deployed, deployed_only=True)

    assert hours(process) == 24
    process.record_deployed(NOON)
    assert hours(world.process(deployed)) == 24
    assert world.in_force() == 24


def test_the_command_line_takes_the_file_until_a_tick_recorded_what_is_deployed(world: World) -> None:
    with pytest.raises(StackError, match="Try again in a minute"):
        world.policies().in_force()
    policy(world.folder, 5)
    assert world.in_force() == 5
    assert world.policies().difference() == ""

    world.deploy(24)
    policy(world.folder, 5)
    policies = world.policies()
    assert world.in_force() == 24
    assert "is not the policy in force" in policies.difference()
    (world.folder / "freshness.toml").write_text("[default\n")
    assert "has a mistake and is not in force" in policies.difference()
    policy(world.folder, 24, "only a comment differs")
    assert policies.difference() == ""


def test_a_policy_of_thousands_of_rules_is_stored_in_parts_that_fit_into_items_and_its_rules_are_found(
    world: World,
) -> None:
    customers = [Random(number).randbytes(64).hex() for number in range(1_500)]  # what cannot be compressed
    rules = "".join(
        f'[[rules]]\nname = "of {name}"\ntags = {{ customer = "{name[::-1]}" }}\nfresh_within = "2 days"\n'
        f'data_types.invoices.fresh_within = "{1 + number % 5} hours"\n'
        for number, name in enumerate(customers)
    )
    (world.folder / "freshness.toml").write_text(f'[default]\nfresh_within = "1 day"\n{rules}')
    content = compiled.compiled(world.folder / "freshness.toml")
    world.deploy(24)
    world.policies().put(content, world.policies().latest(), by="Ann", how="pushed")
    process = world.process(policy(world.folder, 24))

    started = time.process_time()
    loaded = process.policy()
    assert time.process_time() - started < 0.5  # about 0.2
    partitions = world.dynamodb.tables["control"].partitions.values()
    parts = [len(item["part"]["B"]) for partition in partitions for item in partition.values() if "part" in item]
    assert len(parts) > 2  # one of them of the policy that was deployed
    assert max(parts) < 400_000
    resolve = partial(loaded.promise, "invoices", connection=a_connection("connection", NOON, source_type=""))
    promises = [resolve(Company(company_id="c", tags={"customer": name[::-1]})) for name in customers[-6:]]
    assert [each.fresh_within.total_seconds() / 3600 for each in promises] == [5, 1, 2, 3, 4, 5]
