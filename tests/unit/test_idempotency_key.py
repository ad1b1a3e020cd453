"""The idempotency key of the call that queues a refresh: the same until its response is recorded, then another."""

from datetime import timedelta, timezone
from uuid import UUID

from freshness.app.queueing.calls import idempotency_key
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End, Request, Unanswered
from tests.builders import HOUR, MINUTE, NOON

FEED = Feed(company_id="company", data_type="invoices", connection_id="connection").requested(
    Request(at=NOON - HOUR, trigger=Trigger.PROMISE, dataset_id="before")
)


def key(feed: Feed) -> UUID:
    return idempotency_key(feed)


def test_the_same_decision_has_the_same_key_wherever_its_times_came_from() -> None:
    berlin = timezone(timedelta(hours=1))
    read_back = Feed(company_id="company", data_type="invoices", connection_id="connection").requested(
        Request(at=(NOON - HOUR).astimezone(berlin), trigger=Trigger.PROMISE, dataset_id="before")
    )

    assert key(read_back) == key(FEED)


def test_another_feed_has_another_key() -> None:
    other = Feed(company_id="company", data_type="bills", connection_id="connection", last_dataset=FEED.last_dataset)

    assert key(other) != key(FEED)


def test_each_recorded_response_changes_the_key() -> None:
    queued = FEED.requested(Request(at=NOON, trigger=Trigger.PROMISE, dataset_id="dataset"))
    refused = FEED.call_failed(NOON, HOUR)

    assert len({key(FEED), key(queued), key(refused), key(refused.call_failed(NOON, HOUR))}) == 4


def test_a_call_without_a_response_is_repeated_with_its_key_until_one_is_recorded() -> None:
    first = key(FEED)
    unanswered = FEED.call_failed(NOON, HOUR, Unanswered(at=NOON, key=str(first)))
    assert key(unanswered) == first
    again = unanswered.call_failed(NOON + MINUTE, HOUR, unanswered.unanswered)
    assert key(again) == first

    assert key(again.call_failed(NOON + 2 * MINUTE, HOUR)) != first
    queued = again.requested(Request(at=NOON, trigger=Trigger.PROMISE, dataset_id="dataset"))
    assert queued.unanswered is None
    assert key(queued) != first


def test_a_read_that_ended_after_an_unanswered_call_makes_the_next_call_another_one() -> None:
    first = key(FEED)
    unanswered = FEED.call_failed(NOON, HOUR, Unanswered(at=NOON, key=str(first)))

    assert key(unanswered.ended(End(at=NOON - MINUTE, state="FetchError"))) == first
    assert key(unanswered.ended(End(at=NOON + MINUTE, state="FetchError"))) != first
