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
from freshness.domain.companies.company import ConnectionStatus
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
from tests.builders import MINUTE, NOON, a_connection

PROMISE = Promise(fresh_within=timedelta(hours=6))
LINKED = a_connection("connection", NOON - timedelta(days=30))
NEW = Feed(company_id="company", data_type="invoices", connection_id="connection")


def request(at: datetime, dataset_id: str = "dataset", trigger: Trigger = Trigger.PROMISE) -> Request:
    return Request(at=at, trigger=trigger, dataset_id=dataset_id)


def end(at: datetime, state: str = DatasetState.COMPLETE) -> End:
    return End(at=at, state=state)


def test_a_feed_that_was_never_synced_is_stale_and_due_at_once() -> None:
    assert NEW.state(PROMISE, LINKED, NOON) is State.STALE
    assert due_at(NEW, PROMISE, LINKED) == BEGINNING


def test_a_feed_is_refreshing_until_its_dataset_ends() -> None:
    feed = NEW.requested(request(NOON))
    assert feed.state(PROMISE, LINKED, NOON) is State.REFRESHING

    feed = feed.ended(end(NOON + MINUTE), records_modified=True)
    assert feed.state(PROMISE, LINKED, NOON + MINUTE) is State.FRESH
    assert [sync.took for sync in feed.history] == [MINUTE]


def test_the_end_of_an_earlier_dataset_does_not_end_the_one_in_flight() -> None:
    feed = NEW.requested(request(NOON)).ended(end(NOON - MINUTE))

    assert feed.in_flight
    assert feed.succeeded_at == NOON - MINUTE


def test_a_feed_is_due_so_early_that_its_sync_ends_before_the_promise_does() -> None:
    feed = NEW.requested(request(NOON - 10 * MINUTE)).ended(end(NOON), records_modified=False)

    due = due_at(feed, PROMISE, LINKED)

    assert due is not None
    assert due + feed.usual_sync_time < NOON + PROMISE.fresh_within


def test_a_feed_stays_due_at_the_same_time_while_its_dataset_is_in_flight() -> None:
    feed = NEW.ended(end(NOON))

    assert due_at(feed.requested(request(NOON + timedelta(hours=6))), PROMISE, LINKED) == due_at(feed, PROMISE, LINKED)


def test_each_failure_in_a_feed_doubles_the_wait_for_the_next_try() -> None:
    feed, now, waits = NEW, NOON, []
    for _ in range(4):
        feed = feed.requested(request(now, dataset_id=str(now))).ended(end(now + MINUTE, DatasetState.FETCH_ERROR))
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


def test_a_success_forgets_the_failures_before_it() -> None:
    feed = NEW.requested(request(NOON)).ended(end(NOON + MINUTE, DatasetState.FETCH_ERROR))
    feed = feed.requested(request(NOON + 2 * MINUTE, "second")).ended(end(NOON + 3 * MINUTE))

    assert feed.failures == 0
    assert feed.requested(request(NOON + 4 * MINUTE, "third")).attempts == 1


def test_a_feed_without_permissions_is_blocked_until_its_connection_is_linked_again_and_tried_daily() -> None:
    feed = NEW.requested(request(NOON)).ended(end(NOON + MINUTE, DatasetState.PERMISSIONS_ERROR))

    assert feed.state(PROMISE, LINKED, NOON) is State.BLOCKED
    # The customer may grant them at the platform, which Codat does not report.
    assert due_at(feed, PROMISE, LINKED) == NOON + MINUTE + RETRY_WITHOUT_PERMISSIONS
    assert due_at(feed.with_refresh_requested(NOON), PROMISE, LINKED) == REQUESTED_DUE
    relinked = replace(LINKED, status_at=NOON + 2 * MINUTE)
    assert feed.state(PROMISE, relinked, NOON) is State.STALE
    assert due_at(feed, PROMISE, relinked) == BEGINNING


def test_a_read_that_was_refused_once_is_tried_again_and_blocks_its_connections_feeds_if_it_is_refused_again() -> None:
    feed = NEW.requested(request(NOON)).ended(end(NOON + MINUTE, DatasetState.AUTH_ERROR))
    once, again = (LINKED.with_reads(NOON + n * MINUTE for n in minutes) for minutes in ((1,), (1, 16)))

    assert feed.state(PROMISE, once, NOON) is State.FAILING
    assert feed.state(PROMISE, again, NOON) is NEW.state(PROMISE, again, NOON) is State.BLOCKED
    assert due_at(feed, PROMISE, once) == due_at(feed, PROMISE, again) == NOON + MINUTE + RETRY_AFTER_REFUSAL
    relinked = replace(again, status_at=NOON + 17 * MINUTE).with_reads(())
    assert feed.state(PROMISE, relinked, NOON) is State.FAILING
    assert due_at(feed, PROMISE, relinked) == BEGINNING


