"""What follows from a fact about a feed: the new feed, the record of its dataset, and what is published."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.facts import (
    DatasetEnded,
    DatasetPolled,
    DatasetRequested,
    DataTypeUnsupported,
    DataWanted,
    Deferred,
    FeedFact,
    PromiseReviewed,
    QueueingFailed,
    RefreshRequested,
    RunInterrupted,
)
from freshness.domain.feeds.feed import Feed, is_known_dataset
from freshness.domain.feeds.feed_values import Decided, State, Wanted
from freshness.domain.feeds.schedule import REQUESTED_DUE
from freshness.domain.promises.promise import Promise
from freshness.domain.transitions.transition import Transition, transition, transitions
from tests.builders import LINKED, MINUTE, NOON, a_read
from tests.builders import NEW as A_FEED

PROMISE = Promise(fresh_within=timedelta(hours=6))
NEW = replace(A_FEED, version=1)


def after(feed: Feed, *facts: FeedFact, now: datetime = NOON) -> Transition:
    return transitions(feed, facts, PROMISE, LINKED, now)


def requested(at: datetime, dataset_id: str = "dataset", trigger: Trigger = Trigger.PROMISE) -> DatasetRequested:
    return DatasetRequested(at=at, trigger=trigger, dataset_id=dataset_id, state="Queued")


def polled(
    at: datetime, state: str, dataset_id: str = "dataset", succeeded_at: datetime | None = None
) -> DatasetPolled:
    return DatasetPolled(at=at, state=state, dataset_id=dataset_id, succeeded_at=succeeded_at)


def found(dataset_id: str, requested_at: datetime, ended_at: datetime, state: str = "Complete") -> DatasetPolled:
    succeeded_at, succeeded_id = (ended_at, dataset_id) if state == "Complete" else (None, "")
    polled_end = polled(ended_at, state, dataset_id, succeeded_at)
    return replace(polled_end, requested_at=requested_at, ended_at=ended_at, succeeded_id=succeeded_id)


def ended_by_rule(dataset_id: str) -> DatasetEnded:
    known: dict[str, Any] = {"company_id": "company", "data_type": "invoices", "records_modified": None}
    return DatasetEnded(dataset_id=dataset_id, state="Complete", **known)


RUNNING = after(NEW, requested(NOON)).feed


@pytest.mark.parametrize(
    ("what", "fact", "state", "published"),
    [
        ("failed", a_read(NOON + MINUTE, "FetchError"), "FetchError", 0),
        ("was replaced by another", requested(NOON + MINUTE, "theirs", Trigger.EXTERNAL), "Cancelled", 0),
        ("is not known to Codat when it is late", polled(RUNNING.late_at or NOON, "Cancelled"), "Cancelled", 0),
        ("was followed by another that ended", found("later", NOON + 2 * MINUTE, NOON + 3 * MINUTE), "Cancelled", 1),
    ],
)
def test_a_dataset_is_recorded_that(what: str, fact: FeedFact, state: str, published: int) -> None:
    result = after(RUNNING, fact)
    assert [(each.dataset_id, each.state) for each in result.datasets] == [("dataset", state)]
    assert len(result.notifications) == published


def ids(result: Transition) -> list[str]:
    return [notification.id for notification in result.notifications]


def test_a_read_that_ended_is_recorded_and_published_as_the_dataset_that_was_requested() -> None:
    result = after(RUNNING, a_read(NOON + MINUTE))
    [dataset] = result.datasets
    assert (dataset.dataset_id, dataset.state, dataset.ended_at) == ("dataset", "Complete", NOON + MINUTE)
    assert (dataset.trigger, dataset.records_modified) == (Trigger.PROMISE, True)
    assert ids(result) == ["connection/invoices/2026-11-23T12:01:00.000000Z"]
    assert result.feed.due_at == NOON + MINUTE + PROMISE.fresh_within - MINUTE - 2 * MINUTE


def test_a_success_from_before_the_last_one_is_not_published() -> None:
    feed = after(NEW, requested(NOON), a_read(NOON + MINUTE)).feed
    assert ids(after(feed, found("earlier", NOON - 9 * MINUTE, NOON - 5 * MINUTE))) == []


@pytest.mark.parametrize(("state", "published"), [("Complete", 1), ("FetchError", 0)])
def test_a_call_whose_dataset_has_ended_already_refreshed_the_data_only_if_it_succeeded(
    state: str, published: int
) -> None:
    ended = replace(requested(NOON), state=state, ended_at=NOON + MINUTE)
    assert len(after(NEW, ended, now=NOON + MINUTE).notifications) == published


def test_a_refresh_is_published_with_when_its_read_was_requested() -> None:
    ours = after(RUNNING, a_read(NOON + MINUTE))
    theirs = after(NEW, a_read(NOON + MINUTE))

    [known], [estimated] = ours.notifications, theirs.notifications
    assert known.detail()["asOf"] == "2026-11-23T12:00:00.000000Z"
    assert known.detail()["asOfIsEstimated"] is False
    assert estimated.detail()["asOf"] == "2026-11-23T11:31:00.000000Z"
    assert estimated.detail()["asOfIsEstimated"] is True


def test_a_read_that_a_poll_has_already_found_is_not_published_again() -> None:
    found = after(RUNNING, polled(NOON + 5 * MINUTE, "Complete", succeeded_at=NOON + MINUTE))
    assert ids(found) == ["dataset"]
    assert ids(after(found.feed, a_read(NOON + MINUTE + timedelta(seconds=2)))) == []


def test_a_read_found_only_after_the_next_request_is_published_once() -> None:
    feed = after(RUNNING, a_read(NOON + MINUTE)).feed
    feed = after(feed, requested(NOON + 300 * MINUTE, "next")).feed

    found = after(feed, polled(NOON + 301 * MINUTE, "Queued", "next", succeeded_at=NOON + 200 * MINUTE))
    again = after(found.feed, polled(NOON + 302 * MINUTE, "Queued", "next", succeeded_at=NOON + 200 * MINUTE))

    assert [notification.detail_type for notification in found.notifications] == ["Company data refreshed"]
    assert again.notifications == ()
    assert again.feed.in_flight


def test_an_interrupted_run_may_have_queued_a_feed_of_which_it_recorded_nothing_later() -> None:
    ended = after(after(NEW, requested(NOON - 60 * MINUTE)).feed, a_read(NOON - 59 * MINUTE)).feed
    recorded = after(after(NEW, requested(NOON + 6 * MINUTE)).feed, a_read(NOON + 7 * MINUTE)).feed

    interrupted = after(ended, RunInterrupted(at=NOON)).feed
    assert interrupted.unanswered
    assert (interrupted.unanswered.at, interrupted.unanswered.is_repeatable(NOON)) == (NOON, False)
    assert after(interrupted, RunInterrupted(at=NOON + MINUTE)).feed == interrupted
    assert after(interrupted, requested(NOON, "next")).feed.unanswered is None
    assert after(recorded, RunInterrupted(at=NOON)).feed.unanswered is None


def test_a_refresh_that_was_found_to_run_serves_no_request_from_after_it_was_queued() -> None:
    asked = after(NEW, RefreshRequested(at=NOON, trigger=Trigger.OPERATOR)).feed
    before, since = (replace(requested(NOON), called_at=NOON + minutes * MINUTE) for minutes in (-5, 5))
    assert after(asked, before).feed.refresh_requested_at == NOON
    assert after(asked, since).feed.refresh_requested_at is None


@given(
    place=st.integers(1, 4),
    lag=st.integers(0, 30),
    state=st.sampled_from(["Complete", "FetchError"]),
    takes=st.integers(1, 90),
)
def test_the_webhook_of_a_read_never_ends_the_next_one_wherever_it_arrives(
    place: int, lag: int, state: str, takes: int
) -> None:
    """The first read was polled, and the next requested, before the first one's webhook was generated."""
    next_at = NOON + MINUTE + timedelta(seconds=0.3)
    ended_at = next_at + timedelta(seconds=takes)
    facts: list[FeedFact] = [
        requested(NOON, "first"),
        found("first", NOON, NOON + MINUTE, state),
        requested(next_at, "next"),
        found("next", next_at, ended_at),
    ]
    in_order = after(NEW, *facts, a_read(NOON + MINUTE + timedelta(seconds=lag), state))
    facts.insert(place, a_read(NOON + MINUTE + timedelta(seconds=lag), state))

    feed = NEW
    over = -1 if place < 4 else -2
    for fact in facts[:over]:
        result = after(feed, fact)
        feed = result.feed
        assert "next" not in {dataset.dataset_id for dataset in result.datasets}
        assert feed.as_of is None or feed.as_of.at < next_at
        assert feed.in_flight or not is_known_dataset(feed, "next")
    feed = after(feed, *facts[over:]).feed
    assert (feed.end, feed.succeeded_at, feed.as_of) == (in_order.feed.end, ended_at, in_order.feed.as_of)
    assert feed.as_of
    assert feed.as_of.at == next_at


