"""The time in which promises were broken, the share in which they were kept, and how fast error budgets are used up."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimate.memory_dynamodb import MemoryDynamoDB
from freshness.app.page.attained import read_attainment
from freshness.aws.dynamodb.control_items.attainment import AttainmentRecords
from freshness.aws.dynamodb.table import Table
from freshness.domain.companies.company import Connection, ConnectionStatus
from freshness.domain.feeds.facts import DatasetPolled, FeedFact, PromiseReviewed, Rescheduled
from freshness.domain.feeds.feed import Feed
from freshness.domain.promises.promise import AttainmentKey, Promise
from freshness.domain.slo.attainment import (
    DAY,
    HOUR,
    Attained,
    Breakdown,
    Period,
    PeriodRecord,
    attained,
    by_period,
    day_of,
    hour_of,
    periods,
)
from freshness.domain.slo.breach import BreachTime, until_deleted
from freshness.domain.slo.burn_rate import WINDOWS, burn
from freshness.domain.transitions.transition import Transition, transitions
from tests.builders import LINKED, MINUTE, NEW, NOON, a_policy, a_read

GROUP = AttainmentKey(rule="[default]", platform="Xero", tags=("plan=free",))
PROMISE = Promise(fresh_within=6 * HOUR, group=GROUP)
KNOWN = replace(NEW, succeeded_at=NOON, version=1)
BREAKS = NOON + 6 * HOUR
WHOLE = (Breakdown.RULE, "[default]")


def after(
    feed: Feed, *facts: FeedFact, now: datetime, connection: Connection = LINKED, promise: Promise = PROMISE
) -> Transition:
    return transitions(feed, facts, promise, connection, now)


def times(result: Transition) -> list[tuple[datetime, datetime, bool]]:
    return [(each.start, each.end, each.waiting) for each in result.breach_times]


def broken(now: datetime = BREAKS + MINUTE) -> Feed:
    return after(KNOWN, PromiseReviewed(), now=now).feed


def breach(start: datetime, end: datetime, *, waiting: bool = False) -> BreachTime:
    return BreachTime(data_type="invoices", group=GROUP, waiting=waiting, start=start, end=end)


LOST = DatasetPolled(at=BREAKS + HOUR, state="Complete", dataset_id="x", succeeded_at=BREAKS - MINUTE)
END = BREAKS + 10 * MINUTE


@pytest.mark.parametrize(
    ("feed", "facts", "found"),
    [
        pytest.param(broken(), (a_read(END),), [(BREAKS, END, False)], id="with the read, not when that is known"),
        pytest.param(broken(), (a_read(END), a_read(END)), [(BREAKS, END, False)], id="once, if it is repeated"),
        pytest.param(KNOWN, (a_read(END),), [(BREAKS, END, False)], id="although no tick noticed it"),
        pytest.param(broken(), (LOST,), [], id="as if it never was, if the read ended before the promise broke"),
    ],
)
def test_a_breach_ends(feed: Feed, facts: tuple[FeedFact, ...], found: list[Any]) -> None:
    result = after(feed, *facts, now=BREAKS + HOUR)
    assert (times(result), result.feed.breach) == (found, None)


def test_time_while_the_connection_is_lapsed_waits_for_the_customer() -> None:
    lapsed = replace(LINKED, status=ConnectionStatus.DEAUTHORIZED, status_at=BREAKS + HOUR)
    back = replace(LINKED, status_at=BREAKS + 3 * HOUR)
    first = after(broken(), Rescheduled(), now=BREAKS + HOUR + MINUTE, connection=lapsed)
    second = after(first.feed, Rescheduled(), now=BREAKS + 3 * HOUR + MINUTE, connection=back)
    third = after(second.feed, a_read(BREAKS + 4 * HOUR), now=BREAKS + 4 * HOUR, connection=back)
    assert times(first) == [(BREAKS, BREAKS + HOUR, False)]
    assert times(second) == [(BREAKS + HOUR, BREAKS + 3 * HOUR, True)]
    assert times(third) == [(BREAKS + 3 * HOUR, BREAKS + 4 * HOUR, False)]


def test_a_copy_that_is_too_old_when_it_is_found_begins_the_next_breach() -> None:
    result = after(broken(), a_read(BREAKS + HOUR), now=BREAKS + 9 * HOUR)
    assert times(result) == [(BREAKS, BREAKS + HOUR, False)]
    assert result.feed.breach and result.feed.breach.since == BREAKS + 7 * HOUR


def test_what_was_too_old_before_the_feed_was_known_does_not_count() -> None:
    new = replace(KNOWN, version=0, succeeded_at=None)
    polled = DatasetPolled(at=NOON, state="Complete", dataset_id="x", succeeded_at=NOON - 5 * DAY)
    result = after(new, polled, now=NOON)
    assert times(result) == []
    assert result.feed.breach and result.feed.breach.since == NOON


def test_a_breach_ends_when_nothing_is_promised_any_more_or_the_feed_is_deleted() -> None:
    now = BREAKS + HOUR
    assert times(after(broken(), Rescheduled(), now=now, promise=replace(PROMISE, off=True))) == [(BREAKS, now, False)]
    assert until_deleted(broken(), now) == (breach(BREAKS, now),)


READS = st.lists(st.integers(1, 60 * 48), min_size=1, max_size=8, unique=True).map(sorted)
LOOKS = st.lists(st.integers(1, 60 * 50), max_size=12)


@given(READS, LOOKS)
def test_all_parts_together_are_the_time_in_which_the_copy_was_too_old(reads: list[int], looks: list[int]) -> None:
    """Whenever ticks look, and reads are reported at once."""
    feed, found, end = KNOWN, timedelta(0), NOON + 51 * HOUR
    facts: list[tuple[datetime, FeedFact]] = [(NOON + at * MINUTE, a_read(NOON + at * MINUTE)) for at in reads]
    facts += [(NOON + at * MINUTE, PromiseReviewed()) for at in looks]
    for now, fact in sorted(facts, key=lambda each: each[0]):
        result = after(feed, fact, now=now)
        feed = result.feed
        found += sum((each.end - each.start for each in result.breach_times), timedelta(0))
    feed = after(feed, PromiseReviewed(), now=end).feed
    found += sum((each.end - each.start for each in until_deleted(feed, end)), timedelta(0))
    copies = [NOON, *(NOON + at * MINUTE for at in reads), end]
    late = (max(timedelta(0), later - earlier - 6 * HOUR) for earlier, later in pairwise(copies))
    assert found == sum(late, timedelta(0))


def test_attainment_is_good_time_divided_by_promised_time_without_the_customers() -> None:
    times = Attained(promised=100 * HOUR, late=1 * HOUR, waiting=50 * HOUR)
    assert times.share == 0.98
    assert times.budget_left(0.96) == pytest.approx(0.5)
    assert times.budget_left(0.99) == pytest.approx(-1)
    assert Attained().share is None


def test_time_is_kept_by_hour_for_two_days_and_by_day_before() -> None:
    midnight = day_of(NOON).start
    recorded = by_period([breach(midnight - 2 * DAY - 5 * HOUR, midnight - 2 * DAY + 90 * MINUTE)], NOON)
    late = {period.name: parts[WHOLE].late for period, parts in recorded.items()}
    assert late == {"2026-11-20": 5 * HOUR, "2026-11-21T00": HOUR, "2026-11-21T01": 30 * MINUTE}


def test_a_day_that_is_no_longer_kept_by_hour_is_recorded_once_as_the_sum_of_its_hours() -> None:
    dynamodb, day = MemoryDynamoDB(), day_of(NOON - 3 * DAY)
    records = AttainmentRecords(Table(cast(Any, dynamodb), "control"))
    records.put_feeds({WHOLE: 10}, hour_of(day.start))
    records.add([breach(day.start + 5 * HOUR, day.start + 7 * HOUR)], day.start + 8 * HOUR)
    records.add([breach(day.start + 9 * HOUR, day.start + 10 * HOUR, waiting=True)], NOON)  # found late

    for _ in range(2):
        records.settle(NOON)

    [settled] = records.read([day])
    assert settled.times[WHOLE] == Attained(promised=240 * HOUR, late=2 * HOUR, waiting=HOUR)
    assert dynamodb.calls["PutItem"] == 1


def recorded(of: Iterable[Period], feeds: int) -> list[PeriodRecord]:
    """Return records of periods, the first of which counted feeds."""
    return [PeriodRecord(period=period, feeds={} if index else {WHOLE: feeds}) for index, period in enumerate(of)]


def test_feeds_that_were_not_counted_are_as_many_as_in_the_hour_before() -> None:
    start = hour_of(NOON).start
    records = recorded(periods(start - HOUR, NOON + 90 * MINUTE, NOON), feeds=10)
    assert attained(records, (), start, NOON + 90 * MINUTE)[WHOLE].promised == 15 * HOUR


def test_open_breaches_count_until_now() -> None:
    start, now = hour_of(NOON).start, NOON + HOUR
    open_breaches = (breach(NOON - DAY, now), breach(NOON + 30 * MINUTE, now, waiting=True))
    whole = attained(recorded(periods(start - HOUR, now, now), feeds=4), open_breaches, start, now)[WHOLE]
    assert whole == Attained(promised=4 * HOUR, late=HOUR, waiting=30 * MINUTE)
    assert whole.share == pytest.approx(1 - 1 / 3.5)


def test_no_time_of_breach_is_recorded_after_our_own_user_unlinked_the_connection() -> None:
    broken = after(KNOWN, PromiseReviewed(), now=BREAKS + HOUR).feed
    unlinked = replace(
        LINKED, status=ConnectionStatus.UNLINKED, status_at=BREAKS + 2 * HOUR, unlinked_at=BREAKS + 2 * HOUR
    )

    ended = after(broken, Rescheduled(), now=BREAKS + 9 * HOUR, connection=unlinked, promise=replace(PROMISE, off=True))

    assert [(each.start, each.end, each.waiting) for each in ended.breach_times] == [(BREAKS, BREAKS + 2 * HOUR, False)]
    assert (ended.feed.breach, ended.feed.broken_at, ended.feed.due_at, ended.notifications) == (None, None, None, ())
    linked = replace(unlinked, status=ConnectionStatus.LINKED, status_at=NOON + 9 * DAY, reconnected_at=NOON + 9 * DAY)
    anew = after(ended.feed, Rescheduled(), PromiseReviewed(), now=NOON + 9 * DAY + HOUR, connection=linked)
    assert (anew.notifications, anew.feed.breach) == ((), None)
    late = after(anew.feed, PromiseReviewed(), now=NOON + 9 * DAY + 7 * HOUR, connection=linked)
    assert [each.detail()["brokenAt"][:13] for each in late.notifications] == ["2026-12-02T18"]


@pytest.mark.parametrize(("hours", "promised"), [(1, 10 * DAY), (2, timedelta(0))])
def test_the_page_takes_feeds_that_were_not_counted_for_a_day_from_the_hour_before_it_as_the_report_does(
    hours: int, promised: timedelta
) -> None:
    records = AttainmentRecords(Table(cast(Any, MemoryDynamoDB()), "control"))
    records.put_feeds({WHOLE: 10}, hour_of(NOON - DAY - hours * HOUR))
    (fleet, rule), of_hours = read_attainment(records, a_policy(), (), NOON)
    assert (fleet.day.promised, rule.day.promised, len(of_hours)) == (promised, promised, 24)
    assert attained(records.since(NOON - DAY, NOON), (), NOON - DAY, NOON).get(WHOLE, Attained()) == rule.day


FLEET = {(Breakdown.RULE, "[default]"): 100, (Breakdown.RULE, "small"): 5, (Breakdown.TAG, "tier=gold"): 90}
"""How many feeds are promised. Those of the tag are of these rules: they must not count twice."""


def late(feeds: int, for_: timedelta, *, ago: timedelta = timedelta(0), rule: str = "[default]") -> list[BreachTime]:
    """Return breaches of feeds that lasted until some time ago."""
    end = NOON - ago
    group = AttainmentKey(rule=rule)
    return [BreachTime(data_type="x", group=group, waiting=False, start=end - for_, end=end) for _ in range(feeds)]


SMALL = late(5, 6 * HOUR, rule="small")


def rate(
    open_: list[BreachTime], ended: list[BreachTime] | None = None, objective: float | None = 0.99, counted_ago: int = 0
) -> float:
    """Return the burn rate at noon, with feeds that were last counted some hours ago."""
    times = by_period(ended or [], NOON)
    hours = list(periods(NOON - 40 * HOUR, NOON, NOON))
    records = [PeriodRecord(period=each, times=times.get(each, {})) for each in hours]
    counted = len(hours) - 1 - counted_ago
    records[counted] = PeriodRecord(period=hours[counted], times=times.get(hours[counted], {}), feeds=FLEET)
    first = PeriodRecord(period=hours[0], feeds=FLEET)
    return burn([first, *records[1:]], open_, lambda _: objective, NOON)


def test_too_fast_is_two_percent_of_the_budget_of_30_days_in_an_hour_or_five_in_six_hours() -> None:
    used_up = {window.length: window.rate * (window.length / timedelta(days=30)) for window in WINDOWS}
    assert used_up == {HOUR: pytest.approx(0.02), 6 * HOUR: pytest.approx(0.05)}


def test_nothing_burns_while_every_promise_is_kept_after_the_trouble_or_without_an_objective() -> None:
    assert rate([]) == rate([], late(100, 3 * HOUR, ago=MINUTE)) == rate(late(100, 6 * HOUR), objective=None) == 0


@pytest.mark.parametrize(
    ("open_", "objective", "counted_ago", "is_too_fast"),
    [
        pytest.param(late(100, 5 * MINUTE), 0.99, 0, False, id="an outage of minutes"),
        pytest.param(late(100, 20 * MINUTE), 0.99, 0, True, id="an outage within the hour"),
        pytest.param(late(8, 2 * HOUR), 0.99, 0, False, id="a few percent of the feeds"),
        pytest.param(late(8, 6 * HOUR), 0.99, 0, True, id="a few percent of the feeds for hours"),
        pytest.param(late(1, 24 * HOUR), 0.99, 0, False, id="one feed of a large fleet"),
        pytest.param(late(1, 24 * HOUR, rule="small"), 0.99, 0, False, id="one feed of a rule with few"),
        pytest.param(late(60, 6 * HOUR), 0.9, 0, True, id="half of all feeds"),
        pytest.param(late(60, 6 * HOUR), 0.1, 0, True, id="half of all feeds, of which few were promised"),
        pytest.param(late(100, 20 * HOUR), 0.99, 20, True, id="an outage in which companies cannot be listed"),
        # A rule with few feeds is watched by the sum of all rules alone.
        pytest.param(SMALL, 0.99, 0, False, id="all feeds of a small rule"),
        pytest.param([*SMALL, *late(4, 6 * HOUR)], 0.99, 0, True, id="all feeds of a small rule, and some others"),
    ],
)
def test_error_budgets_burn_too_fast(
    open_: list[BreachTime], objective: float, counted_ago: int, is_too_fast: bool
) -> None:
    assert (rate(open_, objective=objective, counted_ago=counted_ago) >= 1) is is_too_fast


def test_a_higher_objective_is_burnt_faster() -> None:
    assert rate(late(2, HOUR), objective=0.999) > rate(late(2, HOUR), objective=0.99)