def test_a_call_that_failed_no_longer_counts_after_somebody_elses_read_succeeded() -> None:
    failed = NEW.ended(end(NOON)).call_failed(NOON + MINUTE, timedelta(hours=6))
    assert failed.retry_at
    assert failed.state(PROMISE, LINKED, NOON + MINUTE) is State.FAILING

    read = failed.ended(end(failed.retry_at))

    assert read.state(PROMISE, LINKED, NOON + MINUTE) is State.FRESH


def test_failures_before_a_success_do_not_delay_the_try_after_the_next_failure() -> None:
    feed, now = NEW, NOON
    for _ in range(6):
        feed = feed.requested(request(now, dataset_id=str(now))).ended(end(now + MINUTE, DatasetState.FETCH_ERROR))
        now += 2 * MINUTE
    feed = feed.ended(end(now)).ended(end(now + MINUTE, DatasetState.FETCH_ERROR))

    due = due_at(feed, replace(PROMISE, fresh_within=MINUTE), LINKED)

    assert due is not None
    assert due - now - MINUTE <= 1.25 * FIRST_RETRY


def test_a_feed_whose_connection_is_not_linked_is_blocked() -> None:
    lapsed = replace(LINKED, status=ConnectionStatus.DEAUTHORIZED)

    assert NEW.state(PROMISE, lapsed, NOON) is State.BLOCKED
    assert due_at(NEW, PROMISE, lapsed) is None


def test_what_a_platform_does_not_have_is_never_requested_again() -> None:
    feed = NEW.ended(end(NOON, DatasetState.NOT_SUPPORTED))

    assert feed.state(PROMISE, LINKED, NOON) is State.UNSUPPORTED
    assert due_at(feed, PROMISE, LINKED) is None


def test_a_state_that_codat_adds_later_is_tried_again() -> None:
    feed = NEW.requested(request(NOON)).ended(end(NOON + MINUTE, "SomethingNew"))

    assert feed.state(PROMISE, LINKED, NOON) is State.FAILING
    assert due_at(feed, PROMISE, LINKED) is not None


def test_patience_with_a_dataset_doubles_each_time_it_is_seen_still_running() -> None:
    feed, waits = NEW.requested(request(NOON)), []
    for _ in range(4):
        late_at = feed.late_at
        assert late_at is not None
        waits.append(late_at - NOON)
        feed = reconcile(feed, DatasetPolled(at=late_at, state=DatasetState.QUEUED, dataset_id="dataset"), NOON)

    assert waits == [MIN_LATE_AFTER * 2**n for n in range(4)]


def polled(at: datetime, state: str, dataset_id: str = "dataset", **known: Any) -> DatasetPolled:
    return DatasetPolled(at=at, state=state, dataset_id=dataset_id, **known)


def test_a_poll_ends_a_dataset_whose_webhook_was_lost() -> None:
    feed = NEW.requested(request(NOON))

    feed = reconcile(feed, polled(NOON + 5 * MINUTE, DatasetState.COMPLETE, succeeded_at=NOON + MINUTE), NOON)

    assert feed.in_flight is None
    assert feed.succeeded_at == NOON + MINUTE


def test_a_complete_dataset_without_the_time_of_its_end_is_a_success_as_of_its_request_and_not_cancelled() -> None:
    complete = polled(NOON + 60 * MINUTE, DatasetState.COMPLETE)

    feed = reconcile(NEW.requested(request(NOON)), complete, NOON)

    assert feed.end and feed.end.state == DatasetState.COMPLETE
    assert (feed.in_flight, feed.as_of) == (None, AsOf(at=NOON, is_estimated=False))
    assert reconcile(feed, replace(complete, at=NOON + 120 * MINUTE), NOON) == feed


def test_a_poll_finds_a_failure_whose_webhook_was_lost() -> None:
    feed = reconcile(NEW.requested(request(NOON)), polled(NOON + 5 * MINUTE, DatasetState.MAP_ERROR), NOON)

    assert feed.state(PROMISE, LINKED, NOON) is State.FAILING


