# ruff: noqa: N803 - the arguments have the names that boto3 gives them
"""A client for the in-memory DynamoDB that fails, limits and lags as AWS does."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from chaos.faults import Dice, KillSwitch, client_error, timeout
from chaos.interleaving import pause
from estimate.memory_dynamodb import (
    INDEXED,
    KEYS,
    PROJECTED,
    ConditionalCheckFailedException,
    Item,
    Key,
    MemoryDynamoDB,
)

STALENESS = 2.0
"""The most seconds by which a read that is not consistent is behind. At AWS it is usually well below one."""
LARGEST_ITEM = 400 * 1024
LONGEST_PARTITION_KEY = 2048
LONGEST_SORT_KEY = 1024


class Past:
    """Earlier versions of items, kept for as long as a stale read may return them."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._before: defaultdict[tuple[str, Key], list[tuple[datetime, Item | None]]] = defaultdict(list)

    def note(self, table: str, key: Key, before: Item | None) -> None:
        """Keep the version that an item had before a write."""
        now = self._clock()
        versions = [each for each in self._before[table, key] if each[0] > now - timedelta(seconds=STALENESS)]
        self._before[table, key] = [*versions, (now, before)]

    def items(self, table: str, current: dict[Key, Item], at: datetime) -> dict[Key, Item]:
        """Return the items of a table as they were at a time."""
        items = dict(current)
        for (name, key), versions in self._before.items():
            if name != table:
                continue
            changed = next((before for time, before in versions if time > at), _UNCHANGED)
            if changed is None:
                items.pop(key, None)
            elif changed is not _UNCHANGED:
                items[key] = changed
        return items


_UNCHANGED: Item = {}


class FaultyDynamoDB:
    """A failing client for tables that functions share. Other functions may run before and after each of its calls."""

    exceptions = MemoryDynamoDB.exceptions

    def __init__(
        self, inner: MemoryDynamoDB, past: Past, dice: Dice, switch: KillSwitch, clock: Callable[[], datetime]
    ) -> None:
        self._inner, self._past, self._dice, self._switch, self._clock = inner, past, dice, switch, clock

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool = False) -> Item:
        """Return the item with a key."""
        self._begin("GetItem")
        _require_key(TableName, Key, "GetItem")
        if ConsistentRead or not self._dice.throws(self._dice.faults.stale):
            response = self._inner.get_item(TableName=TableName, Key=Key)
        else:
            item = self._stale(TableName).get(_key(TableName, Key))
            response = {} if item is None else {"Item": item}
        self._end()
        return response

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> Item:
        """Return the items with the keys of a request, or some of them."""
        self._begin("BatchGetItem")
        responses: dict[str, list[Item]] = {}
        unprocessed: dict[str, Any] = {}
        for table, wanted in RequestItems.items():
            keys, left = wanted["Keys"], []
            for key in keys:
                _require_key(table, key, "BatchGetItem")
            if self._dice.throws(self._dice.faults.partial):
                left = [key for key in keys if self._dice.random.random() < 0.5]
                keys = [key for key in keys if key not in left]
            may_be_stale = not wanted.get("ConsistentRead") and self._dice.throws(self._dice.faults.stale)
            stale = self._stale(table) if may_be_stale else self._current(table)
            responses[table] = [item for key in keys if (item := stale.get(_key(table, key))) is not None]
            if left:
                unprocessed[table] = wanted | {"Keys": left}
        self._end()
        return {"Responses": responses, "UnprocessedKeys": unprocessed}

    def put_item(self, *, TableName: str, Item: Item, **condition: Any) -> None:
        """Write an item.

        Raises:
            ConditionalCheckFailedException: the condition does not hold.
            ClientError: the item is too large, a key is too long, or the call was throttled.
        """
        self._begin("PutItem")
        _require_storable(TableName, Item)
        self._write(TableName, Item, lambda: self._inner.put_item(TableName=TableName, Item=Item, **condition))

    def update_item(self, *, TableName: str, Key: Item, **update: Any) -> Any:
        """Add to numbers of an item, and set other values."""
        self._begin("UpdateItem")
        return self._write(TableName, Key, lambda: self._inner.update_item(TableName=TableName, Key=Key, **update))

    def delete_item(self, *, TableName: str, Key: Item, **condition: Any) -> None:
        """Delete an item.

        Raises:
            ConditionalCheckFailedException: the condition does not hold.
        """
        self._begin("DeleteItem")
        self._write(TableName, Key, lambda: self._inner.delete_item(TableName=TableName, Key=Key, **condition))

    def batch_execute_statement(self, *, Statements: list[Item]) -> Item:
        """Insert or update items. If botocore repeats the call, its first response is lost."""
        self._begin("BatchExecuteStatement")
        before = {table: self._current(table) for table in {each["Statement"].split('"')[1] for each in Statements}}
        response = self._inner.batch_execute_statement(Statements=Statements)
        for table, items in before.items():
            for key, item in self._current(table).items():
                if items.get(key) != item:
                    self._past.note(table, key, items.get(key))
        self._end()
        if self._dice.throws(self._dice.faults.repeated):
            response = self._inner.batch_execute_statement(Statements=Statements)
        if self._dice.throws(self._dice.faults.lost):
            raise timeout()
        return response

    def get_paginator(self, _operation: str) -> "_Query":
        """Return the paginator of queries."""
        return _Query(self)

    def query(self, table: str, **query: Any) -> Iterator[Item]:
        """Yield the pages of a query, all of them as the table was when the first was read."""
        self._begin("Query")
        stale = not query.get("ConsistentRead") and self._dice.throws(self._dice.faults.stale)
        items = self._stale(table) if stale else self._current(table)
        found = list(_selected(table, items, query))
        self._end()
        if not self._dice.throws(self._dice.faults.partial):
            yield {"Items": found}
            return
        for item in found:
            yield {"Items": [item]}
            self._begin("Query")
            self._end()

    def _begin(self, operation: str) -> None:
        pause()
        self._switch.burn()
        if self._dice.throws(self._dice.faults.throttled):
            raise client_error("ProvisionedThroughputExceededException", operation)

    def _end(self) -> None:
        self._switch.burnt()
        pause()

    def _write(self, table: str, key: Item, write: Callable[[], Any]) -> Any:
        before = self._current(table).get(_key(table, key))
        written = write()
        self._past.note(table, _key(table, key), before)
        self._end()
        if self._dice.throws(self._dice.faults.repeated):
            written = write()
        if self._dice.throws(self._dice.faults.lost):
            raise timeout()
        return written

    def _current(self, table: str) -> dict[Key, Item]:
        partitions = self._inner.tables[table].partitions.values()
        return {key: item for partition in partitions for key, item in partition.items()}

    def _stale(self, table: str) -> dict[Key, Item]:
        at = self._clock() - timedelta(seconds=self._dice.random.uniform(0, STALENESS))
        return self._past.items(table, self._current(table), at)


