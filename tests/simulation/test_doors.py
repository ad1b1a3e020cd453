"""Every door gives the same answer to how many promises are broken, which, why, and whose turn it is."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import cli.explain
import cli.status
from cli import report
from cli.commands import app
from codat_sandbox.model import ConnectionStatus
from freshness.app.page.read import page_view
from freshness.app.page.render import Frame, Medium, render
from freshness.app.reading.diagnosis import Turn
from freshness.aws.metrics import Metric
from stack_access.deployed_policies import DeployedPolicies
from tests.page.world import HOUR, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    """Return a fleet of which two links have lapsed for so long that promises are broken, seen by every door."""
    made = World()
    made.pass_time(HOUR / 2)
    made.set_link(ConnectionStatus.DEAUTHORIZED)
    made.set_link(ConnectionStatus.DEAUTHORIZED, 1)
    made.pass_time(26 * HOUR, every=timedelta(minutes=15))

    async def no_links(*_: object) -> list[object]:
        return []

    tables = made.queries.services.tables
    stack = SimpleNamespace(queries=made.queries, policies=DeployedPolicies(tables.policies, tmp_path / "none.toml"))
    for module in (cli.status, cli.explain, report):
        monkeypatch.setattr(module, "selected_stack", lambda _: stack)
        monkeypatch.setattr(module, "clock", made.now)
        if hasattr(module, "links_of"):
            monkeypatch.setattr(module, "links_of", no_links)
    yield made
    made.close()


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_every_door_names_the_same_broken_promises_and_whose_turn_it_is(world: World) -> None:
    broken = world.queries.fleet(world.now()).broken
    view = page_view(world.queries, world.now())
    html = render(view, Frame(Medium.FILE))

    assert len(broken) > 1
    of_how_many = f"{len(broken)} of {view.feeds} promises are broken"
    turns = Counter(feed.diagnosis.turn for feed in broken if feed.diagnosis)
    assert turns.total() == len(broken)
    waiting = ", ".join(f"{number} wait for {turn.waited_for}" for turn, number in turns.most_common())
    assert f"{of_how_many}: {waiting}." in printed("status")
    assert of_how_many in html
    assert all(f"{number} wait for {turn.waited_for}" in html for turn, number in turns.items())
    assert {(cell.feed.key, cell.diagnosis) for cell in view.worst} == {(feed.key, feed.diagnosis) for feed in broken}
    assert turns[Turn.CUSTOMER] > 1
    announced = world.simulation.tallies[Metric.PROMISES_BROKEN] - world.simulation.tallies[Metric.PROMISES_KEPT_AGAIN]
    assert announced == len(broken)
    for feed in broken[:3]:
        assert feed.diagnosis
        said = printed("explain", feed.company_id, feed.data_type)
        assert f"Why {feed.diagnosis.why}" in said
        assert f"Turn {feed.diagnosis.turn.waited_for}: {feed.diagnosis.next_action}" in said


def test_the_report_says_how_many_promises_stand_before_anything_was_recorded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = world.queries.fleet(world.now())
    monkeypatch.setattr(report, "attainment", lambda *_: (SimpleNamespace(times=SimpleNamespace(share=None)),))

    assert f"{fleet.promises} promises stand." in printed("report")