def test_a_failure_seen_again_is_not_a_new_failure() -> None:
    feed = reconcile(NEW.requested(request(NOON)), polled(NOON + MINUTE, DatasetState.PERMISSIONS_ERROR), NOON)
    relinked = replace(LINKED, status_at=NOON + 2 * MINUTE)

    feed = reconcile(feed, polled(NOON + 3 * MINUTE, DatasetState.PERMISSIONS_ERROR), NOON)

    assert not feed.is_blocked(relinked)


def test_a_dataset_that_others_requested_is_in_flight_too() -> None:
    feed = reconcile(NEW, polled(NOON, DatasetState.FETCHING, dataset_id="theirs"), NOON)

    assert feed.in_flight == request(NOON, "theirs", Trigger.EXTERNAL)
    assert feed.attempts == 0


def test_a_status_older_than_the_request_does_not_end_its_dataset() -> None:
    feed = NEW.requested(request(NOON))

    assert reconcile(feed, polled(NOON - MINUTE, DatasetState.FETCH_ERROR, dataset_id="earlier"), NOON).in_flight


def test_a_new_company_whose_last_sync_failed_is_tried_once() -> None:
    feed = reconcile(NEW, polled(NOON, DatasetState.PERMISSIONS_ERROR), LINKED.status_at)

    assert due_at(feed, PROMISE, LINKED) == BEGINNING


def test_a_clock_ahead_of_codats_does_not_keep_an_adopted_dataset_in_flight() -> None:
    feed = NEW.requested(request(NOON + 5 * MINUTE, trigger=Trigger.EXTERNAL))

    feed = reconcile(feed, polled(NOON + 6 * MINUTE, DatasetState.COMPLETE, succeeded_at=NOON + MINUTE), NOON)

    assert feed.in_flight is None


def test_a_late_dataset_that_codat_no_longer_reports_does_not_keep_a_feed_waiting() -> None:
    feed = NEW.requested(request(NOON))
    assert feed.late_at is not None

    feed = reconcile(
        feed, polled(feed.late_at, DatasetState.COMPLETE, dataset_id="other", succeeded_at=NOON - MINUTE), NOON
    )

    assert feed.in_flight is None


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
        feed = NEW.requested(request(NOON))
        for at, state, modified in ends:
            feed = feed.ended(end(at, state), modified)
        return feed

    ends.sort(key=lambda end: end[0])
    arrivals = [*enumerate(ends), *list(enumerate(ends))[::2]]
    late_by = iter(late)
    arrivals.sort(key=lambda arrival: arrival[0] + next(late_by))

    assert after([end for _, end in arrivals]) == after(ends)


@given(hours=st.integers(1, 500), tighter=st.integers(1, 500), ran=st.integers(0, 5000))
def test_tightening_a_promise_never_makes_a_feed_due_later(hours: int, tighter: int, ran: int) -> None:
    feed = NEW.requested(request(NOON - ran * MINUTE)).ended(end(NOON), records_modified=True)
    loose, tight = (
        due_at(feed, Promise(fresh_within=timedelta(hours=n)), LINKED)
        for n in (max(hours, tighter), min(hours, tighter))
    )

    assert loose is not None
    assert tight is not None
    assert tight <= loose


def test_a_requested_refresh_is_due_before_everything_else_until_it_is_queued() -> None:
    fresh = NEW.ended(end(NOON))

    wanted = fresh.with_refresh_requested(NOON)

    assert due_at(wanted, PROMISE, LINKED) == REQUESTED_DUE < BEGINNING
    requested = wanted.requested(request(NOON + MINUTE, trigger=Trigger.OPERATOR))
    assert requested.refresh_requested_at is None
    assert requested.ended(end(NOON + 2 * MINUTE)).keeps(PROMISE, NOON)


def test_requesting_a_refresh_that_is_in_flight_changes_nothing() -> None:
    in_flight = NEW.requested(request(NOON))

    assert in_flight.with_refresh_requested(NOON + MINUTE) == in_flight


def test_a_requested_refresh_is_checked_when_it_is_late_although_the_promise_is_kept() -> None:
    feed = NEW.ended(end(NOON)).requested(request(NOON + MINUTE, trigger=Trigger.OPERATOR))

    assert due_at(feed, PROMISE, LINKED) == feed.late_at


def test_a_blocked_feed_is_not_due_even_if_its_refresh_was_requested() -> None:
    unlinked = replace(LINKED, status=ConnectionStatus.DEAUTHORIZED)

    assert due_at(NEW.with_refresh_requested(NOON), PROMISE, unlinked) is None


