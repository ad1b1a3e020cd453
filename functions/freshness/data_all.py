"""Queueing by `data/all`: one call for all that is due of a company, where that asks for nothing else."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from freshness.codat.answers import PullOperation
from freshness.codat.client import Codat
from freshness.codat.errors import CodatError
from freshness.company import Company
from freshness.row import Row, RowKey
from freshness.sync_settings import SyncSettings

WORTHWHILE = 3
"""Rows for which one call of `data/all`, and one to learn what it queued, are fewer than one call each."""
LOOK_BACK = timedelta(minutes=1)
"""By how much the times that Codat gives in one answer may differ from those in another."""

logger = Logger(service="codat-freshness")


def worthwhile(
    settings: SyncSettings, company: Company, rows: Iterable[Row], due: Collection[RowKey]
) -> dict[RowKey, Row]:
    """The rows of a company that `data/all` would queue; none unless all are due, and enough to save a call."""
    together = {row.key: row for row in settings.queued_by_all(company, rows)}
    is_wanted = all(key in due and row.in_flight is None for key, row in together.items())
    return together if is_wanted and len(together) >= WORTHWHILE else {}


async def queued_at(
    at: datetime, codat: Codat, company_id: str, rows: Mapping[RowKey, Row]
) -> Mapping[RowKey, PullOperation | None]:
    """The datasets that `data/all` queued at a time, which it does not name; `None` for all if they cannot be read."""
    found: dict[RowKey, PullOperation] = {}
    try:
        async for operation in codat.history(company_id):
            key = (company_id, operation.data_type, operation.connection_id)
            if operation.requested >= at - LOOK_BACK and key in rows and not rows[key].knows(operation.id):
                found.setdefault(key, operation)
            if found.keys() == rows.keys() or operation.requested < at - LOOK_BACK:
                break
    except CodatError as error:
        logger.warning("What was queued cannot be read", extra={"company_id": company_id, "error": str(error)})
        return dict.fromkeys(rows)
    return found