@given(lag=st.integers(0, 30), order=st.permutations(range(3)))
def test_a_read_of_others_is_as_of_its_request_once_codat_said_when_that_was(lag: int, order: list[int]) -> None:
    """A copy that was requested 21 minutes before it was made does not serve a caller who accepts five minutes."""
    began_at, ended_at = NOON - 21 * MINUTE, NOON
    facts: list[FeedFact] = [
        a_read(ended_at + timedelta(seconds=lag)),
        polled(NOON + MINUTE, "Complete", "theirs", ended_at),
        found("theirs", began_at, ended_at),
    ]
    unknown = after(NEW, *facts[:2]).feed
    known = after(NEW, *(facts[place] for place in order)).feed

    assert not unknown.is_as_of(NOON - timedelta(days=300))
    assert known.as_of
    assert (known.as_of.at, known.as_of.is_estimated) == (began_at, False)
    assert not known.is_as_of(NOON - 5 * MINUTE)


@given(seconds=st.integers(1, 900), state=st.sampled_from(["Complete", "FetchError"]), trigger=st.sampled_from(Trigger))
def test_a_dataset_that_ended_before_its_request_was_recorded_is_matched_when_it_is(
    seconds: int, state: str, trigger: Trigger
) -> None:
    if trigger is Trigger.ON_DEMAND:
        seconds += 30
    request, end = requested(NOON, trigger=trigger), a_read(NOON + timedelta(seconds=seconds), state)
    overtaken, in_order = after(NEW, end, request), after(NEW, request, end)

    # In which state the dataset was last seen to run means nothing once it has ended.
    assert overtaken.feed == replace(in_order.feed, running_state="")
    assert overtaken.datasets == in_order.datasets
    assert len(overtaken.datasets) == 1
    assert ids(overtaken) == ids(in_order)
    assert after(overtaken.feed, request).datasets == ()


