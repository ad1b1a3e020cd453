"""Promises by time of day, deadlines and early warnings: when a copy becomes too old, and when its feed is due."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from freshness.app.queueing.promise_metrics import PromiseMetrics
from freshness.aws.metrics import Metric
from freshness.domain.companies.company import Company
from freshness.domain.datasets.sync_history import Sync, SyncHistory
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import State
from freshness.domain.feeds.schedule import QUEUEING_MARGIN, breaks_at, due_at
from freshness.domain.promises.hours import Hours
from freshness.domain.promises.promise import Promise, TimeOfDayTerms, moments
from freshness.domain.promises.terms import Deadline, TimedTerms
from freshness.domain.promises.windows import Window
from freshness.planning.decision import Action, Decision, Reason
from freshness.policy.policy import Policy
from tests.builders import DAY, HOUR, MINUTE, NOON, a_connection

LONDON = ZoneInfo("Europe/London")
EVERY_DAY, WEEKDAYS = frozenset(range(7)), frozenset(range(5))
ZONES = [ZoneInfo(name) for name in ("Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")]
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
LINKED = a_connection("1", MONDAY - 30 * DAY)
OFFICE = Hours(start=time(8), end=time(18), days=WEEKDAYS, zone=LONDON)
READY = Deadline(name="ready", by=time(8), fresh_within=2 * HOUR, source="", days=WEEKDAYS, zone=LONDON)


def timed(hours: Hours, fresh_within: timedelta, at_most_every: timedelta | None = None) -> TimedTerms:
    return TimedTerms(hours=hours, source="office", fresh_within=fresh_within, at_most_every=at_most_every)


def promise(*terms: TimedTerms, deadlines: tuple[Deadline, ...] = (), within: timedelta = DAY) -> Promise:
    base = Promise(fresh_within=within)
    return replace(base, time_of_day=TimeOfDayTerms(base=base, terms=terms, deadlines=deadlines))


def synced(at: datetime, company_id: str = "company") -> Feed:
    return Feed(company_id=company_id, data_type="invoices", connection_id="1", succeeded_at=at)


def test_an_age_is_judged_by_the_promise_in_force_until_that_breaks() -> None:
    office_hours = promise(timed(OFFICE, fresh_within=HOUR))
    evening = MONDAY + 6 * HOUR

    assert office_hours.at(MONDAY + 7 * HOUR).fresh_within == DAY
    assert office_hours.at(MONDAY + 8 * HOUR).fresh_within == HOUR
    assert office_hours.at(MONDAY + 18 * HOUR).fresh_within == DAY
    states = [synced(evening).state(office_hours, LINKED, MONDAY + hour * HOUR) for hour in (7, 9, 17, 19)]
    assert states == [State.FRESH, State.STALE, State.STALE, State.STALE]


def test_a_tighter_bound_makes_a_feed_due_before_it_starts() -> None:
    office_hours = promise(timed(OFFICE, fresh_within=HOUR))
    feed = synced(MONDAY - HOUR)
    due = due_at(feed, office_hours, LINKED)
    assert office_hours.breaks_at(MONDAY - HOUR) == MONDAY + 8 * HOUR
    assert due is not None
    assert MONDAY + 7 * HOUR < due <= MONDAY + 8 * HOUR - QUEUEING_MARGIN


def test_a_looser_bound_at_night_leaves_a_feed_alone_until_the_morning() -> None:
    night = Hours(start=time(18), end=time(8), days=EVERY_DAY, zone=LONDON)
    office_hours = promise(timed(night, fresh_within=DAY), within=HOUR)
    assert office_hours.breaks_at(MONDAY + timedelta(hours=16)) == MONDAY + timedelta(hours=17)
    assert office_hours.breaks_at(MONDAY + timedelta(hours=17, minutes=30)) == MONDAY + timedelta(hours=32)


def test_a_feed_that_changes_often_is_due_before_its_bound_where_confidence_is_promised_with_hours_too() -> None:
    hourly = SyncHistory.of(Sync(ended_at=MONDAY - n * HOUR, records_modified=True) for n in reversed(range(12)))
    feed = replace(synced(MONDAY), history=hourly)

    def due(confidence: float | None) -> datetime:
        base = Promise(fresh_within=DAY, confidence=confidence)
        terms = TimeOfDayTerms(base=base, terms=(timed(OFFICE, 12 * HOUR),), deadlines=())
        at = due_at(feed, replace(base, time_of_day=terms), LINKED)
        assert at
        return at

    assert due(confidence=0.9) < MONDAY + 6 * HOUR < due(confidence=None)


def test_where_hours_overlap_each_term_is_taken_from_the_first_that_has_it() -> None:
    lunch = Hours(start=time(12), end=time(13), days=EVERY_DAY, zone=LONDON)
    terms = timed(lunch, fresh_within=30 * MINUTE), timed(OFFICE, fresh_within=HOUR, at_most_every=20 * MINUTE)
    in_force = promise(*terms).at(MONDAY + timedelta(hours=12, minutes=30))
    assert (in_force.fresh_within, in_force.at_most_every) == (30 * MINUTE, 20 * MINUTE)


def test_one_refresh_serves_a_deadline_and_is_not_sooner_than_fresh_within_before_it() -> None:
    ready = promise(deadlines=(READY,), within=7 * DAY)
    feeds = [synced(MONDAY - DAY, f"company {number}") for number in range(200)]

    due = [at for feed in feeds if (at := due_at(feed, ready, LINKED))]

    assert min(due) >= MONDAY + 6 * HOUR
    assert max(due) <= MONDAY + 8 * HOUR - QUEUEING_MARGIN
    assert max(due) - min(due) > 50 * MINUTE  # they do not all start at once
    assert all(ready.breaks_at(at) == MONDAY + DAY + 8 * HOUR for at in due)


def test_a_slow_sync_starts_so_early_that_it_ends_before_a_deadline_or_a_bound_that_is_shorter_than_it() -> None:
    ends = [MONDAY - number * DAY for number in reversed(range(1, 13))]
    slow = SyncHistory.of(Sync(ended_at=end, records_modified=True, took=20 * MINUTE) for end in ends)
    feed = replace(synced(MONDAY - DAY), history=slow)
    ready = promise(deadlines=(replace(READY, fresh_within=10 * MINUTE),), within=7 * DAY)
    office = promise(timed(OFFICE, fresh_within=10 * MINUTE), within=7 * DAY)

    for each in (ready, office):
        due = due_at(feed, each, LINKED)
        assert due is not None
        assert MONDAY + 8 * HOUR - 10 * MINUTE <= due + 20 * MINUTE <= MONDAY + 8 * HOUR - QUEUEING_MARGIN


def test_a_refresh_for_a_deadline_waits_for_a_window_rather_than_be_too_early() -> None:
    backup = Window(name="b", allows=False, start=time(5, 30), end=time(7, 30), days=EVERY_DAY, zone=LONDON)
    ready = replace(promise(deadlines=(READY,), within=7 * DAY), windows=(backup,))
    due = [due_at(synced(MONDAY - DAY, f"company {number}"), ready, LINKED) for number in range(50)]
    assert all(at and MONDAY + 7.5 * HOUR <= at <= MONDAY + 8 * HOUR - QUEUEING_MARGIN for at in due)


def test_a_copy_as_old_as_a_deadline_allows_is_fresh_enough_and_an_older_one_stale_until_it_is_refreshed() -> None:
    ready = promise(deadlines=(READY,), within=7 * DAY)
    assert ready.breaks_at(MONDAY + 6 * HOUR) == MONDAY + DAY + 8 * HOUR
    assert ready.breaks_at(MONDAY + 6 * HOUR - timedelta.resolution) == MONDAY + 8 * HOUR

    missed = synced(MONDAY)
    assert missed.state(ready, LINKED, MONDAY + 8 * HOUR) is State.FRESH
    assert missed.state(ready, LINKED, MONDAY + 8 * HOUR + MINUTE) is State.STALE
    assert synced(MONDAY + 9 * HOUR).state(ready, LINKED, MONDAY + 10 * HOUR) is State.FRESH


def test_hours_and_deadlines_leave_out_holidays() -> None:
    christmas = datetime(2026, 12, 25, tzinfo=UTC)
    days = frozenset({christmas.date()})
    office = replace(OFFICE, holidays=days)

    assert promise(timed(office, fresh_within=HOUR)).at(christmas + 9 * HOUR).fresh_within == DAY
    clock = promise(deadlines=(replace(READY, holidays=days),)).time_of_day
    assert clock is not None
    assert moments(clock, christmas.date()) == ()


def test_every_working_day_of_a_year_has_one_deadline_at_its_local_time() -> None:
    for zone in ZONES:
        clock = promise(deadlines=(replace(READY, zone=zone),)).time_of_day
        assert clock is not None
        year = [date(2026, 1, 1) + DAY * number for number in range(365)]
        found = [moment.at.astimezone(zone) for day in year for moment in moments(clock, day)]

        assert {at.time() for at in found} == {time(8)}
        expected = [day for day in year if day.weekday() in WEEKDAYS]
        # A day in UTC at either end of the year may be another local day.
        assert {at.date() for at in found} ^ set(expected) <= {date(2025, 12, 31), date(2026, 1, 1), date(2027, 1, 1)}
        assert len(found) == len({at.date() for at in found})


TIMES = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 30]))
DAYS = st.frozensets(st.integers(0, 6), min_size=1)
BOUNDS = st.integers(20, 3000).map(lambda minutes: minutes * MINUTE)
HOURS = st.builds(Hours, start=TIMES, end=TIMES, days=DAYS, zone=st.sampled_from(ZONES))
DEADLINES = st.builds(
    Deadline,
    name=st.just("d"),
    by=TIMES,
    fresh_within=BOUNDS,
    source=st.just(""),
    days=DAYS,
    zone=st.sampled_from(ZONES),
)
PROMISES = st.builds(
    lambda terms, deadlines, within: promise(*terms, deadlines=tuple(deadlines), within=within),
    st.lists(st.builds(TimedTerms, hours=HOURS, source=st.just("t"), fresh_within=BOUNDS), max_size=3),
    st.lists(DEADLINES, max_size=2),
    BOUNDS,
)
MINUTES_OF_A_YEAR = st.integers(0, 365 * 24 * 60).map(lambda minute: datetime(2026, 1, 1, tzinfo=UTC) + minute * MINUTE)


def bound_by_local_clock(given: Promise, at: datetime) -> timedelta:
    """Return the bound at a moment, from what a clock on the wall in each time zone shows."""
    assert given.time_of_day is not None
    for terms in given.time_of_day.terms:
        hours, local = terms.hours, at.astimezone(terms.hours.zone)
        for started in (local.date() - DAY, local.date()):
            ended = started + DAY if hours.end <= hours.start else started
            first, last = (
                datetime.combine(day, clock, hours.zone).astimezone(UTC)
                for day, clock in ((started, hours.start), (ended, hours.end))
            )
            if started.weekday() in hours.days and first <= at < last:
                return terms.fresh_within or DAY
    return given.fresh_within


@given(PROMISES, MINUTES_OF_A_YEAR, st.floats(0, 0.999), st.integers(1, 10_000))
def test_a_copy_is_too_old_from_when_its_promise_breaks_until_the_next_and_a_later_copy_not_earlier(
    given_promise: Promise, at: datetime, part: float, later: int
) -> None:
    breaks_at = given_promise.breaks_at(at)
    before = at + part * (breaks_at - at)

    assert given_promise.time_of_day is not None
    assert before - at <= bound_by_local_clock(given_promise, before)
    assert given_promise.is_kept(at, before)
    assert not given_promise.is_kept(at, breaks_at + timedelta.resolution)
    assert not given_promise.is_kept(at, breaks_at + later * MINUTE)
    assert given_promise.breaks_at(at + later * MINUTE) >= breaks_at


AT_FOUR = Deadline(name="d", by=time(4), fresh_within=20 * MINUTE, source="", days=WEEKDAYS, zone=LONDON)
TWO_AT_FOUR = promise(deadlines=(replace(AT_FOUR, fresh_within=114 * MINUTE), AT_FOUR), within=116 * MINUTE)
MONDAYS_IN_NEW_YORK = Hours(start=time(0), end=time(0), days=frozenset({0}), zone=ZoneInfo("America/New_York"))
STRICTER_AFTER_FOUR = promise(
    timed(MONDAYS_IN_NEW_YORK, fresh_within=500 * MINUTE),
    timed(replace(MONDAYS_IN_NEW_YORK, days=EVERY_DAY, zone=LONDON), fresh_within=958 * MINUTE),
    deadlines=(replace(AT_FOUR, days=frozenset({0})),),
    within=20 * MINUTE,
)


@given(PROMISES, MINUTES_OF_A_YEAR)
@example(TWO_AT_FOUR, datetime(2026, 1, 1, 2, 5, tzinfo=UTC))
@example(STRICTER_AFTER_FOUR, datetime(2026, 1, 11, 13, 2, tzinfo=UTC))
def test_a_refresh_when_due_keeps_the_promise_for_longer_and_is_not_repeated_at_once(
    given_promise: Promise, at: datetime
) -> None:
    due = due_at(synced(at), given_promise, LINKED)
    assert due is not None
    assert at < due < given_promise.breaks_at(at) < given_promise.breaks_at(due)
    again = due_at(synced(due), given_promise, LINKED)
    assert again is not None
    assert again > due


XERO = a_connection("1", NOON - 30 * HOUR)
TOFT = Company(company_id="toft", connections={"1": XERO})
FEED = Feed(company_id="toft", data_type="bills", connection_id="1", succeeded_at=NOON)


def policy(default: dict[str, Any], *rules: dict[str, Any]) -> Policy:
    return Policy.model_validate({"default": default, "rules": rules})


def test_a_refresh_is_queued_early_enough_for_a_warning_before_the_promise_breaks() -> None:
    promise = policy({"fresh_within": "6 hours", "warn_after": "4 hours"}).promise("bills", TOFT, XERO)
    due = due_at(FEED, promise, XERO)
    assert due
    assert NOON + 3.9 * HOUR < due < NOON + 4 * HOUR
    assert breaks_at(FEED, promise, XERO) == NOON + 6 * HOUR


@pytest.mark.parametrize(("age", "warned"), [(3.9, 0), (4.1, 1), (7, 1)])
def test_a_feed_is_warned_of_from_the_age_on_whether_or_not_its_promise_is_kept(age: float, warned: int) -> None:
    rules, now = policy({"fresh_within": "6 hours", "warn_after": "4 hours"}), NOON + age * HOUR
    decision = Decision(feed=FEED, company=TOFT, action=Action.WAIT, reason=Reason.OVER_BUDGET)
    metrics = PromiseMetrics()

    metrics.add([decision], [], rules, now)

    measured = Counter(metrics.measured)
    assert measured[Metric.FEEDS_TO_WARN_OF] == warned
    assert measured[Metric.FEEDS_OVER_PROMISE] == (age > 6)


def test_what_an_earlier_table_warns_of_is_no_early_warning_for_a_later_promise() -> None:
    longer = {"name": "longer", "platforms": ["Xero"], "fresh_within": "3 days"}
    both = longer | {"warn_after": "2 days"}
    nightly = {"name": "nights", "hours": "22:00 to 06:00", "fresh_within": "3 days"}
    default = {"fresh_within": "1 day", "warn_after": "20 hours"}

    assert policy(default).promise("bills", TOFT, XERO).aim == 20 * HOUR
    assert policy(default, longer).promise("bills", TOFT, XERO).aim == 72 * HOUR
    assert policy(default, both).promise("bills", TOFT, XERO).aim == 48 * HOUR
    by_night = policy(default, nightly).promise("bills", TOFT, XERO)
    assert (by_night.at(NOON).aim, by_night.at(NOON + 12 * HOUR).aim) == (20 * HOUR, 72 * HOUR)


def test_a_warning_by_hours_makes_a_refresh_due_early_enough_in_these_hours() -> None:
    rule = {"name": "days", "hours": "08:00 to 18:00", "fresh_within": "6 hours", "warn_after": "4 hours"}
    promise = policy({"fresh_within": "1 day"}, rule).promise("bills", TOFT, XERO)
    due = due_at(FEED, promise, XERO)
    assert due
    assert NOON + 3.9 * HOUR < due < NOON + 4 * HOUR
