"""Asking Codat about a company: what became of the datasets of each of its data types and connections."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from aws_lambda_powertools import Logger

from freshness.codat.client import Codat
from freshness.codat.errors import NotFound, Unreadable
from freshness.codat.models import DataStatus, PullOperation
from freshness.domain.company import Company
from freshness.domain.dataset import DatasetState, has_ended
from freshness.domain.feed import Feed
from freshness.domain.reconcile import Sighting

Key = tuple[str, str]
"""A data type and the id of a connection."""

HISTORY_READ = 500
"""Datasets of a company's history, newest first, among which those that are looked for are expected."""

logger = Logger(service="codat-freshness")


async def ask(codat: Codat, company: Company, feeds: Iterable[Feed], now: datetime) -> dict[Key, list[Sighting]]:
    """What Codat says of each data type and connection: of its latest dataset, and of the one we wait for too long.

    Raises:
        CodatError: the company's data status or history could not be read.
    """
    statuses = await codat.data_status(company.company_id)
    sightings: dict[Key, list[Sighting]] = {}
    several: set[Key] = set()
    for data_type, status in statuses.by_type.items():
        connections = company.active_connections(data_type)
        if len(company.candidate_connections(data_type)) > 1 and status.current_status:
            several |= {(data_type, connection.connection_id) for connection in connections}
        elif connections and status.current_status:
            sightings[data_type, connections[0].connection_id] = [_of_status(status, statuses.at)]
    if several:
        sightings |= await _in_history(codat, company.company_id, several, statuses.at)
    for feed in feeds:
        known = sightings.setdefault((feed.data_type, feed.connection_id), [])
        if awaited := await _awaited(codat, feed, known, now, statuses.at):
            known[:] = [awaited, *(sighting for sighting in known if sighting.dataset_id != awaited.dataset_id)]
    return sightings


def _of_status(status: DataStatus, at: datetime) -> Sighting:
    return Sighting(
        at=at,
        state=status.current_status or "",
        dataset_id=status.latest_sync_id or "",
        succeeded_at=status.last_successful_sync,
    )


async def _in_history(codat: Codat, company_id: str, wanted: set[Key], at: datetime) -> dict[Key, list[Sighting]]:
    """The latest dataset of each that is wanted, and the latest that succeeded.

    Data status does not tell connections apart, so what is read from several is looked up here.
    """
    latest: dict[Key, PullOperation] = {}
    succeeded: dict[Key, PullOperation] = {}
    seen = 0
    async for operation in codat.history(company_id):
        key = (operation.data_type, operation.connection_id)
        latest.setdefault(key, operation)
        if operation.status == DatasetState.COMPLETE and operation.completed:
            succeeded.setdefault(key, operation)
        seen += 1
        if wanted <= succeeded.keys() or seen == HISTORY_READ:
            break
    return {
        key: [replace(_of_operation(latest[key], at), succeeded_at=_completed(succeeded.get(key)))]
        for key in wanted & latest.keys()
    }


def _of_operation(operation: PullOperation, at: datetime) -> Sighting:
    is_complete = operation.status == DatasetState.COMPLETE
    return Sighting(
        at=at,
        state=operation.status,
        dataset_id=operation.id,
        requested_at=operation.requested,
        ended_at=operation.completed,
        succeeded_at=operation.completed if is_complete else None,
    )


def _completed(operation: PullOperation | None) -> datetime | None:
    return None if operation is None else operation.completed


async def _awaited(codat: Codat, feed: Feed, known: list[Sighting], now: datetime, at: datetime) -> Sighting | None:
    """What became of a dataset that is late, if nothing that is known tells of it, or not when it failed."""
    request = feed.in_flight
    if request is None or feed.late_at is None or feed.late_at > now:
        return None
    gone = Sighting(at=max(at, feed.late_at), state=DatasetState.CANCELLED, dataset_id=request.dataset_id)
    if not request.dataset_id:
        return None if known else gone
    told = next((sighting for sighting in known if sighting.dataset_id == request.dataset_id), None)
    if told and (told.ended_at or told.state == DatasetState.COMPLETE or not has_ended(told.state)):
        return None
    try:
        return _of_operation(await codat.dataset(feed.company_id, request.dataset_id), at)
    except NotFound:
        return gone
    except Unreadable as error:
        logger.warning("A dataset cannot be read", extra={"company_id": feed.company_id, "error": str(error)})
        return None