def test_a_second_form_of_a_webhook_does_not_end_a_read_that_was_requested_after_the_first() -> None:
    ended = after(NEW, requested(NOON, "first"), a_read(NOON + MINUTE)).feed
    running = after(ended, requested(NOON + MINUTE + timedelta(seconds=2), "next")).feed

    again = after(running, a_read(NOON + MINUTE + timedelta(seconds=20)))
    later = after(again.feed, a_read(NOON + 2 * MINUTE))

    assert again.feed.in_flight
    assert (again.datasets, again.notifications) == ((), ())
    assert [dataset.dataset_id for dataset in later.datasets] == ["next"]


def test_a_read_for_callers_ends_by_no_webhook_that_may_be_about_a_read_of_others_just_before() -> None:
    running = after(NEW, requested(NOON, trigger=Trigger.ON_DEMAND)).feed
    doubtful = after(running, a_read(NOON + timedelta(seconds=30)))
    named = after(running, a_read(NOON + timedelta(seconds=30), dataset_id="dataset"))
    certain = after(running, a_read(NOON + timedelta(seconds=31)))
    assert (doubtful.feed, doubtful.datasets, doubtful.notifications) == (running, (), ())
    assert named.feed.in_flight is certain.feed.in_flight is None


def test_a_webhook_that_names_its_dataset_ends_that_one_only() -> None:
    first = after(NEW, requested(NOON, "first"), found("first", NOON, NOON + MINUTE)).feed
    running = after(first, requested(NOON + MINUTE + timedelta(seconds=1), "next")).feed
    at = NOON + MINUTE + timedelta(seconds=20)

    assert after(running, a_read(at, dataset_id="first")).feed.in_flight
    assert after(running, a_read(at, "FetchError", dataset_id="first")).feed.in_flight
    ended = after(running, a_read(at, dataset_id="next"))
    assert [(each.dataset_id, each.ended_at) for each in ended.datasets] == [("next", at)]


