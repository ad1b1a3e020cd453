"""Feeds, companies, datasets and leases over the real DynamoDB protocol."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from freshness.aws.dynamodb.item_codec import DELETED_FEEDS_KEPT
from freshness.aws.dynamodb.tables import Tables
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import Dataset, Trigger
from freshness.domain.datasets.sync_history import KEPT, Sync, SyncHistory
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End, Request
from tests.builders import SECOND, a_connection

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
FEED = Feed(company_id="company", data_type="invoices", connection_id="connection")


@pytest.fixture
def tables(stored_tables: Tables) -> Tables:
    return stored_tables


def test_what_is_written_is_read_back_the_same(tables: Tables) -> None:
    history = SyncHistory.of(
        Sync(
            ended_at=NOON + timedelta(minutes=n), records_modified=n % 3 == 0, took=timedelta(seconds=n) if n else None
        )
        for n in range(KEPT)
    )
    feed = replace(
        FEED,
        last_dataset=Request(at=NOON, trigger=Trigger.PROMISE, dataset_id="dataset"),
        end=End(at=NOON, state="SomethingNew"),
        succeeded_at=NOON,
        attempts=3,
        history=history,
        due_at=NOON,
    )

    written = tables.feeds.update(FEED, lambda _: feed)

    assert tables.feeds.get("company", "invoices", "connection") == written == replace(feed, version=1)


def test_a_company_with_its_connections_is_read_back_the_same(tables: Tables) -> None:
    connection = a_connection("c", NOON, link_url="https://x")
    company = Company(company_id="company", name="Ærø & sons", tags={"region": "uk"}, connections={"c": connection})

    written = tables.companies.update(Company(company_id="company"), lambda _: company)

    assert tables.companies.get("company") == written
    assert tables.companies.get_many(["company", "unknown", "company"]) == {"company": written}


def test_a_change_that_changes_nothing_is_not_written(tables: Tables) -> None:
    feed = tables.feeds.update(FEED, lambda feed: replace(feed, attempts=1))

    assert tables.feeds.update(feed, lambda feed: replace(feed, attempts=1)).version == 1


def test_a_change_to_an_outdated_value_is_computed_again(tables: Tables) -> None:
    early = tables.feeds.update(FEED, lambda feed: replace(feed, attempts=1))
    tables.feeds.update(early, lambda feed: replace(feed, attempts=feed.attempts + 1))

    assert tables.feeds.update(early, lambda feed: replace(feed, attempts=feed.attempts + 1)).attempts == 3


def test_no_change_is_lost_when_many_are_made_at_once(tables: Tables) -> None:
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(
            lambda _: tables.feeds.update(FEED, lambda feed: replace(feed, attempts=feed.attempts + 1)), range(4)
        ):
            pass

    assert tables.feeds.get("company", "invoices", "connection").attempts == 4


def test_a_feed_that_was_deleted_in_the_meantime_stays_deleted(tables: Tables) -> None:
    feed = tables.feeds.update(FEED, lambda feed: replace(feed, attempts=1))
    tables.feeds.delete(feed, NOON)

    tables.feeds.update(feed, lambda feed: replace(feed, attempts=2))

    assert tables.feeds.of_company("company") == []


def test_the_history_of_a_deleted_feed_is_kept_for_two_weeks_and_nothing_else_shows_it(tables: Tables) -> None:
    feed = tables.feeds.update(FEED, partial(replace, succeeded_at=NOON, due_at=NOON, broken_at=NOON))
    tables.feeds.delete(feed, NOON)

    kept = tables.feeds.deleted([FEED], NOON + DELETED_FEEDS_KEPT - timedelta(seconds=1)).get(FEED.key)

    assert kept == replace(FEED, succeeded_at=NOON)
    assert not tables.feeds.deleted([FEED], NOON + DELETED_FEEDS_KEPT)
    assert (tables.feeds.of_company("company"), list(tables.feeds.scan())) == ([], [])
    assert tables.feeds.broken() == ([], True)
    assert list(tables.feeds.due(NOON, 10)) == []


def test_feeds_due_are_found_and_others_are_not(tables: Tables) -> None:
    for company_id, due_at in [("past", NOON), ("later", NOON + timedelta(microseconds=1)), ("never", None)]:
        tables.feeds.update(replace(FEED, company_id=company_id), partial(replace, due_at=due_at))

    assert [feed.company_id for feed in next(tables.feeds.due(NOON, 10), [])] == ["past"]


def test_the_feeds_longest_due_are_found_first_whichever_shard_they_are_in(tables: Tables) -> None:
    for number in range(40):
        due_at = NOON - timedelta(minutes=number % 20)
        tables.feeds.update(replace(FEED, company_id=f"company {number}"), partial(replace, due_at=due_at))

    due = [feed.due_at for feed in next(tables.feeds.due(NOON, 10), [])]

    assert due == sorted(NOON - timedelta(minutes=15 + number // 2) for number in range(10))
    assert len(next(tables.feeds.due(NOON, 50), [])) == 40


def test_companies_due_for_a_check_are_found_and_others_are_not(tables: Tables) -> None:
    for company_id, check_at in [("past", NOON - timedelta(seconds=1)), ("later", NOON + timedelta(days=1))]:
        tables.companies.update(Company(company_id=company_id), partial(replace, check_at=check_at))

    assert list(tables.companies.due_for_check(NOON)) == ["past"]


RUNNING = Dataset(
    company_id="company",
    dataset_id="dataset",
    data_type="invoices",
    connection_id="connection",
    trigger=Trigger.PROMISE,
    requested_at=NOON,
    state="Queued",
)


def test_a_dataset_is_recorded_while_it_runs_and_its_end_whatever_is_recorded_first(tables: Tables) -> None:
    ended = replace(RUNNING, state="Complete", ended_at=NOON + SECOND, records_modified=True)
    tables.datasets.start([RUNNING])
    assert tables.datasets.find("dataset", ["other", "company"]) == replace(RUNNING, version=1)

    tables.datasets.end([ended, replace(ended, dataset_id="unknown")])
    tables.datasets.start([RUNNING, replace(RUNNING, dataset_id="unknown")])

    assert tables.datasets.find("dataset", ["company"]) == replace(ended, version=2)
    assert tables.datasets.find("unknown", ["company"]) == replace(ended, dataset_id="unknown", version=1)
    assert tables.datasets.find("dataset", ["other"]) is None


def test_records_of_one_dataset_are_merged(tables: Tables) -> None:
    dataset = replace(RUNNING, state="Complete", ended_at=NOON + SECOND, records_modified=True)
    tables.datasets.end([replace(dataset, trigger=Trigger.EXTERNAL, ended_at=NOON + 9 * SECOND, records_modified=None)])
    tables.datasets.end([dataset])

    (kept,) = tables.datasets.of_company("company")
    assert kept == replace(dataset, version=2)


def test_a_lease_has_one_holder_until_it_is_released_or_its_time_is_up(tables: Tables) -> None:
    until = NOON + timedelta(minutes=5)

    assert tables.control.acquire("tick", "first", until, NOON)
    assert not tables.control.acquire("tick", "second", until, NOON)
    tables.control.release("tick", "second")
    assert not tables.control.acquire("tick", "second", until, NOON)
    tables.control.release("tick", "first")
    assert tables.control.acquire("tick", "second", until, NOON)
    assert tables.control.acquire("tick", "third", until, until + timedelta(seconds=1))
