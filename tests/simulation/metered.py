"""The deployed system in simulated time, with a meter for what AWS charges: DynamoDB's units, calls, and log bytes."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from estimate.memory_dynamodb import ConditionalCheckFailedException, Item, MemoryDynamoDB
from freshness.domain.feeds.feed import Feed
from simulate.loop import Fuse, Simulation

LOG_EVENT = 26
"""The bytes that CloudWatch Logs charges for each record beside its text."""


@dataclass
class Meter:
    """What was used, by name. `indexes` has the key and the other attributes of each index, by table and name."""

    indexes: Mapping[str, Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]]
    used: Counter[str] = field(default_factory=Counter)

    def read(self, table: str, bytes_read: int, *, is_consistent: bool = False) -> None:
        """Add the units of one item, or of one query."""
        half_units = max(1, math.ceil(bytes_read / 4096)) * (2 if is_consistent else 1)
        self.used[f"half units read of {_kind(table)}"] += half_units

    def write(self, table: str, before: Item, after: Item) -> None:
        """Add the units of a write, of the table and of each index whose entry it changes."""
        units = max(1, math.ceil(max(size(before), size(after)) / 1024))
        for keys, others in self.indexes.get(table, {}).values():
            old, new = (_entry(item, keys, others) for item in (before, after))
            moved = [each[0] for each in (old, new) if each[0]] if old[0] != new[0] else []
            units += len(moved) or int(old != new)
        self.used[f"units written of {_kind(table)}"] += units

    def refuse(self, table: str) -> None:
        """Add the unit of a write whose condition does not hold."""
        self.used[f"units written of {_kind(table)}"] += 1


def _kind(table: str) -> str:
    return "control" if table == "control" else "data"


def _entry(item: Item, keys: tuple[str, ...], others: tuple[str, ...]) -> tuple[Item, Item]:
    if not all(name in item for name in keys):
        return {}, {}
    return {name: item[name] for name in keys}, {name: item[name] for name in others if name in item}


def size(item: Item) -> int:
    """Return the bytes of an item as DynamoDB's documentation counts them: of names, and of values by their type."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(typed: Item) -> int:
    [(kind, value)] = typed.items()
    if kind == "N":
        return math.ceil(len(str(value).strip("-").replace(".", "")) / 2) + 1
    if kind == "M":
        return 3 + sum(len(name.encode()) + 1 + _value_size(each) for name, each in value.items())
    if kind == "L":
        return 3 + sum(1 + _value_size(each) for each in value)
    return 1 if kind in ("BOOL", "NULL") else len(value.encode() if kind == "S" else bytes(value))


class MeteredDynamoDB(MemoryDynamoDB):
    """Tables in memory that add to a meter what DynamoDB would charge."""

    def __init__(self, meter: Meter, before_call: Callable[[], None] = lambda: None) -> None:
        super().__init__(before_call)
        self._meter = meter

    def sharing(self, before_call: Callable[[], None]) -> MemoryDynamoDB:
        """Return another client of the same tables and the same meter."""
        other = MeteredDynamoDB(self._meter, before_call)
        other.tables, other.calls, other.writes = self.tables, self.calls, self.writes
        return other

    def get_item(self, *, ConsistentRead: bool = False, **request: Any) -> Item:  # noqa: N803 - boto3's name
        """Add one item."""
        found = super().get_item(**request)
        self._meter.read(request["TableName"], size(found.get("Item", {})), is_consistent=ConsistentRead)
        return found

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> Item:  # noqa: N803 - boto3's name
        """Add each item that was found, and the least for each that was not."""
        found = super().batch_get_item(RequestItems=RequestItems)
        for name, wanted in RequestItems.items():
            items = found["Responses"][name]
            for item in [*items, *[{}] * (len(wanted["Keys"]) - len(items))]:
                self._meter.read(name, size(item), is_consistent=wanted.get("ConsistentRead", False))
        return found

    def query(self, table: str, *args: Any) -> list[Item]:
        """Add what was found together."""
        items = super().query(table, *args)
        self._meter.read(table, sum(map(size, items)))
        return items

    def _execute(self, statement: str, parameters: list[Item]) -> Item:
        response = super()._execute(statement, parameters)
        if "Error" in response:
            self._meter.refuse(statement.split('"')[1])
        return response

    def _require(self, table: str, key: Item, condition: Item) -> None:
        try:
            super()._require(table, key, condition)
        except ConditionalCheckFailedException:
            self._meter.refuse(table)
            raise

    def _replace(self, table: str, key: Item, item: Item | None) -> None:
        self._meter.write(table, self.tables[table].get(key) or {}, item or {})
        super()._replace(table, key, item)

    def _count(self, operation: str) -> None:
        super()._count(operation)
        self._meter.used["calls"] += 1


@dataclass
class MeteredSimulation(Simulation):
    """A simulation with a meter."""

    meter: Meter = field(default_factory=lambda: Meter({}))

    def __post_init__(self) -> None:
        super().__post_init__()
        self._dynamodb = MeteredDynamoDB(self.meter)
        self.tables = self._tables(Fuse())

    def _feeds_to_queue(self, *_: object) -> Iterator[Feed]:
        """Yield none: what the simulation reads for a check of its own is not charged."""
        return iter(())

    @property
    def records(self) -> dict[str, dict[tuple[str, ...], Item]]:
        """The records of datasets, by company."""
        return self._dynamodb.tables["datasets"].partitions

    def deliver(self, body: str, fuse: Fuse) -> bool:
        """Count the calls of AWS, with one to publish, apart from those of ticks."""
        before = self.meter.used["calls"]
        is_done = super().deliver(body, fuse)
        self.meter.used["webhook calls"] += self.meter.used["calls"] - before + 1
        self.meter.used["webhooks"] += 1
        return is_done

    async def _exchange(self, request: httpx.Request, fuse: Fuse) -> httpx.Response:
        headers = sum(len(name) + len(value) + 4 for name, value in request.headers.raw)
        self.meter.used["bytes to Codat"] += len(request.method) + len(request.url.raw_path) + 12 + headers
        return await super()._exchange(request, fuse)


@contextmanager
def logged(used: Counter[str]) -> Iterator[None]:
    """Add the bytes that functions log, as Powertools writes them, to `used` during the `with` block."""
    logger = logging.getLogger("codat-freshness")
    [written] = logger.handlers

    class Bytes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            used["log bytes"] += len(written.format(record).encode()) + LOG_EVENT

    counting = Bytes()
    logger.addHandler(counting)
    try:
        yield
    finally:
        logger.removeHandler(counting)