def test_the_end_of_a_rule_ends_only_the_dataset_that_it_names() -> None:
    feed = RUNNING
    assert after(feed, ended_by_rule("other")).feed == feed
    ended = after(feed, ended_by_rule("dataset"), now=NOON + MINUTE)
    assert [dataset.dataset_id for dataset in ended.datasets] == ["dataset"]
    assert ids(ended) == ["connection/invoices/2026-11-23T12:00:00.000000Z"]


def test_a_broken_promise_is_published_once_by_a_review_and_again_when_it_is_kept() -> None:
    feed = after(NEW, a_read(NOON)).feed
    broken_at = NOON + PROMISE.fresh_within

    early = after(feed, PromiseReviewed(), now=broken_at - MINUTE)
    broken = after(early.feed, PromiseReviewed(), now=broken_at)
    again = after(broken.feed, PromiseReviewed(), now=broken_at + MINUTE)
    kept = after(again.feed, a_read(broken_at + MINUTE), now=broken_at + 2 * MINUTE)

    assert (early.notifications, again.notifications) == ((), ())
    assert [notification.detail_type for notification in broken.notifications] == ["Promise broken"]
    assert [n.detail_type for n in kept.notifications] == ["Company data refreshed", "Promise kept again"]


def test_it_is_unknown_whether_a_promise_broke_until_codat_says_that_the_dataset_in_flight_still_runs() -> None:
    broken_at = NOON + PROMISE.fresh_within
    feed = after(after(NEW, a_read(NOON)).feed, requested(broken_at - MINUTE)).feed
    assert feed.late_at
    late = max(feed.late_at, broken_at) + MINUTE

    unknown = after(feed, PromiseReviewed(), now=late)
    asked = after(unknown.feed, polled(late, "Fetching"), now=late).feed
    broken = after(asked, PromiseReviewed(), now=late)
    ended = after(unknown.feed, found("dataset", broken_at - MINUTE, broken_at - timedelta(seconds=5)), now=late).feed

    assert (unknown.notifications, unknown.feed.broken_at) == ((), None)
    assert unknown.feed.due_at
    assert unknown.feed.due_at <= late
    assert [notification.detail_type for notification in broken.notifications] == ["Promise broken"]
    assert broken.feed.broken_at == broken_at
    assert after(ended, PromiseReviewed(), now=late).notifications == ()


def test_a_promise_counts_as_broken_if_codat_does_not_say_for_long_how_a_dataset_ended() -> None:
    broken_at = NOON + PROMISE.fresh_within
    feed = after(after(NEW, a_read(NOON)).feed, requested(broken_at - MINUTE)).feed
    early = after(feed, PromiseReviewed(), now=broken_at + timedelta(hours=5, minutes=59))
    late = after(feed, PromiseReviewed(), now=broken_at + timedelta(hours=6, minutes=1))
    assert early.notifications == ()
    assert [notification.detail_type for notification in late.notifications] == ["Promise broken"]


def test_a_deferral_counts_only_for_the_feed_that_it_was_decided_about() -> None:
    feed = replace(after(NEW, a_read(NOON)).feed, version=7)
    later, decided = NOON + timedelta(days=1), Decided(at=NOON, reason="paused")
    assert after(feed, Deferred(until=later, decided=decided, version=7)).feed.due_at == later
    assert after(feed, Deferred(until=later, decided=decided, version=6)).feed.due_at == feed.due_at


