"""Every door gives the same answer to how many promises are broken, which, why, and whose turn it is."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import cli.doctor
import cli.explain
import cli.status
from cli import report
from cli.agent import Tools
from cli.commands import app
from codat_sandbox.model import ConnectionStatus
from freshness.app.api.models import CompanyFreshness
from freshness.app.page.read import first_companies, page_view, summary_of_large
from freshness.app.page.render import Frame, Medium, render, render_explanations
from freshness.app.reading.diagnosis import Turn, parties
from freshness.app.reading.text import read_times
from freshness.aws.metrics import Metric
from freshness.domain.feeds.feed_values import State
from stack_access.deployed_policies import DeployedPolicies
from tests.builders import HOUR
from tests.page.world import World


@pytest.fixture(scope="module")
def lapsed() -> Iterator[World]:
    """Return a fleet in which two links lapsed so long ago that promises are broken."""
    made = World()
    made.pass_time(HOUR / 2)
    made.set_link(ConnectionStatus.DEAUTHORIZED)
    made.set_link(ConnectionStatus.DEAUTHORIZED, 1)
    made.pass_time(26 * HOUR, every=timedelta(minutes=15))
    yield made
    made.close()


@pytest.fixture
def world(lapsed: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """Have every door open to the fleet."""
    tables = lapsed.queries.services.tables
    stack = SimpleNamespace(
        queries=lapsed.queries,
        policies=DeployedPolicies(tables.policies, tmp_path / "none.toml"),
        links=lambda *_: [],
    )
    for module in (cli.status, cli.explain, cli.doctor, report):
        monkeypatch.setattr(module, "selected_stack", lambda _: stack)
        monkeypatch.setattr(module, "clock", lapsed.now)
    return lapsed


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_every_door_names_the_same_broken_promises_and_whose_turn_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = world.queries.fleet(world.now()).broken
    view = page_view(world.queries, world.now())
    html = render(view, Frame(Medium.FILE))

    assert len(broken) > 1
    of_how_many = f"{len(broken)} of {view.feeds} promises are broken"
    turns = Counter(feed.diagnosis.turn for feed in broken if feed.diagnosis)
    assert turns.total() == len(broken)
    waiting = ", ".join(f"{party.feeds} wait for {party.name}" for party in parties((feed.turn, 1) for feed in broken))
    assert f"{of_how_many}: {waiting}." in printed("status")
    monkeypatch.setattr(cli.doctor, "_examine", lambda _: ())
    for door in ("report", "doctor"):
        assert f"Now {of_how_many}: {waiting}." in printed(door)
    assert '"./freshness status" lists them' in printed("doctor")
    assert of_how_many in html
    assert all(f"{number} wait for {turn.waited_for}" in html for turn, number in turns.items())
    assert {(cell.feed.key, cell.diagnosis) for cell in view.worst} == {(feed.key, feed.diagnosis) for feed in broken}
    assert turns[Turn.CUSTOMER] > 1
    announced = world.simulation.tallies[Metric.PROMISES_BROKEN] - world.simulation.tallies[Metric.PROMISES_KEPT_AGAIN]
    assert announced == len(broken)
    summaries = (
        world.queries.summary(world.queries.fleet(world.now()), world.now()),
        summary_of_large(world.queries, world.now(), first_companies(world.queries)),
    )
    assert {(each.promises_broken, each.waits_for) for each in summaries} == {(len(broken), summaries[0].waits_for)}
    for feed in broken[:3]:
        assert feed.diagnosis
        said = printed("explain", feed.company_id, feed.data_type)
        assert f"Why {feed.diagnosis.why}" in said
        assert f"Turn {feed.diagnosis.waited_for}: {feed.diagnosis.next_action}" in said


def test_agents_and_callers_of_the_api_are_told_the_same(world: World) -> None:
    broken = world.queries.fleet(world.now()).broken
    tools = Tools(world, lambda *_: {}, 0)

    told = tools.who_must_act()

    assert (told["broken"], told["byTurn"]) == (len(broken), dict(Counter(feed.turn.turn for feed in broken)))
    assert {
        (each["companyName"], each["dataType"], each["turn"], each["why"], each["next"]) for each in told["feeds"]
    } == {(feed.company_name, feed.data_type, feed.turn.turn, feed.turn.why, feed.turn.next_action) for feed in broken}
    company = world.queries.find_company(broken[0].company_id)
    answered = CompanyFreshness.of(company, world.queries.company(company, world.now()))
    feeds = {(each.data_type, each.connection_id): each for each in answered.data_types}
    for feed in broken:
        if feed.company_id == company.company_id:
            seen = feeds[feed.data_type, feed.connection_id]
            assert (seen.keeps_promise, seen.obstacle, seen.refreshed_at) == (False, feed.obstacle, feed.succeeded_at)


def test_a_feed_that_waits_for_nothing_is_nobodys_turn_at_every_door(world: World) -> None:
    world.set_link(ConnectionStatus.UNLINKED, 2)
    world.pass_time(2 * HOUR, every=timedelta(minutes=15))
    feed = next(
        feed for feed in world.queries.fleet(world.now()).feeds if feed.state is State.OFF and feed.succeeded_at
    )
    company = world.queries.find_company(feed.company_id)
    html = render_explanations(world.queries.explain(company, feed.data_type, world.now()), Frame(Medium.FILE))

    assert feed.succeeded_at
    said = printed("explain", feed.company_id, feed.data_type)
    read = read_times(feed.succeeded_at, feed.as_of, feed.as_of_is_estimated)
    for label, text in (
        ("Turn", "nobody: Nothing is promised of it, so nobody has to act."),
        ("Next", "nothing, because you unlinked it at Codat"),
        ("Read", read),
    ):
        assert f"{label} {text}" in said
        assert f"<dt>{label}</dt><dd>{text}</dd>" in html


def test_the_report_says_how_many_promises_stand_before_anything_was_recorded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = world.queries.fleet(world.now())
    monkeypatch.setattr(report, "attainment", lambda *_: (SimpleNamespace(times=SimpleNamespace(share=None)),))

    said = printed("report")
    assert f"Now {len(fleet.broken)} of {fleet.promises} promises are broken: " in said
    assert "is recorded from the first list of companies" in said
