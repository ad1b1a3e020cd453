"""The table of feeds, with indexes of when each is due, and of those whose promise is broken."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from freshness.aws.dynamodb.item_codec import (
    SHARDS,
    Item,
    breach_from,
    deleted_feed_item,
    deleted_feed_key,
    feed_from,
    feed_item,
    feed_key,
    sort_key,
)
from freshness.aws.dynamodb.repository import Repository
from freshness.aws.dynamodb.table import Table, VersionConflict
from freshness.domain.feeds.feed import Feed, FeedKey, without_plans
from freshness.domain.slo.breach import OpenBreach

DUE = "due"
"""The index of feeds by `due_at`."""
BROKEN = "broken"
"""The index of feeds by `broken_at`, with the breach that is open."""


MOST_BROKEN = 3_000
"""The most feeds with a broken promise that are read to be shown: to decode more takes longer than a person waits."""


class Broken(NamedTuple):
    """A feed whose promise broke at `at`, as published, and the part of its breach that is not recorded yet."""

    at: datetime
    key: FeedKey
    breach: OpenBreach | None


class Feeds(Repository[Feed]):
    def __init__(self, table: Table) -> None:
        super().__init__(table, feed_from, feed_item)

    def get(self, company_id: str, data_type: str, connection_id: str, *, consistent: bool = False) -> Feed:
        """Return one feed; an empty one, of version 0, if there is none."""
        empty = Feed(company_id=company_id, data_type=data_type, connection_id=connection_id)
        return self.get_many([empty.key], consistent=consistent).get(empty.key, empty)

    def get_many(self, keys: Iterable[FeedKey], *, consistent: bool = False) -> dict[FeedKey, Feed]:
        items = [{"company_id": company_id, "feed": sort_key(*rest)} for company_id, *rest in keys]
        feeds = (feed_from(item) for item in self._table.get_many(items, consistent=consistent))
        return {feed.key: feed for feed in feeds}

    def of_company(self, company_id: str, *, consistent: bool = False) -> list[Feed]:
        return [feed_from(item) for item in self._table.partition("company_id", company_id, consistent=consistent)]

    def scan(self) -> Iterator[Feed]:
        """Yield every feed that was not deleted, for an operator's tools: no function has the permission to scan."""
        return (feed_from(item) for item in self._table.scan() if "expires_at" not in item)

    def due(
        self, now: datetime, batch: int, is_needed: Callable[[FeedKey, datetime], bool] | None = None
    ) -> Iterator[list[Feed]]:
        """Yield the feeds that are due, longest due first, in lists of `batch` or fewer.

        The index and the table are read as the lists are needed. `is_needed` says whether to read a feed, by its key
        and the time since which it is due.
        """
        keys = self._table.due(DUE, "due_at", now)
        if is_needed:
            keys = (key for key in keys if is_needed(_key_of(key), datetime.fromisoformat(key["due_at"])))
        while next_keys := list(islice(keys, batch)):
            items = self._table.get_many({"company_id": key["company_id"], "feed": key["feed"]} for key in next_keys)
            yield [feed_from(item) for item in items]

    def broken(self) -> tuple[list[Broken], bool]:
        """Return feeds whose promise is broken, longest first, at most `MOST_BROKEN`, and whether these are all."""
        shards = [self._table.first_keys(BROKEN, shard, MOST_BROKEN // len(SHARDS)) for shard in SHARDS]
        broken = [_broken(item) for items, _ in shards for item in items]
        return sorted(broken, key=lambda each: (each.at, each.key)), all(whole for _, whole in shards)

    def open_breaches(self) -> Iterator[OpenBreach]:
        """Yield the open breaches of all feeds whose promise is broken, from the index alone."""
        for shard in SHARDS:
            for item in self._table.of_shard(BROKEN, shard):
                if "breach" in item:
                    yield breach_from(item)

    def count(self) -> int:
        """Return about how many feeds there are."""
        return self._table.item_count()

    def delete(self, feed: Feed, now: datetime) -> Feed | None:
        """Delete a feed that is still as it was read, and keep its history for `DELETED_FEEDS_KEPT`.

        Return `None`, or the feed as another writer has changed it meanwhile: it is then not deleted.
        """
        self._table.put_always(deleted_feed_item(without_plans(feed), now))
        try:
            self._table.delete(feed_key(feed), feed.version)
        except VersionConflict as conflict:
            return feed_from(conflict.current) if conflict.current else None
        return None

    def deleted(self, feeds: Iterable[Feed], now: datetime) -> dict[FeedKey, Feed]:
        """Return, by key, those of the feeds whose history is kept from an earlier deletion, with that history."""
        by_item = {tuple(deleted_feed_key(feed).values()): feed for feed in feeds}
        items = self._table.get_many(deleted_feed_key(feed) for feed in by_item.values())
        kept = ((by_item[item["company_id"], item["feed"]], item) for item in items)
        return {
            feed.key: replace(feed_from(item | feed_key(feed)), version=0)
            for feed, item in kept
            if item["expires_at"] > now.timestamp()
        }


def _key_of(item: Item) -> FeedKey:
    data_type, _, connection_id = item["feed"].partition("#")
    return item["company_id"], data_type, connection_id


def _broken(item: Item) -> Broken:
    breach = breach_from(item) if "breach" in item else None
    return Broken(datetime.fromisoformat(item["broken_at"]), _key_of(item), breach)