class _Query:
    def __init__(self, dynamodb: FaultyDynamoDB) -> None:
        self._dynamodb = dynamodb

    def paginate(self, *, TableName: str, **query: Any) -> Iterator[Item]:
        return self._dynamodb.query(TableName, **query)


def _key(table: str, item: Item) -> Key:
    return tuple(item[name]["S"] for name in KEYS.get(table, ("name",)))


def _selected(table: str, items: dict[Key, Item], query: dict[str, Any]) -> Iterator[Item]:
    """Yield the items of a partition, or the keys of the due items in a shard of an index."""
    values = query["ExpressionAttributeValues"]
    if "IndexName" not in query:
        yield from (items[key] for key in sorted(items) if key[0] == values[":value"]["S"])
        return
    time = INDEXED[table][query["IndexName"]]
    shard, now = values[":shard"]["S"], values.get(":now", {"S": "9999"})["S"]
    part = query["ExpressionAttributeNames"]["#shard"]
    due = [item for item in items.values() if time in item and item[part]["S"] == shard and item[time]["S"] <= now]
    for item in sorted(due, key=lambda item: (item[time]["S"], _key(table, item))):
        yield {name: item[name] for name in (time, *KEYS.get(table, ("name",)), *PROJECTED) if name in item}


def _require_storable(table: str, item: Item) -> None:
    _require_key(table, item, "PutItem")
    try:
        size = len(json.dumps(item, ensure_ascii=False, default=str).encode())
    except UnicodeEncodeError:
        raise client_error("SerializationException", "PutItem") from None
    if size > LARGEST_ITEM:
        raise client_error("ValidationException", "PutItem")


def _require_key(table: str, item: Item, operation: str) -> None:
    try:
        partition, *sort = (len(part.encode()) for part in _key(table, item))
    except UnicodeEncodeError:
        raise client_error("SerializationException", operation) from None
    if partition > LONGEST_PARTITION_KEY or any(length > LONGEST_SORT_KEY for length in sort):
        raise client_error("ValidationException", operation)


__all__ = ["ConditionalCheckFailedException", "FaultyDynamoDB", "Past"]
