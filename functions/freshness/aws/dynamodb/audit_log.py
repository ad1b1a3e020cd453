"""The audit, in the table of feeds but apart from them: it has a partition for each day."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from freshness.aws.dynamodb.item_codec import adapter, dump
from freshness.aws.dynamodb.table import Table
from freshness.domain.audit import KEPT, AuditEntry
from freshness.domain.times import midnight, sortable

_DAY = timedelta(days=1)


class AuditLog:
    def __init__(self, table: Table) -> None:
        self._table = table

    def put(self, entry: AuditEntry) -> None:
        """Write an entry. The entry of a failure replaces the one written when the operation began."""
        begun = replace(entry, failed="")
        key = {"company_id": _partition(entry.at), "feed": f"{sortable(entry.at)} {begun.id}"}
        expires_at = int((entry.at + KEPT).timestamp())
        self._table.put_always({"entry": dump(entry)} | key | {"expires_at": expires_at})

    def since(self, start: datetime, now: datetime) -> Iterator[AuditEntry]:
        """Yield the entries since `start`, the earliest first."""
        day = midnight(start)
        while day <= now:
            for item in self._table.partition("company_id", _partition(day)):
                entry = adapter(AuditEntry).validate_python(item["entry"])
                if entry.at >= start:
                    yield entry
            day += _DAY


def _partition(at: datetime) -> str:
    return f"audit#{sortable(at)[:10]}"
