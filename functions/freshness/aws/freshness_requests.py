"""Requests for fresh data, which are kept in the control table, with an index of those that are open."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from freshness.aws.control import control_key
from freshness.aws.item_codec import SHARDS, Item, adapter, dump, shard
from freshness.aws.table import Table
from freshness.domain.freshness_request import KEPT, FreshnessRequest
from freshness.domain.times import sortable

OPEN = "open"
"""The index of requests that have not ended, by their deadline."""


def _request_key(request_id: str) -> Item:
    return control_key(f"freshness request {request_id}")


class FreshnessRequests:
    """The repository of requests for fresh data."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, request_id: str) -> FreshnessRequest | None:
        """Return a request for fresh data, as long as it is kept."""
        item = self._table.get(_request_key(request_id), consistent=True)
        return None if item is None else adapter(FreshnessRequest).validate_python(item)

    def put(self, request: FreshnessRequest) -> FreshnessRequest:
        """Write a request in place of the one that was read at its version, and return it as written.

        Raises:
            freshness.aws.table.VersionConflict: another writer came first.
        """
        written = replace(request, version=request.version + 1)
        item = dump(written) | _request_key(request.request_id)
        item["expires_at"] = int((request.accepted_at + KEPT).timestamp())
        if not request.is_done:
            item |= {"shard": shard(request.company_id), "open_until": sortable(request.deadline)}
        self._table.put(item, request.version)
        return written

    def update(
        self, known: FreshnessRequest, compute: Callable[[FreshnessRequest], FreshnessRequest]
    ) -> FreshnessRequest:
        """Write what `compute` returns for a request as it was read, and return it as written."""
        return self._table.update(known, compute, self.put, adapter(FreshnessRequest).validate_python)

    def races(self) -> Iterator[None]:
        """Yield once for each attempt to write, as `Table.races` does."""
        return self._table.races()

    def open(self, before: datetime, shards: Iterable[str] = SHARDS) -> Iterator[FreshnessRequest]:
        """Yield the requests of some shards that have not ended and whose deadline is before a time."""
        for part in shards:
            keys = [{"name": key["name"]} for key in self._table.due(OPEN, "open_until", part, before)]
            yield from (adapter(FreshnessRequest).validate_python(item) for item in self._table.get_many(keys))
