"""A batch of webhooks: how many calls of AWS it takes, what there is no time for, and what one failure leaves alone."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, cast

import pytest
from botocore.exceptions import EndpointConnectionError

from estimate.memory_dynamodb import MemoryDynamoDB, tables_in_memory
from freshness.app.services import Services
from freshness.app.webhooks import Message, apply_batch, reason_of
from freshness.aws.dynamodb import item_codec
from freshness.aws.event_bus import EventBus
from freshness.aws.metrics import Metric
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.facts import DatasetRequested
from freshness.domain.feeds.feed import Feed
from tests import webhook_bodies as bodies
from tests.builders import MINUTE, NOON, a_connection, a_policy

POLICY = a_policy("6 hours")
TYPES = [f"type{number}" for number in range(10)]
LAST = 20
LONG = timedelta(hours=1)


class World:
    """Companies with one connection each, of which all data types are being read; and what is published."""

    def __init__(self, companies: int) -> None:
        self.dynamodb, self.now = MemoryDynamoDB(), NOON + 2 * MINUTE
        self.published: list[int] = []
        """How many events each PutEvents had."""
        self.emitted: Counter[Metric] = Counter()
        self.dead: dict[str, str] = {}
        self.before_call: Callable[[], None] = lambda: None
        self.company_ids = [f"company{number}" for number in range(companies)]
        services = self.services()
        for company_id in self.company_ids:
            connection = a_connection(
                f"connection-{company_id}", NOON - timedelta(days=30), first_read_at=NOON - timedelta(days=29)
            )
            company = Company(
                company_id=company_id,
                connections={connection.connection_id: connection},
                check_at=NOON + timedelta(days=1),
            )
            services.tables.companies.put(company)
            for data_type in TYPES:
                feed = Feed(company_id=company_id, data_type=data_type, connection_id=connection.connection_id)
                fact = DatasetRequested(
                    at=NOON, trigger=Trigger.PROMISE, dataset_id=f"{company_id}-{data_type}", state="Queued"
                )
                services.recorder.record_feed(feed, company, fact)
        self.dynamodb.calls.clear()
        self.published.clear()

    def services(self) -> Services:
        """Return the services of one invocation."""
        dynamodb: Any = self.dynamodb.sharing(lambda: self.before_call())
        return Services(
            tables=tables_in_memory(dynamodb),
            bus=EventBus(cast(Any, self), "bus"),
            policy=POLICY,
            clock=lambda: self.now,
            emit=self._emit,
        )

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, int]:  # noqa: N803 - boto3's name
        """Publish events."""
        self.before_call()
        self.published.append(len(Entries))
        return {"FailedEntryCount": 0}

    def _emit(self, counts: Mapping[Metric, int]) -> None:
        self.emitted.update(counts)

    def read(self, company_id: str, deliveries: int = 1) -> Message:
        """Return the webhook for the end of the reads of all data types of a company."""
        reads = [(f"connection-{company_id}", data_type, "Complete") for data_type in TYPES]
        return message(bodies.read_completed(NOON + MINUTE, *reads, company_id=company_id), company_id, deliveries)

    def apply(self, *messages: Message, within: timedelta = LONG) -> set[str]:
        """Apply a batch, and return the ids of what is to be delivered again."""

        def move(message: Message, error: Exception) -> bool:
            self.dead[message.id] = reason_of(error)
            return True

        returned = apply_batch(
            self.services(), messages, until=self.now + within, most_deliveries=LAST, move_to_dead_letters=move
        )
        return {each.id for each in returned}

    def is_applied(self, company_id: str) -> bool:
        """Return whether the end of all reads of a company is recorded, with their datasets."""
        tables = self.services().tables
        feeds = tables.feeds.of_company(company_id)
        return all(feed.succeeded_at for feed in feeds) and len(tables.datasets.of_company(company_id)) == len(TYPES)


def message(body: str, message_id: str, deliveries: int = 1) -> Message:
    """Return a message of the queue."""
    return Message(id=message_id, webhook_id=message_id, body=body, received_at=None, deliveries=deliveries)


def test_a_full_batch_takes_one_call_for_each_feed_and_four_for_each_webhook() -> None:
    world = World(25)

    assert world.apply(*map(world.read, world.company_ids)) == set()

    assert all(map(world.is_applied, world.company_ids))
    calls = world.dynamodb.calls
    del calls["Query"]  # Made by this test.
    feeds = 25 * len(TYPES)
    assert calls == {"PutItem": feeds, "BatchGetItem": 1 + 25, "GetItem": 25, "BatchExecuteStatement": 25}
    assert world.published == [10] * 25
    assert calls.total() + len(world.published) <= 400
    assert world.emitted[Metric.READS_COMPLETED] == feeds


def test_a_repeated_batch_writes_nothing_and_publishes_nothing() -> None:
    world = World(2)
    world.apply(*map(world.read, world.company_ids))
    writes, published = world.dynamodb.writes.copy(), list(world.published)

    assert world.apply(*map(world.read, world.company_ids)) == set()

    assert world.dynamodb.writes == writes
    assert world.published == published


def test_what_there_is_no_time_for_is_delivered_again_and_the_rest_is_counted() -> None:
    world = World(3)
    calls = 0

    def take_a_second() -> None:
        nonlocal calls
        calls += 1
        world.now += timedelta(seconds=1)

    world.before_call = take_a_second

    # Ten feeds take ten calls, and the webhook four more.
    left = world.apply(*map(world.read, world.company_ids), within=timedelta(seconds=20))

    assert left == {"company2"}
    assert [world.is_applied(each) for each in world.company_ids] == [True, True, False]
    assert world.emitted[Metric.READS_COMPLETED] == 2 * len(TYPES)
    assert world.emitted[Metric.WEBHOOKS_LEFT_OVER] == 1


def test_what_was_delivered_most_often_has_its_turn_first() -> None:
    world = World(2)
    world.before_call = lambda: setattr(world, "now", world.now + timedelta(seconds=1))

    left = world.apply(world.read("company0"), world.read("company1", deliveries=2), within=timedelta(seconds=5))

    assert left == {"company0"}
    assert world.is_applied("company1")


def test_a_webhook_that_fails_is_delivered_again_alone_and_at_last_becomes_a_dead_letter() -> None:
    world = World(2)
    [broken] = [item for item in world.dynamodb.tables["feeds"].partitions["company0"].values() if _is(item, "type3")]
    broken["attempts"] = {"S": "of another version"}

    assert world.apply(world.read("company0"), world.read("company1")) == {"company0"}
    assert world.is_applied("company1")
    assert world.dead == {}

    assert world.apply(world.read("company0", deliveries=LAST)) == set()
    assert "ValidationError" in world.dead["company0"]


def test_a_malformed_webhook_becomes_a_dead_letter_at_once() -> None:
    world = World(1)

    assert world.apply(message("{}", "malformed"), world.read("company0")) == set()

    assert set(world.dead) == {"malformed"}
    assert world.is_applied("company0")


def test_a_company_that_cannot_be_read_does_not_keep_the_others_from_being_applied() -> None:
    world = World(2)
    [company] = world.dynamodb.tables["companies"].partitions["company0"].values()
    company["failed_checks"] = {"S": "of another version"}

    assert world.apply(world.read("company0"), world.read("company1")) == {"company0"}
    assert world.is_applied("company1")


def test_what_was_counted_is_written_even_if_everything_after_it_fails() -> None:
    world = World(2)
    calls = 0

    def go_down() -> None:
        nonlocal calls
        calls += 1
        if calls > 15:
            raise EndpointConnectionError(endpoint_url="http://aws")

    world.before_call = go_down

    assert world.apply(*map(world.read, world.company_ids)) == {"company1"}
    assert world.emitted[Metric.READS_COMPLETED] >= len(TYPES)


def test_a_read_that_a_webhook_lists_twice_passes_one_transition() -> None:
    world = World(1)
    read = ("connection-company0", "type0", "Complete")
    body = bodies.read_completed(NOON + MINUTE, read, read, company_id="company0")

    assert world.apply(message(body, "twice")) == set()

    assert world.published == [1]
    assert world.dynamodb.calls["PutItem"] == 1


@pytest.mark.parametrize("types", [1, 10])
def test_the_events_of_a_webhook_are_published_before_any_feed_is_written(types: int) -> None:
    world = World(1)
    before = world.dynamodb.writes.copy()
    reads = [("connection-company0", data_type, "Complete") for data_type in TYPES[:types]]
    seen: list[int] = []

    def note() -> None:
        if not world.published:
            seen.append(world.dynamodb.writes.total() - before.total())

    world.before_call = note
    world.apply(message(bodies.read_completed(NOON + MINUTE, *reads, company_id="company0"), "m"))

    assert set(seen) == {0}
    assert world.published == [types]


def _is(item: dict[str, Any], data_type: str) -> bool:
    return bool(json.dumps(item).count(f'"{data_type}#'))


def test_the_history_of_a_feed_is_decoded_once_for_a_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    world.apply(world.read("company0"))
    decoded: list[bytes] = []
    stored = item_codec._SYNC

    class Counting:
        size = stored.size

        def iter_unpack(self, packed: bytes) -> Iterator[tuple[Any, ...]]:
            decoded.append(packed)
            return stored.iter_unpack(packed)

    monkeypatch.setattr(item_codec, "_SYNC", Counting())
    reads = [("connection-company0", data_type, "Complete") for data_type in TYPES]
    world.apply(message(bodies.read_completed(NOON + 2 * MINUTE, *reads, company_id="company0"), "next"))

    assert len(decoded) == len(TYPES)
