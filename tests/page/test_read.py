"""What the page says, read from indexes and the worst companies alone, against everything that there is."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from codat_sandbox.model import ConnectionStatus
from freshness.app.page import read, timeline
from freshness.app.page.read import first_companies, page_view, summary_of, summary_of_large
from freshness.app.page.refresh import refresh_worst
from freshness.app.page.render import Frame, Medium, render
from freshness.app.page.verdict import verdict
from freshness.app.page.view import PageView, Selection, Tone
from freshness.app.reading import queries
from freshness.app.reading.diagnosis import Turn
from freshness.app.reading.report import attainment
from freshness.aws.dynamodb import feeds
from freshness.aws.dynamodb.companies import Companies
from freshness.aws.dynamodb.feeds import Feeds
from freshness.domain.slo.attainment import DAY, Breakdown
from tests.builders import HOUR
from tests.page.scenarios import SCENARIOS
from tests.page.world import World

FEW_MINUTES = timedelta(minutes=5)


def kept_fleet() -> Iterator[World]:
    """Yield a fleet all of whose promises are kept, and close it."""
    world = World()
    world.pass_time(HOUR / 2)
    yield world
    world.close()


@pytest.fixture
def world() -> Iterator[World]:
    """A fleet all of whose promises are kept."""
    yield from kept_fleet()


@pytest.fixture(scope="module")
def kept() -> Iterator[World]:
    """The same, for tests that only look."""
    yield from kept_fleet()


@pytest.fixture(scope="module")
def outage() -> Iterator[World]:
    """A fleet whose Codat has not answered for hours, for tests that only look."""
    world = SCENARIOS["codat-down"]()
    yield world
    world.close()


def broken(world: World) -> int:
    """Return how many promises are broken, of everything that there is."""
    return len(world.queries.fleet(world.now()).broken)


def turns(view: PageView) -> dict[Turn, int]:
    """Return how many feeds wait for whom."""
    return {turn: sum(each.feeds for each in view.turns if each.diagnosis.turn is turn) for turn in Turn}


def test_a_fleet_whose_promises_are_kept_is_shown_whole(kept: World) -> None:
    view = page_view(kept.queries, kept.now())
    assert (verdict(view).tone, view.broken, view.needs_person) == (Tone.GOOD, 0, ())
    assert (view.is_whole, view.companies, len(view.rows)) == (True, 12, 12)
    assert not any(turns(view).values())


def test_the_button_refreshes_nothing_while_every_promise_is_kept(kept: World) -> None:
    assert refresh_worst(kept.queries, kept.operations) == 0


def test_long_names_are_shortened_wherever_the_page_shows_them(world: World) -> None:
    name = world.set_link(ConnectionStatus.DEAUTHORIZED)
    world.pass_time(HOUR / 2)
    companies = world.simulation.tables.companies
    [lapsed] = [company for company in companies.scan() if company.name == name]
    platforms = {each: replace(connection, platform=10_000 * "y") for each, connection in lapsed.connections.items()}
    companies.put(replace(lapsed, name=10_000 * "x", connections=platforms))

    html = render(page_view(world.queries, world.now()), Frame(Medium.FILE))

    assert f"{59 * 'x'}…" in html
    assert 60 * "x" not in html
    assert f"the link to {59 * 'y'}… has lapsed" in html
    assert 60 * "y" not in html


def test_what_codat_does_not_answer_is_codats_turn(outage: World) -> None:
    view = page_view(outage.queries, outage.now())
    assert view.broken == broken(outage) > 5
    assert "Codat has answered no call since 10:" in verdict(view).text
    assert turns(view)[Turn.CODAT] == view.broken
    assert verdict(view).turn.startswith("Codat's")
    assert verdict(view).next_actions[0].startswith("See Codat's status page, and wait")
    assert view.broken_in_words


def test_of_a_large_fleet_the_worst_are_named_and_the_others_counted(
    outage: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "COMPANIES", 4)
    monkeypatch.setattr(read, "WORST", 3)
    monkeypatch.setattr(read, "ROWS", 2)
    view = page_view(outage.queries, outage.now())
    assert (view.is_whole, len(view.rows), len(view.worst)) == (False, 2, 3)
    assert view.companies == 12
    assert view.broken == broken(outage)
    in_rows = sum(cell.is_broken for row in view.rows for of in row.cells.values() for cell in of)
    assert in_rows + sum(view.broken_elsewhere.values()) == view.broken


def test_a_large_fleet_is_summarised_from_what_the_page_reads(outage: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not first_companies(outage.queries).is_large
    whole = summary_of(outage.queries, outage.now())
    assert whole.is_whole
    monkeypatch.setattr(read, "COMPANIES", 4)
    monkeypatch.setattr(Feeds, "scan", None)
    monkeypatch.setattr(Companies, "scan", None)

    first = first_companies(outage.queries)
    assert first.is_large
    assert not summary_of(outage.queries, outage.now()).is_whole
    # They are not read again.
    monkeypatch.setattr(Companies, "first_ids", None)
    large = summary_of_large(outage.queries, outage.now(), first)
    assert (large.is_whole, large.companies, large.promises_broken) == (False, 12, whole.promises_broken)
    assert set(large.broken_by_turn) == {Turn.CODAT}
    assert {feed.key for feed in large.not_fresh} < {feed.key for feed in whole.not_fresh}


def test_an_export_has_every_feed_once_and_reads_a_few_companies_at_a_time(
    kept: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = {feed.key for feed in kept.queries.fleet(kept.now()).feeds}
    monkeypatch.setattr(queries, "EXPORTED_AT_ONCE", 5)
    monkeypatch.setattr(Feeds, "scan", None)

    exported = [each.feed.key for each in kept.queries.export(kept.now())]
    assert len(exported) == len(fleet) > 100
    assert set(exported) == fleet


def test_while_more_promises_are_broken_than_can_be_counted_the_attainment_is_an_upper_bound(
    outage: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = page_view(outage.queries, outage.now()).attainment[0].day.share
    monkeypatch.setattr(feeds, "MOST_BROKEN", 8)
    view = page_view(outage.queries, outage.now())
    shown = view.attainment[0].day.share
    assert view.broken_is_minimum
    assert counted
    assert shown
    assert counted < shown < 1
    assert "At most:" in render(view, Frame(Medium.FILE))


def test_a_reader_finds_a_company_by_name_or_id_and_those_that_wait_for_somebody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lapsed = world.set_link(ConnectionStatus.DEAUTHORIZED)
    world.pass_time(9 * HOUR, every=FEW_MINUTES)

    def shown(selection: Selection) -> set[str]:
        view = page_view(world.queries, world.now(), selection)
        assert {cell.feed.company_name for cell in view.worst} <= {row.company_name for row in view.rows}
        assert verdict(view) == verdict(page_view(world.queries, world.now()))
        return {row.company_name for row in view.rows}

    for _ in range(2):
        assert shown(Selection(turn=Turn.CUSTOMER)) == {lapsed}
        assert shown(Selection(search="tide B")) == {"Tide Bakery LLC"}
        assert shown(Selection(search=world.queries.find_company("Tide Bakery LLC").company_id)) == {"Tide Bakery LLC"}
        assert shown(Selection(search="tide", turn=Turn.CUSTOMER)) == shown(Selection(search="no such")) == set()
        # What was not read with the worst of a large fleet is found, too.
        monkeypatch.setattr(read, "COMPANIES", 2)
        monkeypatch.setattr(read, "ROWS", 1)


def test_a_lapsed_link_needs_its_customer_until_it_returns(world: World) -> None:
    name = world.set_link(ConnectionStatus.DEAUTHORIZED)
    world.pass_time(HOUR / 2)
    view = page_view(world.queries, world.now())
    assert [each.feed.company_name for each in view.needs_person] == [name]
    assert (view.rows[0].company_name, turns(view)[Turn.CUSTOMER]) == (name, len(view.needs_person[0].feeds))

    world.set_link(ConnectionStatus.LINKED)
    world.pass_time(HOUR / 2)
    assert page_view(world.queries, world.now()).needs_person == ()


def test_links_that_a_large_fleets_page_does_not_name_are_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        world.set_link(ConnectionStatus.DEAUTHORIZED, number)
    world.pass_time(HOUR / 2)
    monkeypatch.setattr(read, "PEOPLE", 1)
    whole = page_view(world.queries, world.now())
    monkeypatch.setattr(read, "ROWS", 1)
    monkeypatch.setattr(read, "COMPANIES", 5)
    large = page_view(world.queries, world.now())

    assert (whole.is_whole, large.is_whole) == (True, False)
    lapsed = sum(company.relink_at is not None for company in world.simulation.tables.companies.scan())
    assert lapsed > 3
    for view in (whole, large):
        assert (len(view.needs_person), view.relinks_elsewhere) == (1, lapsed - 1)


def test_lost_webhooks_are_noticed_once_refreshes_end_without_them(world: World) -> None:
    world.pass_time(8 * HOUR, every=FEW_MINUTES, lost=1.0)
    view = page_view(world.queries, world.now())
    assert view.webhooks_silent_since
    assert "no webhook has arrived since 09:" in verdict(view).text.lower()
    assert [(each.diagnosis.turn, each.feeds) for each in view.turns if "no webhook" in each.diagnosis.why] == [
        (Turn.US, 0)
    ]


@pytest.mark.parametrize(
    ("scenario", "sentence", "turn", "first"),
    [
        ("all-kept", "Every promise is kept", "nobody's", "There is nothing to do"),
        ("links-lapsed", "2 of 140 promises are broken, because the link to", "the customers'", "Send the customer"),
        ("quota-spent", "Today's quota of calls to Codat is spent", "ours", "Wait until 00:00 UTC"),
        ("platforms-fail", "17 of 142 promises are broken: 14 wait for Xero", "the platforms' (14)", "Ask the"),
    ],
)
def test_the_top_of_the_page_says_what_is_broken_whose_turn_it_is_and_what_to_do_next(
    scenario: str, sentence: str, turn: str, first: str
) -> None:
    world = SCENARIOS[scenario]()
    view = page_view(world.queries, world.now())
    said = verdict(view)
    world.close()
    assert said.text.startswith(sentence)
    assert said.turn.startswith(turn)
    assert said.next_actions[0].startswith(first)
    assert bool(view.broken_in_words) is bool(view.broken)


def test_the_timeline_names_the_longest_breaches_and_all_of_them_add_up_to_the_attainment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = world.set_link(ConnectionStatus.DEAUTHORIZED, number=1)
    world.pass_time(9 * HOUR, every=FEW_MINUTES)
    world.set_link(ConnectionStatus.LINKED, number=1)
    world.pass_time(HOUR, every=FEW_MINUTES)
    world.simulation.is_down = True
    world.pass_time(3 * HOUR, every=FEW_MINUTES)

    monkeypatch.setattr(timeline, "SHORTEST", timedelta(0))
    named = page_view(world.queries, world.now()).breaches
    monkeypatch.setattr(timeline, "LONGEST", 1000)
    view = page_view(world.queries, world.now())
    spans = [span for each in view.breaches for span in each.spans]

    assert named == view.breaches[: len(named)]
    assert named[0].feed.company_name == name
    assert {(span.is_open, span.end == view.at) for span in spans} == {(True, True), (False, False)}
    for waiting, recorded in ((False, view.attainment[0].day.late), (True, view.attainment[0].day.waiting)):
        shown = sum((span.length for span in spans if span.waiting is waiting), timedelta(0))
        assert abs(shown - recorded) < timedelta(minutes=15), waiting
        assert shown > HOUR


def test_attainment_is_that_of_the_report_and_the_hours_add_up_to_it(world: World) -> None:
    world.simulation.is_down = True
    world.pass_time(6 * HOUR, every=FEW_MINUTES)
    world.simulation.is_down = False
    world.pass_time(2 * HOUR, every=FEW_MINUTES)
    view = page_view(world.queries, world.now())
    for since in (DAY, 30 * DAY):
        reported = attainment(world.simulation.tables, world.queries.services.policy, world.now(), since)
        of_rules = {each.name: each.times for each in reported if each.kind is Breakdown.RULE}
        shown = {each.rule: each.day if since == DAY else each.month for each in view.attainment[1:]}
        assert shown == of_rules
    whole = view.attainment[0].day
    broken = sum((hour.late * min(HOUR, world.now() - hour.start) for hour in view.hours), timedelta(0))
    assert abs(whole.late - broken) < timedelta(seconds=1)
    assert whole.late > HOUR
