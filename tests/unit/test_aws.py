"""How tables read and write, on a DynamoDB that answers as a test says; clients, and counts."""

import re
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError

from estimate.memory_dynamodb import MemoryDynamoDB
from freshness.aws import clients
from freshness.aws.dynamodb.feeds import Feeds
from freshness.aws.dynamodb.table import BATCH, BATCH_TRIES, RACES, ContentionError, Table, VersionConflict, marshal
from freshness.aws.metrics import Counts, Metric
from freshness.domain.feeds.feed import Feed
from tests.builders import MINUTE
from tests.builders import NEW as FEED

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
KEY = {"name": "a"}
UNPROCESSED = {"table": {"Keys": [marshal(KEY)]}}


def in_memory(name: str = "control") -> tuple[Table, MemoryDynamoDB]:
    """Return a table in memory, which does not wait before it tries again, and what counts its calls."""
    dynamodb = MemoryDynamoDB()
    return Table(cast(Any, dynamodb), name, lambda _: None), dynamodb


def once_more(feed: Feed) -> Feed:
    return replace(feed, attempts=feed.attempts + 1)


def test_items_that_a_batch_left_out_are_read_after_longer_and_longer_pauses() -> None:
    dynamodb, pauses = Mock(), list[float]()
    left_out = {"Responses": {}, "UnprocessedKeys": UNPROCESSED}
    read = {"Responses": {"table": [marshal(KEY)]}, "UnprocessedKeys": {}}
    dynamodb.batch_get_item.side_effect = [left_out] * 4 + [read]

    assert list(Table(dynamodb, "table", pauses.append).get_many([KEY])) == [KEY]

    assert len(pauses) == 4
    assert all(pauses)
    assert pauses[-1] > pauses[0]


def test_a_batch_that_is_never_read_in_full_is_given_up() -> None:
    dynamodb = Mock()
    dynamodb.batch_get_item.return_value = {"Responses": {}, "UnprocessedKeys": UNPROCESSED}
    with pytest.raises(ContentionError):
        list(Table(dynamodb, "table", lambda _: None).get_many([KEY]))
    assert dynamodb.batch_get_item.call_count == BATCH_TRIES


def test_items_that_an_index_lists_twice_are_read_once() -> None:
    table, dynamodb = in_memory()
    keys = [{"name": str(number)} for number in range(BATCH + 1)]
    for key in keys:
        table.put_always(key)

    found = list(table.get_many([*keys, *keys]))

    assert sorted(found, key=str) == sorted(keys, key=str)
    assert dynamodb.calls["BatchGetItem"] == 2


def test_new_items_are_written_together_and_those_that_exist_are_left_as_they_are() -> None:
    table, dynamodb = in_memory()
    table.put_always({"name": "3", "value": "known"})

    refusals = table.put_new([{"name": str(number), "value": "new"} for number in range(30)])

    assert [number for number, refusal in enumerate(refusals) if refusal] == [3]
    assert table.get({"name": "3"}) == {"name": "3", "value": "known"}
    assert table.get({"name": "29"}) == {"name": "29", "value": "new"}
    assert table.put_new([]) == []
    assert dynamodb.calls["BatchExecuteStatement"] == 2


def test_reads_are_consistent_only_where_they_must_be() -> None:
    dynamodb = Mock()
    dynamodb.get_item.return_value = {}
    dynamodb.batch_get_item.return_value = {"Responses": {"table": []}, "UnprocessedKeys": {}}
    table = Table(dynamodb, "table")

    def is_batch_consistent() -> bool:
        return bool(dynamodb.batch_get_item.call_args.kwargs["RequestItems"]["table"]["ConsistentRead"])

    table.get_together({"table": [KEY]})
    assert not is_batch_consistent()
    list(table.get_many([KEY]))
    assert not is_batch_consistent()
    for consistent in (True, False):
        table.get(KEY, consistent=consistent)
        list(table.get_many([KEY], consistent=consistent))
        assert dynamodb.get_item.call_args.kwargs["ConsistentRead"] is is_batch_consistent() is consistent


def test_an_item_is_written_or_deleted_only_as_it_was_read() -> None:
    table, _ = in_memory()
    table.put(KEY | {"version": 1}, 0)
    with pytest.raises(VersionConflict) as conflict:
        table.put(KEY | {"version": 1}, 0)
    assert conflict.value.current == KEY | {"version": 1}

    table.put(KEY | {"version": 2}, 1)
    with pytest.raises(VersionConflict):
        table.put(KEY | {"version": 2}, 1)
    with pytest.raises(VersionConflict):
        table.delete(KEY, 1)
    assert table.get(KEY) == KEY | {"version": 2}

    table.delete(KEY, 2)
    assert table.get(KEY) is None


