"""Feeds, companies, datasets and leases over the real DynamoDB protocol."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from freshness.aws.store import SHARDS, Store
from freshness.domain.company import Company, Connection
from freshness.domain.dataset import Dataset, Trigger
from freshness.domain.feed import End, Feed, Request
from freshness.domain.sync_history import KEPT, Sync, SyncHistory

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ROW = Feed(company_id="company", data_type="invoices", connection_id="connection")


def test_what_is_written_is_read_back_the_same(store: Store) -> None:
    syncs = SyncHistory.of(
        Sync(
            ended_at=NOON + timedelta(minutes=n), records_modified=n % 3 == 0, took=timedelta(seconds=n) if n else None
        )
        for n in range(KEPT)
    )
    feed = replace(
        ROW,
        request=Request(at=NOON, trigger=Trigger.PROMISE, dataset_id="dataset"),
        end=End(at=NOON, state="SomethingNew"),
        succeeded_at=NOON,
        attempts=3,
        syncs=syncs,
        due_at=NOON,
    )

    written = store.change_feed(ROW, lambda _: feed)

    assert store.feed("company", "invoices", "connection") == written == replace(feed, version=1)


def test_a_company_with_its_connections_is_read_back_the_same(store: Store) -> None:
    connection = Connection(
        connection_id="c",
        platform="Xero",
        source_type="Accounting",
        status="Linked",
        status_at=NOON,
        link_url="https://x",
    )
    company = Company(company_id="company", name="Ærø & sons", tags={"region": "uk"}, connections={"c": connection})

    written = store.change_company(Company(company_id="company"), lambda _: company)

    assert store.company("company") == written
    assert store.companies(["company", "unknown", "company"]) == {"company": written}


def test_a_change_that_changes_nothing_is_not_written(store: Store) -> None:
    feed = store.change_feed(ROW, lambda feed: replace(feed, attempts=1))

    assert store.change_feed(feed, lambda feed: replace(feed, attempts=1)).version == 1


def test_a_change_to_what_was_read_too_early_is_worked_out_again(store: Store) -> None:
    early = store.change_feed(ROW, lambda feed: replace(feed, attempts=1))
    store.change_feed(early, lambda feed: replace(feed, attempts=feed.attempts + 1))

    assert store.change_feed(early, lambda feed: replace(feed, attempts=feed.attempts + 1)).attempts == 3


def test_no_change_is_lost_when_many_are_made_at_once(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(
            lambda _: store.change_feed(ROW, lambda feed: replace(feed, attempts=feed.attempts + 1)), range(4)
        ):
            pass

    assert store.feed("company", "invoices", "connection").attempts == 4


def test_a_feed_that_was_deleted_meanwhile_does_not_come_back(store: Store) -> None:
    feed = store.change_feed(ROW, lambda feed: replace(feed, attempts=1))
    store.delete_feed(feed)

    store.change_feed(feed, lambda feed: replace(feed, attempts=2))

    assert store.feeds("company") == []


def test_feeds_due_are_found_and_others_are_not(store: Store) -> None:
    for company_id, due_at in [("past", NOON), ("later", NOON + timedelta(microseconds=1)), ("never", None)]:
        store.change_feed(replace(ROW, company_id=company_id), partial(replace, due_at=due_at))

    assert [feed.company_id for feed in store.feeds_due(NOON, limit=10)] == ["past"]


def test_the_feeds_longest_due_are_found_first_whichever_shard_they_are_in(store: Store) -> None:
    for number in range(40):
        due_at = NOON - timedelta(minutes=number % 20)
        store.change_feed(replace(ROW, company_id=f"company {number}"), partial(replace, due_at=due_at))

    due = [feed.due_at for feed in store.feeds_due(NOON, limit=10)]
    by_shard = [feed.company_id for shard in SHARDS for feed in store.feeds_due(NOON, limit=40, shards=(shard,))]

    assert due == sorted(NOON - timedelta(minutes=15 + number // 2) for number in range(10))
    assert sorted(by_shard) == sorted(feed.company_id for feed in store.feeds_due(NOON, limit=40))


def test_companies_due_for_a_check_are_found_and_others_are_not(store: Store) -> None:
    for company_id, check_at in [("past", NOON - timedelta(seconds=1)), ("later", NOON + timedelta(days=1))]:
        store.change_company(Company(company_id=company_id), partial(replace, check_at=check_at))

    assert list(store.companies_due_for_check(NOON)) == ["past"]


def test_what_is_learned_of_a_dataset_adds_up(store: Store) -> None:
    dataset = Dataset(
        company_id="company",
        dataset_id="dataset",
        data_type="invoices",
        connection_id="connection",
        trigger=Trigger.PROMISE,
        requested_at=NOON,
        states={"Queued": NOON},
    )
    store.merge_dataset(dataset)
    store.merge_dataset(replace(dataset, states={"Complete": NOON}, ended_at=NOON, records_modified=True))

    (kept,) = store.datasets("company")
    assert kept.states == {"Queued": NOON, "Complete": NOON}
    assert kept.records_modified


def test_a_lease_has_one_holder_until_it_is_released_or_its_time_is_up(store: Store) -> None:
    until = NOON + timedelta(minutes=5)

    assert store.acquire("tick", "first", until, NOON)
    assert not store.acquire("tick", "second", until, NOON)
    store.release("tick", "second")
    assert not store.acquire("tick", "second", until, NOON)
    store.release("tick", "first")
    assert store.acquire("tick", "second", until, NOON)
    assert store.acquire("tick", "third", until, until + timedelta(seconds=1))