def test_a_failed_call_keeps_what_was_requested_and_delays_it_more_each_time() -> None:
    wanted = after(after(NEW, a_read(NOON)).feed, RefreshRequested(at=NOON, trigger=Trigger.OPERATOR)).feed
    failed = QueueingFailed(at=NOON, longest=timedelta(hours=6))

    once = after(wanted, failed).feed
    twice = after(once, failed).feed

    assert once.refresh_requested_at == twice.refresh_requested_at == NOON
    assert once.due_at
    assert twice.due_at
    assert NOON < once.due_at < twice.due_at
    assert after(twice, requested(NOON + MINUTE)).feed.failed_calls == 0


def test_an_unsupported_data_type_is_never_due() -> None:
    feed = after(NEW, DataTypeUnsupported(at=NOON)).feed
    assert (feed.state(PROMISE, LINKED, NOON), feed.due_at) == (State.UNSUPPORTED, None)


def test_a_feed_whose_connection_is_not_known_is_not_due_and_loses_no_fact() -> None:
    result = transition(NEW, a_read(NOON), None, None, NOON)
    assert result.feed.due_at is None
    assert result.feed.succeeded_at == NOON
    assert [notification.detail_type for notification in result.notifications] == ["Company data refreshed"]


def test_what_is_wanted_makes_a_feed_due_until_a_read_that_was_requested_since_succeeds() -> None:
    want = DataWanted(wanted=Wanted(not_before=NOON, deadline=NOON + 10 * MINUTE))
    earlier = after(NEW, requested(NOON - MINUTE), want).feed
    between = after(earlier, a_read(NOON + MINUTE)).feed
    failed = after(between, requested(NOON + MINUTE, "next"), a_read(NOON + 2 * MINUTE, "FetchError")).feed
    served = after(between, requested(NOON + MINUTE, "next"), a_read(NOON + 2 * MINUTE)).feed

    assert between.due_at == REQUESTED_DUE
    assert failed.wanted
    assert failed.due_at
    assert failed.due_at > NOON
    assert served.wanted is None
    assert served.due_at
    assert served.due_at > NOON


ID = st.sampled_from(["", "first", "second", "third"])
WHEN = st.integers(0, 90).map(lambda minutes: NOON + minutes * MINUTE)
ANY_FACT = st.one_of(
    st.builds(requested, WHEN, ID, st.sampled_from(Trigger)),
    st.builds(lambda fact, at: replace(fact, state="Complete", ended_at=at), st.builds(requested, WHEN, ID), WHEN),
    st.builds(a_read, WHEN, st.sampled_from(["Complete", "FetchError"]), dataset_id=ID),
    st.builds(polled, WHEN, st.sampled_from(["Queued", "FetchError", "Cancelled"]), ID),
    st.builds(polled, WHEN, st.just("Complete"), ID, WHEN),
    st.builds(found, ID, WHEN, WHEN),
    st.builds(DataTypeUnsupported, at=WHEN),
    st.builds(ended_by_rule, ID),
)


@given(facts=st.lists(ANY_FACT, max_size=12))
def test_whatever_is_recorded_to_run_is_in_flight_in_its_feed_or_is_recorded_as_ended(facts: list[FeedFact]) -> None:
    feed, running = NEW, set[str]()
    for fact in facts:
        result = after(feed, fact)
        feed = result.feed
        running |= {result.running.dataset_id} if result.running else set()
        running -= {dataset.dataset_id for dataset in result.datasets}
        assert running <= {feed.in_flight.dataset_id if feed.in_flight else ""}


def test_a_dataset_in_flight_is_recorded_when_its_id_is_known_and_again_when_it_is_seen_to_run() -> None:
    queued = after(NEW, requested(NOON))
    seen = after(queued.feed, polled(NOON + MINUTE, "Fetching"))

    assert queued.running and queued.running.ended_at is None
    assert (queued.running.dataset_id, queued.running.state) == ("dataset", "Queued")
    assert seen.running and seen.running.state == "Fetching"
    assert after(queued.feed, PromiseReviewed()).running is None
    assert after(NEW, requested(NOON, "")).running is None
    assert after(NEW, requested(NOON), a_read(NOON + MINUTE)).running is None
