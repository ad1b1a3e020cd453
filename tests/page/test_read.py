"""What the page says, read from indexes and the worst companies alone, against everything that there is."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from freshness.app.page import read
from freshness.app.page.read import page_view
from freshness.app.page.turns import Turn
from freshness.app.page.view import PageView, Tone
from freshness.app.report import attainment
from freshness.domain.attainment import DAY, Kind
from freshness.domain.feed_values import State
from local.codat_sandbox.model import ConnectionStatus
from tests.page.world import HOUR, World

FEW_MINUTES = timedelta(minutes=5)


@pytest.fixture
def world() -> Iterator[World]:
    """A fleet all of whose promises are kept."""
    world = World()
    world.pass_time(HOUR / 2)
    yield world
    world.close()


def broken(world: World) -> int:
    """Return how many promises are broken, of everything that there is."""
    feeds = world.queries.fleet(world.now()).feeds
    return sum(feed.is_broken(world.now()) for feed in feeds if feed.state is not State.UNSUPPORTED)


def turns(view: PageView) -> dict[Turn, int]:
    """Return how many feeds wait for whom."""
    return {turn: sum(each.feeds for each in view.turns if each.step.turn is turn) for turn in Turn}


def test_a_fleet_whose_promises_are_kept_is_shown_whole(world: World) -> None:
    view = page_view(world.queries, world.now())
    assert (view.verdict.tone, view.broken, view.needs_person) == (Tone.GOOD, 0, ())
    assert (view.is_whole, view.companies, len(view.rows)) == (True, 12, 12)
    assert not any(turns(view).values())


def test_what_codat_does_not_answer_is_codats_turn(world: World) -> None:
    world.simulation.is_down = True
    world.pass_time(6 * HOUR, every=FEW_MINUTES)
    view = page_view(world.queries, world.now())
    assert view.broken == broken(world) > 5
    assert "Codat has answered no call since 09:" in view.verdict.text
    assert turns(view)[Turn.CODAT] == view.broken


def test_of_a_large_fleet_the_worst_are_named_and_the_others_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.simulation.is_down = True
    world.pass_time(6 * HOUR, every=FEW_MINUTES)
    monkeypatch.setattr(read, "COMPANIES", 4)
    monkeypatch.setattr(read, "WORST", 3)
    monkeypatch.setattr(read, "ROWS", 2)
    view = page_view(world.queries, world.now())
    assert (view.is_whole, len(view.rows), len(view.worst)) == (False, 2, 3)
    assert view.companies == 12
    assert view.broken == broken(world)
    in_rows = sum(cell.is_broken for row in view.rows for of in row.cells.values() for cell in of)
    assert in_rows + sum(view.broken_elsewhere.values()) == view.broken


def test_a_lapsed_link_needs_its_customer_until_it_returns(world: World) -> None:
    name = world.set_link(ConnectionStatus.DEAUTHORIZED)
    world.pass_time(HOUR / 2)
    view = page_view(world.queries, world.now())
    assert [each.company_name for each in view.needs_person] == [name]
    assert (view.rows[0].company_name, turns(view)[Turn.CUSTOMER]) == (name, len(view.needs_person[0].feeds))

    world.set_link(ConnectionStatus.LINKED)
    world.pass_time(HOUR / 2)
    assert page_view(world.queries, world.now()).needs_person == ()


def test_lost_webhooks_are_noticed_once_refreshes_end_without_them(world: World) -> None:
    world.pass_time(8 * HOUR, every=FEW_MINUTES, lost=1.0)
    view = page_view(world.queries, world.now())
    assert view.webhooks.silent_since
    assert "no webhook has arrived since 09:" in view.verdict.text.lower()
    assert [(each.step.turn, each.feeds) for each in view.turns if "no webhook" in each.step.why] == [(Turn.US, 0)]


def test_attainment_is_that_of_the_report_and_the_hours_add_up_to_it(world: World) -> None:
    world.simulation.is_down = True
    world.pass_time(6 * HOUR, every=FEW_MINUTES)
    world.simulation.is_down = False
    world.pass_time(2 * HOUR, every=FEW_MINUTES)
    view = page_view(world.queries, world.now())
    for since in (DAY, 30 * DAY):
        reported = attainment(world.simulation.tables, world.queries.policy, world.now(), since)
        of_rules = {each.name: each.times for each in reported if each.kind is Kind.RULE}
        shown = {each.rule: each.day if since == DAY else each.month for each in view.attainment[1:]}
        assert shown == of_rules
    whole = view.attainment[0].day
    broken = sum((hour.late * min(HOUR, world.now() - hour.start) for hour in view.hours), timedelta(0))
    assert abs(whole.late - broken) < timedelta(seconds=1)
    assert whole.late > HOUR
