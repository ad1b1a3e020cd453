"""Feeds: what facts make of them, when they are due, and what a poll may overrule."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.domain import backoff
from freshness.domain.backoff import FIRST as FIRST_RETRY
from freshness.domain.companies.company import Connection, ConnectionStatus
from freshness.domain.datasets.dataset import DatasetState, Trigger
from freshness.domain.datasets.sync_history import LAST_KEPT, LONGEST_SYNC
from freshness.domain.feeds.facts import DatasetPolled
from freshness.domain.feeds.feed import MIN_LATE_AFTER, Feed, without_plans
from freshness.domain.feeds.feed_values import AsOf, End, Request, State, Wanted
from freshness.domain.feeds.reconcile import reconcile
from freshness.domain.feeds.schedule import (
    REQUESTED_DUE,
    RETRY_AFTER_REFUSAL,
    RETRY_WITHOUT_PERMISSIONS,
    due_at,
    probability_up_to_date,
)
from freshness.domain.promises.promise import Promise
from freshness.domain.times import BEGINNING
from tests.builders import LINKED, MINUTE, NEW, NOON

PROMISE = Promise(fresh_within=timedelta(hours=6))


LAPSED = replace(LINKED, status=ConnectionStatus.DEAUTHORIZED)
COMPLETE, FAILED, FETCHING = DatasetState.COMPLETE, DatasetState.FETCH_ERROR, DatasetState.FETCHING


def minute(number: float) -> datetime:
    return NOON + number * MINUTE


def request(at: datetime, dataset_id: str = "dataset", trigger: Trigger = Trigger.PROMISE) -> Request:
    return Request(at=at, trigger=trigger, dataset_id=dataset_id)


def end(at: datetime, state: str = DatasetState.COMPLETE, dataset_id: str = "") -> End:
    return End(at=at, state=state, dataset_id=dataset_id)


def polled(at: datetime, state: str, dataset_id: str = "dataset", **known: Any) -> DatasetPolled:
    return DatasetPolled(at=at, state=state, dataset_id=dataset_id, **known)


def wanted(not_before: datetime, deadline: datetime = NOON + 10 * MINUTE) -> Wanted:
    return Wanted(not_before=not_before, deadline=deadline)


RUNNING = NEW.requested(request(NOON))


@pytest.mark.parametrize(
    ("feed", "connection", "state", "due"),
    [
        pytest.param(NEW, LINKED, State.STALE, BEGINNING, id="never synced"),
        pytest.param(
            NEW.ended(end(NOON, DatasetState.NOT_SUPPORTED)), LINKED, State.UNSUPPORTED, None, id="unsupported"
        ),
        pytest.param(NEW, LAPSED, State.BLOCKED, None, id="not linked"),
        pytest.param(NEW.with_refresh_requested(NOON), LAPSED, State.BLOCKED, None, id="requested, but not linked"),
        pytest.param(NEW.with_wanted(wanted(NOON)), LAPSED, State.BLOCKED, None, id="wanted, but not linked"),
    ],
)
def test_a_feed_has_a_state_and_is_due(feed: Feed, connection: Connection, state: State, due: datetime | None) -> None:
    assert (feed.state(PROMISE, connection, NOON), due_at(feed, PROMISE, connection)) == (state, due)


def test_a_feed_is_refreshing_until_its_dataset_ends() -> None:
    feed = RUNNING
    assert feed.state(PROMISE, LINKED, NOON) is State.REFRESHING
    feed = feed.ended(end(minute(1)), records_modified=True)
    assert feed.state(PROMISE, LINKED, minute(1)) is State.FRESH
    assert [sync.took for sync in feed.history] == [MINUTE]


def test_the_end_of_an_earlier_dataset_does_not_end_the_one_in_flight() -> None:
    feed = RUNNING.ended(end(minute(-1)))
    assert feed.in_flight
    assert feed.succeeded_at == minute(-1)


def test_a_feed_is_due_so_early_that_its_sync_ends_before_the_promise_does_and_so_it_stays_in_flight() -> None:
    feed = NEW.requested(request(minute(-10))).ended(end(NOON), records_modified=False)
    due = due_at(feed, PROMISE, LINKED)
    assert due is not None
    assert due + feed.usual_sync_time < NOON + PROMISE.fresh_within
    assert due_at(feed.requested(request(NOON + timedelta(hours=6))), PROMISE, LINKED) == due


@pytest.mark.parametrize("state", [FAILED, "SomethingNew"])
def test_each_failure_in_a_feed_doubles_the_wait_for_the_next_try(state: str) -> None:
    feed, now, waits = NEW, NOON, []
    for _ in range(4):
        feed = feed.requested(request(now, dataset_id=str(now))).ended(end(now + MINUTE, state))
        due = due_at(feed, PROMISE, LINKED)
        assert due is not None
        waits.append((due - now - MINUTE) / FIRST_RETRY)
        now = due

    assert feed.failures == 4
    assert feed.state(PROMISE, LINKED, NOON) is State.FAILING
    assert waits == [pytest.approx(2**n, rel=0.25) for n in range(4)]


def test_tries_of_many_feeds_are_spread_by_a_quarter_either_way() -> None:
    shares = [backoff.delay(f"{number}", 1) / FIRST_RETRY for number in range(500)]
    assert 0.75 <= min(shares) < 0.76
    assert 1.24 < max(shares) < 1.25


@pytest.mark.parametrize("next_read", [None, Trigger.EXTERNAL, Trigger.PROMISE], ids=str)
def test_a_success_forgets_the_failures_before_it(next_read: Trigger | None) -> None:
    feed, now = NEW, NOON
    for number in range(6):
        feed = feed.requested(request(now, str(number))).ended(end(now + MINUTE, FAILED))
        now += 2 * MINUTE
    feed = feed.ended(end(now))
    assert feed.failures == 0

    feed = feed.requested(request(now + MINUTE, "next", next_read)) if next_read else feed
    failed = feed.ended(end(now + 2 * MINUTE, FAILED))

    assert failed.failures == (next_read is Trigger.PROMISE)
    due = due_at(failed, replace(PROMISE, fresh_within=MINUTE), LINKED)
    assert due is not None
    assert timedelta(0) < due - now - 2 * MINUTE <= 1.25 * FIRST_RETRY


def test_a_feed_without_permissions_is_blocked_until_its_connection_is_linked_again_and_tried_daily() -> None:
    feed = RUNNING.ended(end(minute(1), DatasetState.PERMISSIONS_ERROR))

    assert feed.state(PROMISE, LINKED, NOON) is State.BLOCKED
    # The customer may grant them at the platform, which Codat does not report.
    assert due_at(feed, PROMISE, LINKED) == minute(1) + RETRY_WITHOUT_PERMISSIONS
    assert due_at(feed.with_refresh_requested(NOON), PROMISE, LINKED) == REQUESTED_DUE
    relinked = replace(LINKED, status_at=minute(2))
    assert feed.state(PROMISE, relinked, NOON) is State.STALE
    assert due_at(feed, PROMISE, relinked) == BEGINNING


def test_a_read_that_was_refused_once_is_tried_again_and_blocks_its_connections_feeds_if_it_is_refused_again() -> None:
    feed = RUNNING.ended(end(minute(1), DatasetState.AUTH_ERROR))
    once, again = (LINKED.with_reads(NOON + n * MINUTE for n in minutes) for minutes in ((1,), (1, 16)))

    assert feed.state(PROMISE, once, NOON) is State.FAILING
    assert feed.state(PROMISE, again, NOON) is NEW.state(PROMISE, again, NOON) is State.BLOCKED
    assert due_at(feed, PROMISE, once) == due_at(feed, PROMISE, again) == minute(1) + RETRY_AFTER_REFUSAL
    relinked = replace(again, status_at=minute(17)).with_reads(())
    assert feed.state(PROMISE, relinked, NOON) is State.FAILING
    assert due_at(feed, PROMISE, relinked) == BEGINNING


def test_a_call_that_failed_no_longer_counts_after_somebody_elses_read_succeeded() -> None:
    failed = NEW.ended(end(NOON)).call_failed(minute(1), timedelta(hours=6))
    assert failed.retry_at
    assert failed.state(PROMISE, LINKED, minute(1)) is State.FAILING
    read = failed.ended(end(failed.retry_at))
    assert read.state(PROMISE, LINKED, minute(1)) is State.FRESH


def test_patience_with_a_dataset_doubles_each_time_it_is_seen_still_running() -> None:
    feed, waits = RUNNING, []
    for _ in range(4):
        late_at = feed.late_at
        assert late_at is not None
        waits.append(late_at - NOON)
        feed = reconcile(feed, DatasetPolled(at=late_at, state=DatasetState.QUEUED, dataset_id="dataset"), NOON)

    assert waits == [MIN_LATE_AFTER * 2**n for n in range(4)]


def test_a_complete_dataset_without_the_time_of_its_end_is_a_success_as_of_its_request_and_not_cancelled() -> None:
    complete = polled(minute(60), DatasetState.COMPLETE)
    feed = reconcile(RUNNING, complete, NOON)
    assert feed.end and feed.end.state == DatasetState.COMPLETE
    assert (feed.in_flight, feed.as_of) == (None, AsOf(at=NOON, is_estimated=False))
    assert reconcile(feed, replace(complete, at=minute(120)), NOON) == feed


def named(number: float, state: str = COMPLETE, dataset_id: str = "dataset") -> End:
    return end(minute(number), state, dataset_id)


def theirs(number: float, dataset_id: str = "dataset") -> Request:
    return request(minute(number), dataset_id, Trigger.EXTERNAL)


LATE = RUNNING.late_at or NOON
REPORTED = NEW.requested(request(minute(-10))).ended(end(minute(1), FAILED))


@pytest.mark.parametrize(
    ("what", "feed", "fact", "in_flight", "known_end"),
    [
        ("a lost success", RUNNING, polled(minute(5), COMPLETE, succeeded_at=minute(1)), None, named(1)),
        ("a lost failure", RUNNING, polled(minute(5), "MapError"), None, named(5, "MapError")),
        ("a dataset of others", NEW, polled(NOON, FETCHING, "theirs"), theirs(0, "theirs"), None),
        ("a failure from before", RUNNING, polled(minute(-1), FAILED, "earlier"), request(NOON), None),
        (
            "a success from before, of which nothing is late",
            RUNNING,
            polled(minute(0.1), COMPLETE, "before", succeeded_at=minute(-1)),
            request(NOON),
            named(-1, COMPLETE, "before"),
        ),
        (
            "no late dataset of which Codat knows nothing any more",
            RUNNING,
            polled(LATE, COMPLETE, "other", succeeded_at=minute(-1)),
            None,
            end(LATE, DatasetState.CANCELLED, "dataset"),
        ),
        (
            "a success from before its request, by our clock that is ahead",
            NEW.requested(theirs(5)),
            polled(minute(5.1), COMPLETE, succeeded_at=minute(1)),
            None,
            named(5),
        ),
        (
            "a failure from before its request, by our clock that is ahead",
            NEW.requested(request(minute(5))),
            polled(minute(5.1), FAILED, ended_at=minute(1)),
            None,
            named(5, FAILED),
        ),
        ("a request without an id", NEW.requested(request(NOON, "")), polled(minute(1), FETCHING), request(NOON), None),
        ("one with another id", NEW.requested(request(NOON, "ours")), polled(minute(1), FETCHING), theirs(1), None),
        (
            "a failure like the one before",
            NEW.ended(named(1, FAILED, "first")).requested(request(minute(2), "second")),
            polled(minute(3), FAILED, "second"),
            None,
            named(3, FAILED, "second"),
        ),
        ("the id of a failure", REPORTED, polled(minute(9), FAILED), None, named(1, FAILED)),
        ("its id and time", REPORTED, polled(minute(9), FAILED, ended_at=minute(1)), None, named(1, FAILED)),
        ("its id, not its time", REPORTED, polled(minute(9), FAILED, ended_at=minute(-5)), None, named(1, FAILED)),
        (
            "somebody else's read that failed since the request",
            RUNNING,
            polled(minute(5), FAILED, "theirs", ended_at=minute(4)),
            None,
            named(4, FAILED, "theirs"),
        ),
        (
            "why a known dataset failed",
            RUNNING.ended(named(1, FAILED)),
            polled(minute(2), FAILED, reason="The file is locked"),
            None,
            replace(named(1, FAILED), reason="The file is locked"),
        ),
        (
            "the last success while another dataset runs",
            NEW,
            polled(minute(1), FETCHING, "running", succeeded_at=NOON, succeeded_id="read"),
            theirs(1, "running"),
            named(0, COMPLETE, "read"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_poll_finds(
    what: str, feed: Feed, fact: DatasetPolled, in_flight: Request | None, known_end: End | None
) -> None:
    found = reconcile(feed, fact, NOON)
    assert (found.in_flight, found.end) == (in_flight, known_end)


def test_a_failure_that_was_seen_or_is_older_than_the_link_is_tried_once() -> None:
    refused = DatasetState.PERMISSIONS_ERROR
    again = reconcile(reconcile(RUNNING, polled(minute(1), refused), NOON), polled(minute(3), refused), NOON)
    assert not again.is_blocked(replace(LINKED, status_at=minute(2)))
    assert due_at(reconcile(NEW, polled(NOON, refused), LINKED.status_at), PROMISE, LINKED) == BEGINNING


ENDS = st.lists(
    st.tuples(
        st.integers(-50, 50).map(lambda minutes: NOON + minutes * MINUTE),
        st.sampled_from(list(DatasetState)[9:]),
        st.sampled_from([None, True, False]),
    ),
    unique_by=lambda end: end[0],
    max_size=40,
)


@given(ends=ENDS, late=st.lists(st.integers(0, LAST_KEPT - 1), min_size=60, max_size=60))
def test_ends_that_arrive_late_or_repeatedly_leave_the_same_feed(
    ends: list[tuple[datetime, DatasetState, bool | None]], late: list[int]
) -> None:
    def after(ends: list[tuple[datetime, DatasetState, bool | None]]) -> Feed:
        feed = RUNNING
        for at, state, modified in ends:
            feed = feed.ended(end(at, state), modified)
        return feed

    ends.sort(key=lambda end: end[0])
    arrivals = [*enumerate(ends), *list(enumerate(ends))[::2]]
    late_by = iter(late)
    arrivals.sort(key=lambda arrival: arrival[0] + next(late_by))

    assert after([end for _, end in arrivals]) == after(ends)


def test_a_requested_refresh_is_due_before_everything_else_until_it_is_queued() -> None:
    fresh = NEW.ended(end(NOON))
    wanted = fresh.with_refresh_requested(NOON)
    assert due_at(wanted, PROMISE, LINKED) == REQUESTED_DUE < BEGINNING
    requested = wanted.requested(request(minute(1), trigger=Trigger.OPERATOR))
    assert requested.refresh_requested_at is None
    assert requested.ended(end(minute(2))).keeps(PROMISE, NOON)


def test_a_requested_refresh_in_flight_is_not_requested_again_and_is_checked_when_it_is_late() -> None:
    feed = NEW.ended(end(NOON)).requested(request(minute(1), trigger=Trigger.OPERATOR))
    assert feed.with_refresh_requested(minute(2)) == feed
    assert due_at(feed, PROMISE, LINKED) == feed.late_at


def test_requests_of_yesterday_do_not_count_today_after_others_requested_a_read() -> None:
    feed = NEW.requested(request(NOON, "ours"))
    tomorrow = NOON + timedelta(days=1)
    assert feed.requests_on(NOON.date()) == 1
    assert feed.requested(request(tomorrow, "theirs", Trigger.EXTERNAL)).requests_on(tomorrow.date()) == 0


def test_a_copy_of_which_only_the_end_is_known_is_as_of_the_longest_plausible_sync_before_it() -> None:
    measured = RUNNING.ended(end(minute(3)))
    assert NEW.as_of is None
    assert NEW.ended(end(NOON)).as_of == AsOf(at=NOON - LONGEST_SYNC, is_estimated=True)
    assert measured.ended(end(minute(60))).as_of == AsOf(at=minute(60) - LONGEST_SYNC, is_estimated=True)


READ = RUNNING.ended(end(minute(1)))
FOUND = reconcile(RUNNING, polled(minute(3), COMPLETE, succeeded_at=minute(1)), NOON)
THEIRS = NEW.requested(request(NOON, trigger=Trigger.EXTERNAL))


@pytest.mark.parametrize(
    ("feed", "is_estimated"),
    [
        pytest.param(READ, False, id="ours"),
        pytest.param(READ.requested(request(minute(60), "next")), False, id="while the next read is in flight"),
        pytest.param(READ.ended(end(minute(61), FAILED)), False, id="after the next read failed"),
        pytest.param(FOUND, False, id="found by a poll"),
        pytest.param(FOUND.ended(end(minute(1.03))), False, id="found by a poll and a webhook"),
        pytest.param(THEIRS.ended(end(minute(1))), True, id="of others"),
        pytest.param(
            reconcile(THEIRS, polled(minute(2), COMPLETE, succeeded_at=minute(1)), NOON),
            True,
            id="of others, found by a poll",
        ),
    ],
)
def test_a_copy_is_as_of_the_request_of_its_read_if_that_is_ours(feed: Feed, is_estimated: bool) -> None:
    at = minute(1) - LONGEST_SYNC if is_estimated else NOON
    assert feed.as_of == AsOf(at=at, is_estimated=is_estimated)


def test_the_probability_that_a_copy_is_up_to_date_follows_from_the_learned_rate_and_its_age() -> None:
    feed = replace(RUNNING.ended(end(minute(1))), changes_per_day=8.0)
    assert probability_up_to_date(feed, PROMISE, NOON + timedelta(hours=2)) == pytest.approx(math.exp(-8.0 * 2 / 24))
    assert probability_up_to_date(NEW, PROMISE, NOON) is None


@given(
    microseconds=st.integers(0, 10**10),
    took=st.integers(1, 10**10),
    ends=ENDS,
    order=st.randoms(),
)
def test_a_copy_is_as_of_the_millisecond_of_its_request_in_whatever_order_its_end_arrives(
    microseconds: int, took: int, ends: list[tuple[datetime, DatasetState, bool | None]], order: "object"
) -> None:
    requested_at = NOON + timedelta(microseconds=microseconds)
    earlier = [(at - timedelta(days=1), state, modified) for at, state, modified in ends]
    facts = [*earlier, (requested_at + timedelta(microseconds=took), DatasetState.COMPLETE, True)]
    order.shuffle(facts)  # type: ignore[attr-defined]
    feed = NEW.requested(request(requested_at))
    for at, state, modified in facts:
        feed = feed.ended(end(at, state), modified)

    assert feed.as_of
    assert not feed.as_of.is_estimated
    assert feed.as_of.at == requested_at.replace(microsecond=requested_at.microsecond // 1000 * 1000)


def test_callers_together_want_the_latest_not_before_by_the_earliest_deadline() -> None:
    feed = NEW.with_wanted(wanted(NOON, minute(5))).with_wanted(wanted(minute(-1), minute(2)))
    assert feed.wanted == wanted(NOON, minute(2))
    assert due_at(feed, PROMISE, LINKED) == REQUESTED_DUE


@given(wants=st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 9), st.booleans()), max_size=6), order=st.randoms())
def test_wants_in_any_order_and_any_number_of_times_leave_the_same_feed(
    wants: list[tuple[int, int, bool]], order: "object"
) -> None:
    def after(wants: list[tuple[int, int, bool]]) -> Feed:
        feed = RUNNING.ended(end(minute(1)))
        for before, deadline, at_any_time in wants:
            feed = feed.with_wanted(
                Wanted(not_before=NOON + before * MINUTE, deadline=NOON + deadline * MINUTE, at_any_time=at_any_time),
            )
        return feed

    shuffled = wants + wants[::2]
    order.shuffle(shuffled)  # type: ignore[attr-defined]

    assert after(shuffled) == after(wants)


def test_a_read_in_flight_since_not_before_serves_what_is_wanted_and_an_earlier_one_does_not() -> None:
    feed = RUNNING.with_wanted(wanted(NOON))
    later = RUNNING.with_wanted(wanted(minute(1)))

    assert due_at(feed, PROMISE, LINKED) != REQUESTED_DUE
    assert feed.ended(end(minute(2))).without_satisfied().wanted is None
    ended = later.ended(end(minute(2))).without_satisfied()
    assert ended.wanted
    assert due_at(ended, PROMISE, LINKED) == REQUESTED_DUE


def test_data_that_is_wanted_is_due_although_its_promise_is_off_unless_it_is_as_wanted_already() -> None:
    assert due_at(NEW.with_wanted(wanted(NOON)), replace(PROMISE, off=True), LINKED) == REQUESTED_DUE
    feed = RUNNING.ended(end(minute(1)))
    assert feed.with_wanted(wanted(NOON)) == feed


@pytest.mark.parametrize("days", [1, 3, 10])
def test_codat_is_asked_about_a_dataset_that_takes_days_at_least_every_six_hours(days: int) -> None:
    seen_at = NOON + timedelta(days=days)
    waiting = replace(RUNNING, seen_running_at=seen_at)
    assert waiting.late_at == seen_at + timedelta(hours=6)


def test_what_reads_showed_is_kept_of_a_deleted_feed_and_nothing_of_what_was_to_be_done() -> None:
    feed = RUNNING.ended(end(minute(1)), records_modified=True)
    known = replace(feed, quiet_since=NOON, platform_sync_time=MINUTE, written_at=NOON)
    planned = known.call_failed(minute(2), MINUTE).with_wanted(Wanted(not_before=minute(1), deadline=NOON))
    running = planned.requested(request(minute(3), "second"))
    assert without_plans(planned) == replace(known, attempts=0, requests_that_day=0)
    assert without_plans(running).in_flight is None
