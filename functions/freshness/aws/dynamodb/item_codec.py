"""How values of the domain are written as DynamoDB items, and read back."""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import chain
from typing import Any, TypeVar

from pydantic import TypeAdapter

from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import Dataset
from freshness.domain.datasets.sync_history import Row, SyncHistory
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import Breach
from freshness.domain.slo.breach import OpenBreach
from freshness.domain.times import sortable

Item = dict[str, Any]
Stored = TypeVar("Stored")

SHARDS = ("0", "1", "2", "3")
"""Partitions of each index, so that none receives more writes than one partition accepts."""
DATASETS_KEPT = timedelta(days=30)
"""How long records of datasets are kept; Codat's own history has older ones."""

DELETED_FEEDS_KEPT = timedelta(days=14)
"""How long the history of a deleted feed is kept: its connection or company may come back."""

_SYNC = struct.Struct(">QBI")
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


class PackedRows(Sequence[Row]):
    """The syncs of a history, packed into 13 bytes each: a feed with all of them fits into one write unit.

    They are decoded once they are used: otherwise a tick would take twice as long to read 100,000 feeds.
    """

    __slots__ = ("_rows", "packed")

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        self._rows: tuple[Row, ...] | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        if self._rows is None:
            self._rows = tuple(_SYNC.iter_unpack(self.packed))
        return self._rows

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.packed) // _SYNC.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.rows == tuple(other)

    def __hash__(self) -> int:
        return hash(self.rows)


def packed(history: SyncHistory) -> bytes:
    """Return the syncs of a history as bytes, 13 for each, which `PackedRows` decodes."""
    if isinstance(history.rows, PackedRows):
        return history.rows.packed
    return struct.pack(">" + "QBI" * len(history), *chain.from_iterable(history.rows))


def shard(company_id: str) -> str:
    """Return the shard of the indexes that has a company and its feeds."""
    return SHARDS[zlib.crc32(company_id.encode()) % len(SHARDS)]


def sort_key(data_type: str, connection_id: str) -> str:
    """Return the sort key of a feed's item, such as `invoices#CONNECTION_ID`."""
    return f"{data_type}#{connection_id}"


def feed_key(feed: Feed) -> Item:
    return {"company_id": feed.company_id, "feed": sort_key(feed.data_type, feed.connection_id)}


def adapter(kind: type[Stored]) -> TypeAdapter[Stored]:
    """Return the pydantic adapter of a class. It is built at first use: no function needs all of them."""
    return _adapter(kind)


def dump(value: object) -> Item:
    """Return the item of a value, without its history and without values that are `None` or the default."""
    item: Item = adapter(type(value)).dump_python(
        value, mode="json", exclude={"history"}, exclude_none=True, exclude_defaults=True
    )
    return item


def company_item(company: Company) -> Item:
    """Return the item of a company, indexed by when it is due for a check, and when it needs a relink."""
    times = {"check_at": company.check_at, "needs_relink_at": company.relink_at}
    return dump(company) | _index(company.company_id, times)


def company_from(item: Item) -> Company:
    return adapter(Company).validate_python(item)


def feed_item(feed: Feed) -> Item:
    """Return the item of a feed, indexed by when it is due, and since when its promise is broken.

    The usual item is below the 1 KB of a write unit.
    """
    times = {"due_at": feed.due_at, "broken_at": feed.broken_at}
    item = dump(feed) | feed_key(feed) | _index(feed.company_id, times)
    # The sort key has both.
    del item["data_type"], item["connection_id"]
    if feed.history:
        item["history"] = packed(feed.history)
    if feed.changes_per_day:
        # DynamoDB's client accepts no floats.
        item["changes_per_day"] = Decimal(str(feed.changes_per_day))
    return item


def feed_from(item: Item) -> Feed:
    item["data_type"], _, item["connection_id"] = item["feed"].partition("#")
    if isinstance(item.get("history"), bytes):
        item["history"] = SyncHistory(PackedRows(item["history"]))
    return adapter(Feed).validate_python(item)


def deleted_feed_key(feed: Feed) -> Item:
    """Return the key under which the history of a deleted feed is kept, apart from the feeds of its company."""
    return feed_key(feed) | {"company_id": deleted_partition(feed.company_id)}


def deleted_partition(company_id: str) -> str:
    return f"deleted#{company_id}"


def readable(item: Item) -> Item:
    """Return an item with its history unpacked, if it has one."""
    if not isinstance(item.get("history"), bytes):
        return item
    return item | {"history": list(SyncHistory(PackedRows(item["history"])))}


def deleted_feed_item(feed: Feed, now: datetime) -> Item:
    """Return the item of a deleted feed's history, which DynamoDB deletes after `DELETED_FEEDS_KEPT`."""
    return feed_item(feed) | deleted_feed_key(feed) | {"expires_at": int((now + DELETED_FEEDS_KEPT).timestamp())}


def breach_from(item: Item) -> OpenBreach:
    """Return the open breach from a feed's entry in the index of broken promises."""
    data_type, _, _ = item["feed"].partition("#")
    return OpenBreach(data_type=data_type, breach=adapter(Breach).validate_python(item["breach"]))


def dataset_item(dataset: Dataset) -> Item:
    """Return the item of a dataset's record, which DynamoDB deletes after `DATASETS_KEPT`."""
    return dump(dataset) | {"expires_at": int((dataset.requested_at + DATASETS_KEPT).timestamp())}


def dataset_from(item: Item) -> Dataset:
    return adapter(Dataset).validate_python(item)


def _index(company_id: str, times: Mapping[str, datetime | None]) -> Item:
    """Return the attributes that put an item into indexes: into each index whose time is not `None`."""
    known = {name: sortable(at) for name, at in times.items() if at}
    return known and {"shard": shard(company_id), **known}