def test_a_success_forgets_failures_also_where_others_requested_the_next_read() -> None:
    feed = NEW
    for hour in range(4):
        at = NOON + timedelta(hours=hour)
        feed = feed.requested(request(at, str(hour))).ended(end(at + MINUTE, DatasetState.FETCH_ERROR))
    feed = feed.ended(end(NOON + timedelta(hours=4)))
    external = request(NOON + timedelta(hours=5), "theirs", Trigger.EXTERNAL)

    failed = feed.requested(external).ended(end(NOON + timedelta(hours=5, minutes=1), DatasetState.FETCH_ERROR))

    assert failed.failures == 0
    due = due_at(failed, Promise(fresh_within=timedelta(minutes=30)), LINKED)
    assert due is not None
    assert timedelta(0) < due - NOON - timedelta(hours=5, minutes=1) <= 1.25 * FIRST_RETRY


def test_requests_of_yesterday_do_not_count_today_after_others_requested_a_read() -> None:
    feed = NEW.requested(request(NOON, "ours"))
    tomorrow = NOON + timedelta(days=1)

    assert feed.requests_on(NOON.date()) == 1
    assert feed.requested(request(tomorrow, "theirs", Trigger.EXTERNAL)).requests_on(tomorrow.date()) == 0


def test_a_copy_is_as_of_the_request_of_its_read_and_not_of_its_end() -> None:
    feed = NEW.requested(request(NOON)).ended(end(NOON + 30 * MINUTE))

    assert feed.as_of == AsOf(at=NOON, is_estimated=False)


def test_a_copy_of_which_only_the_end_is_known_is_as_of_the_longest_plausible_sync_before_it() -> None:
    measured = NEW.requested(request(NOON)).ended(end(NOON + 3 * MINUTE))

    assert NEW.as_of is None
    assert NEW.ended(end(NOON)).as_of == AsOf(at=NOON - LONGEST_SYNC, is_estimated=True)
    assert measured.ended(end(NOON + 60 * MINUTE)).as_of == AsOf(
        at=NOON + 60 * MINUTE - LONGEST_SYNC, is_estimated=True
    )


def test_the_probability_that_a_copy_is_up_to_date_follows_from_the_learned_rate_and_its_age() -> None:
    feed = replace(NEW.requested(request(NOON)).ended(end(NOON + MINUTE)), changes_per_day=8.0)

    assert probability_up_to_date(feed, PROMISE, NOON + timedelta(hours=2)) == pytest.approx(math.exp(-8.0 * 2 / 24))
    assert probability_up_to_date(NEW, PROMISE, NOON) is None


def test_when_a_read_of_others_was_requested_is_estimated() -> None:
    feed = NEW.requested(request(NOON, trigger=Trigger.EXTERNAL)).ended(end(NOON + MINUTE))

    assert feed.as_of == AsOf(at=NOON + MINUTE - LONGEST_SYNC, is_estimated=True)


def test_a_copy_stays_as_of_the_same_time_while_the_next_read_is_in_flight_or_fails() -> None:
    feed = NEW.requested(request(NOON)).ended(end(NOON + MINUTE))
    in_flight = feed.requested(request(NOON + 60 * MINUTE, "next"))
    failed = in_flight.ended(end(NOON + 61 * MINUTE, DatasetState.FETCH_ERROR))

    assert feed.as_of == in_flight.as_of == failed.as_of == AsOf(at=NOON, is_estimated=False)


def test_a_copy_found_by_a_poll_and_reported_by_a_webhook_is_as_of_the_same_request() -> None:
    by_poll = reconcile(
        NEW.requested(request(NOON)), polled(NOON + 3 * MINUTE, "Complete", succeeded_at=NOON + MINUTE), NOON
    )
    both = by_poll.ended(end(NOON + MINUTE + timedelta(seconds=2)))

    assert by_poll.as_of == both.as_of == AsOf(at=NOON, is_estimated=False)


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


def wanted(not_before: datetime, deadline: datetime = NOON + 10 * MINUTE) -> Wanted:
    return Wanted(not_before=not_before, deadline=deadline)


def test_callers_together_want_the_latest_not_before_by_the_earliest_deadline() -> None:
    feed = NEW.with_wanted(wanted(NOON, NOON + 5 * MINUTE)).with_wanted(wanted(NOON - MINUTE, NOON + 2 * MINUTE))

    assert feed.wanted == wanted(NOON, NOON + 2 * MINUTE)
    assert due_at(feed, PROMISE, LINKED) == REQUESTED_DUE