def test_only_items_at_a_version_that_lack_an_attribute_are_written_over() -> None:
    table, _ = in_memory()
    table.put_always({"name": "running", "version": 1, "state": "Queued"})
    table.put_always({"name": "changed", "version": 2, "state": "Queued"})
    table.put_always({"name": "ended", "version": 1, "end": "then"})
    ended = [{"name": name, "version": 2, "end": "now"} for name in ("running", "changed", "ended", "unknown")]

    written, *refused = table.put_over(ended, ("name",), version=1, without="end")

    assert written is None
    assert all(refusal and refusal.is_of_condition for refusal in refused)
    found = [refusal.current and refusal.current["name"] for refusal in refused if refusal]
    assert found == ["changed", "ended", None]
    assert table.get({"name": "running"}) == {"name": "running", "version": 2, "state": "Queued", "end": "now"}
    assert table.get({"name": "ended"}) == {"name": "ended", "version": 1, "end": "then"}


def test_what_does_not_change_is_written_only_where_there_is_nothing_yet() -> None:
    table, dynamodb = in_memory("feeds")
    feeds = Feeds(table)
    written = feeds.update(FEED, lambda feed: feed)
    assert feeds.update(written, lambda feed: feed) == written == replace(FEED, version=1)
    assert dynamodb.writes["feeds"] == 1


def test_a_change_that_lost_a_race_is_computed_again_from_what_won_it() -> None:
    feeds = Feeds(in_memory("feeds")[0])
    read = feeds.update(FEED, once_more)
    feeds.update(read, once_more)
    assert feeds.update(read, once_more) == replace(FEED, attempts=3, version=3) == feeds.get(*FEED.key)
    assert feeds.update(read, lambda _: FEED) == replace(FEED, version=4)


def test_what_was_deleted_meanwhile_is_not_written_again() -> None:
    feeds = Feeds(in_memory("feeds")[0])
    read = feeds.update(FEED, once_more)
    feeds.delete(read, NOON)
    feeds.update(read, once_more)
    assert feeds.of_company("company") == []


def test_a_change_that_others_always_come_before_is_given_up_after_longer_and_longer_pauses() -> None:
    dynamodb, pauses = MemoryDynamoDB(), list[float]()
    feeds = Feeds(Table(cast(Any, dynamodb), "feeds", pauses.append))
    others = Feeds(Table(cast(Any, dynamodb), "feeds"))

    def after_another(feed: Feed) -> Feed:
        others.update(others.get(*FEED.key), once_more)
        return once_more(feed)

    with pytest.raises(ContentionError, match=str(RACES)):
        feeds.update(FEED, after_another)

    assert others.get(*FEED.key).attempts == RACES
    assert len(pauses) == RACES
    assert pauses[-1] > pauses[0] > 0


def test_a_lease_is_one_owners_until_its_time_is_up_or_it_gives_it_back() -> None:
    table, _ = in_memory()
    assert table.acquire(KEY, "one", NOON + MINUTE, NOON)
    assert not table.acquire(KEY, "other", NOON + MINUTE, NOON)
    assert table.acquire(KEY, "one", NOON + 2 * MINUTE, NOON + MINUTE)
    table.release(KEY, "other")
    assert not table.acquire(KEY, "other", NOON + 9 * MINUTE, NOON + 2 * MINUTE)

    assert table.acquire(KEY, "other", NOON + 9 * MINUTE, NOON + 3 * MINUTE)
    table.release(KEY, "other")
    assert table.acquire(KEY, "one", NOON + 9 * MINUTE, NOON + 3 * MINUTE)


def test_an_index_is_read_up_to_a_number_of_items_and_says_whether_that_is_all() -> None:
    table, _ = in_memory("feeds")
    feeds = Feeds(table)
    for number in range(3):
        feeds.put(replace(FEED, connection_id=str(number), broken_at=NOON + number * MINUTE))
    [shard] = {item["shard"] for item in table.scan()}

    keys, is_all = table.first_keys("broken", shard, 2)

    assert ([key["feed"] for key in keys], is_all) == (["invoices#0", "invoices#1"], False)
    assert len(table.first_keys("broken", shard, 3)[0]) == 3
    assert table.first_keys("broken", shard, 3)[1]


FUNCTIONS = Path(__file__).parents[2] / "functions"


def test_a_call_without_a_response_is_given_up_within_its_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    config = clients.CONFIG.merge(Config(read_timeout=0.05, retries={"mode": "standard", "total_max_attempts": 1}))
    monkeypatch.setattr(clients, "CONFIG", config)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(ReadTimeoutError):
            clients.client("dynamodb").get_item(TableName="table", Key={"name": {"S": "a"}})
    assert time.monotonic() - began < 5


def test_the_time_limits_are_below_those_of_the_functions() -> None:
    limits = vars(clients.CONFIG)
    assert (limits["connect_timeout"], limits["read_timeout"]) == (1, 3)
    assert limits["retries"]["total_max_attempts"] == 4


def test_functions_make_their_clients_in_one_place() -> None:
    makers = [
        path for path in FUNCTIONS.rglob("*.py") if re.search(r"\.(client|resource|create_client)\(", path.read_text())
    ]
    assert makers == [FUNCTIONS / "freshness" / "aws" / "clients.py"]


TIMES = 2_000


def test_no_count_of_several_threads_is_lost() -> None:
    counts = Counts()

    def count(_: int) -> None:
        for _ in range(TIMES):
            counts.count(Metric.PROMISES_BROKEN)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(count, range(8)))
    finally:
        sys.setswitchinterval(interval)

    assert counts[Metric.PROMISES_BROKEN] == 8 * TIMES
