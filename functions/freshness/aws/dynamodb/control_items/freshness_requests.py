"""Requests for fresh data, which are kept in the control table, with an index of those that are open."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import islice
from operator import attrgetter

from freshness.aws.dynamodb.control import control_key
from freshness.aws.dynamodb.item_codec import Item, adapter, dump, shard
from freshness.aws.dynamodb.repository import Repository
from freshness.aws.dynamodb.table import Table
from freshness.domain.feeds.freshness_request import FreshnessRequest
from freshness.domain.times import sortable

OPEN = "open"
"""The index of requests that are open, by their deadline."""
OPEN_OF_COMPANY = "open_of_company"
"""The index of the same requests by their company."""
BATCH = 100
"""How many requests are read together."""
COUNTED = timedelta(hours=2)
"""How long the number of a caller's requests in an hour is kept."""


def _request_key(request_id: str) -> Item:
    return control_key(f"freshness request {request_id}")


def _request_item(request: FreshnessRequest) -> Item:
    item = dump(request) | _request_key(request.request_id)
    item["expires_at"] = int(request.expires_at.timestamp())
    if not request.is_published:
        item |= {"shard": shard(request.company_id), "open_until": sortable(request.deadline)}
    return item


class FreshnessRequests(Repository[FreshnessRequest]):
    def __init__(self, table: Table) -> None:
        super().__init__(table, adapter(FreshnessRequest).validate_python, _request_item)

    def get(self, request_id: str) -> FreshnessRequest | None:
        """Return a request for fresh data; `None` if there is none or it is no longer kept."""
        item = self._table.get(_request_key(request_id), consistent=True)
        return None if item is None else adapter(FreshnessRequest).validate_python(item)

    def count(self, caller: str, hour: datetime) -> int:
        """Count one more request of a caller in an hour, and return how many there are now."""
        name = f"freshness requests {sha256(caller.encode()).hexdigest()[:32]} {sortable(hour)}"
        expires_at = int((hour + COUNTED).timestamp())
        counted = self._table.add(control_key(name), {"requests": 1}, {"expires_at": expires_at})
        return int(counted["requests"])

    def open(self, before: datetime) -> Iterator[list[FreshnessRequest]]:
        """Yield the open requests whose deadline is before a time, the earliest first, in lists of `BATCH` or fewer.

        The index and the table are read as the lists are needed.
        """
        keys = self._table.due(OPEN, "open_until", before)
        while batch := list(islice(keys, BATCH)):
            yield self._read(batch)

    def open_of_company(self, company_id: str) -> list[FreshnessRequest]:
        """Return the open requests about a company, the earliest deadline first."""
        return self._read(list(self._table.of_shard(OPEN_OF_COMPANY, company_id, "company_id")))

    def _read(self, keys: Iterable[Item]) -> list[FreshnessRequest]:
        items = self._table.get_many([{"name": key["name"]} for key in keys])
        found = (adapter(FreshnessRequest).validate_python(item) for item in items)
        return sorted((each for each in found if not each.is_published), key=attrgetter("deadline"))