@given(wants=st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 9), st.booleans()), max_size=6), order=st.randoms())
def test_wants_in_any_order_and_any_number_of_times_leave_the_same_feed(
    wants: list[tuple[int, int, bool]], order: "object"
) -> None:
    def after(wants: list[tuple[int, int, bool]]) -> Feed:
        feed = NEW.requested(request(NOON)).ended(end(NOON + MINUTE))
        for before, deadline, at_any_time in wants:
            feed = feed.with_wanted(
                Wanted(not_before=NOON + before * MINUTE, deadline=NOON + deadline * MINUTE, at_any_time=at_any_time),
            )
        return feed

    shuffled = wants + wants[::2]
    order.shuffle(shuffled)  # type: ignore[attr-defined]

    assert after(shuffled) == after(wants)


def test_a_copy_that_is_as_wanted_already_is_not_refreshed() -> None:
    feed = NEW.requested(request(NOON)).ended(end(NOON + MINUTE))

    assert feed.with_wanted(wanted(NOON)) == feed


def test_a_read_in_flight_since_not_before_serves_what_is_wanted_and_an_earlier_one_does_not() -> None:
    feed = NEW.requested(request(NOON)).with_wanted(wanted(NOON))
    later = NEW.requested(request(NOON)).with_wanted(wanted(NOON + MINUTE))

    assert due_at(feed, PROMISE, LINKED) != REQUESTED_DUE
    assert feed.ended(end(NOON + 2 * MINUTE)).without_satisfied().wanted is None
    ended = later.ended(end(NOON + 2 * MINUTE)).without_satisfied()
    assert ended.wanted
    assert due_at(ended, PROMISE, LINKED) == REQUESTED_DUE


def test_data_that_is_wanted_is_due_although_its_promise_is_off_but_not_while_it_is_blocked() -> None:
    off = replace(PROMISE, off=True)
    unlinked = replace(LINKED, status=ConnectionStatus.DEAUTHORIZED)

    assert due_at(NEW.with_wanted(wanted(NOON)), off, LINKED) == REQUESTED_DUE
    assert due_at(NEW.with_wanted(wanted(NOON)), PROMISE, unlinked) is None


@pytest.mark.parametrize("days", [1, 3, 10])
def test_codat_is_asked_about_a_dataset_that_takes_days_at_least_every_six_hours(days: int) -> None:
    seen_at = NOON + timedelta(days=days)
    waiting = replace(NEW.requested(request(NOON)), seen_running_at=seen_at)

    assert waiting.late_at == seen_at + timedelta(hours=6)


def test_a_success_that_is_found_before_it_is_late_counts_from_its_request_where_our_clock_is_ahead() -> None:
    requested_at = NOON + 5 * MINUTE
    adopted = NEW.requested(request(requested_at, trigger=Trigger.EXTERNAL))
    soon = requested_at + timedelta(seconds=5)

    feed = reconcile(adopted, polled(soon, DatasetState.COMPLETE, succeeded_at=NOON + MINUTE), NOON)

    assert feed.in_flight is None
    assert (feed.succeeded_at, feed.end and feed.end.state) == (requested_at, DatasetState.COMPLETE)


def test_a_dataset_that_is_not_late_stays_in_flight_although_codat_reports_the_one_before_it() -> None:
    feed = NEW.requested(request(NOON))
    before = polled(NOON + timedelta(seconds=5), DatasetState.COMPLETE, dataset_id="before", succeeded_at=NOON - MINUTE)

    assert reconcile(feed, before, NOON).in_flight == feed.in_flight


def test_a_failure_that_codat_reported_before_the_request_does_not_end_its_dataset() -> None:
    feed = NEW.requested(request(NOON))

    assert reconcile(feed, polled(NOON - MINUTE, DatasetState.FETCH_ERROR, dataset_id="before"), NOON) == feed


def test_a_running_dataset_is_the_one_that_was_requested_without_an_id_and_not_one_with_another() -> None:
    running = polled(NOON + MINUTE, DatasetState.FETCHING)

    unnamed = reconcile(NEW.requested(request(NOON, dataset_id="")), running, NOON)
    other = reconcile(NEW.requested(request(NOON, dataset_id="ours")), running, NOON)

    assert unnamed.in_flight == request(NOON)
    assert other.in_flight == request(NOON + MINUTE, trigger=Trigger.EXTERNAL)


@pytest.mark.parametrize(("trigger", "is_estimated"), [(Trigger.PROMISE, False), (Trigger.EXTERNAL, True)])
def test_when_a_polled_copy_was_requested_is_known_of_our_own_requests_only(
    trigger: Trigger, is_estimated: bool
) -> None:
    feed = NEW.requested(request(NOON, trigger=trigger))
    feed = reconcile(feed, polled(NOON + 2 * MINUTE, DatasetState.COMPLETE, succeeded_at=NOON + MINUTE), NOON)

    assert feed.as_of
    assert feed.as_of.is_estimated == is_estimated
    assert (feed.as_of.at == NOON) != is_estimated


def test_a_failure_like_the_one_before_ends_the_dataset_in_flight() -> None:
    failed = NEW.requested(request(NOON, "first")).ended(end(NOON + MINUTE, DatasetState.FETCH_ERROR))
    again = failed.requested(request(NOON + 2 * MINUTE, "second"))

    feed = reconcile(again, polled(NOON + 3 * MINUTE, DatasetState.FETCH_ERROR, "second"), NOON)

    assert feed.in_flight is None
    assert feed.end == End(at=NOON + 3 * MINUTE, state=DatasetState.FETCH_ERROR, dataset_id="second")


@pytest.mark.parametrize("ended_at", [None, NOON + MINUTE, NOON - 5 * MINUTE])
def test_a_poll_names_the_dataset_of_a_failure_that_a_webhook_reported_and_is_no_new_failure(
    ended_at: datetime | None,
) -> None:
    reported = NEW.requested(request(NOON - 10 * MINUTE)).ended(end(NOON + MINUTE, DatasetState.FETCH_ERROR))

    feed = reconcile(reported, polled(NOON + 9 * MINUTE, DatasetState.FETCH_ERROR, ended_at=ended_at), NOON)

    assert feed.end == End(at=NOON + MINUTE, state=DatasetState.FETCH_ERROR, dataset_id="dataset")


def test_somebody_elses_read_that_failed_since_the_request_ends_the_wait_for_it() -> None:
    theirs = polled(NOON + 5 * MINUTE, DatasetState.FETCH_ERROR, "theirs", ended_at=NOON + 4 * MINUTE)

    feed = reconcile(NEW.requested(request(NOON)), theirs, NOON)

    assert feed.in_flight is None
    assert feed.end == End(at=NOON + 4 * MINUTE, state=DatasetState.FETCH_ERROR, dataset_id="theirs")


def test_a_failure_from_before_its_request_by_our_clock_ends_its_dataset() -> None:
    ahead = NEW.requested(request(NOON + 5 * MINUTE))

    soon = NOON + 5 * MINUTE + timedelta(seconds=5)
    feed = reconcile(ahead, polled(soon, DatasetState.FETCH_ERROR, ended_at=NOON + MINUTE), NOON)

    assert feed.in_flight is None
    assert feed.end == End(at=NOON + 5 * MINUTE, state=DatasetState.FETCH_ERROR, dataset_id="dataset")


def test_a_poll_adds_why_a_known_dataset_failed() -> None:
    failed = End(at=NOON + MINUTE, state=DatasetState.FETCH_ERROR, dataset_id="dataset")
    feed = NEW.requested(request(NOON)).ended(failed)

    feed = reconcile(feed, polled(NOON + 2 * MINUTE, DatasetState.FETCH_ERROR, reason="The file is locked"), NOON)

    assert feed.end == replace(failed, reason="The file is locked")


def test_a_poll_names_the_dataset_of_the_last_success_while_another_one_runs() -> None:
    running = polled(NOON + MINUTE, DatasetState.FETCHING, "running", succeeded_at=NOON, succeeded_id="read")

    feed = reconcile(NEW, running, NOON)

    assert feed.end == End(at=NOON, state=DatasetState.COMPLETE, dataset_id="read")
    assert feed.in_flight
    assert feed.in_flight.dataset_id == "running"


def test_what_reads_showed_is_kept_of_a_deleted_feed_and_nothing_of_what_was_to_be_done() -> None:
    feed = NEW.requested(request(NOON)).ended(end(NOON + MINUTE), records_modified=True)
    known = replace(feed, quiet_since=NOON, platform_sync_time=MINUTE, written_at=NOON)
    planned = known.call_failed(NOON + 2 * MINUTE, MINUTE).with_wanted(Wanted(not_before=NOON + MINUTE, deadline=NOON))
    running = planned.requested(request(NOON + 3 * MINUTE, "second"))

    assert without_plans(planned) == replace(known, attempts=0, requests_that_day=0)
    assert without_plans(running).in_flight is None
