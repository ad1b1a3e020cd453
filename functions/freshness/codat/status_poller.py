"""Polls Codat about a company: the latest dataset of each data type and connection, and those in flight."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from aws_lambda_powertools import Logger

from freshness.codat.client import Codat
from freshness.codat.errors import NotFound, Unreadable
from freshness.codat.models import DataStatus, PullOperation
from freshness.domain.companies.company import Company, ConnectionStatus
from freshness.domain.data_types import DATA_TYPES, custom_identifier
from freshness.domain.datasets.dataset import OUTCOMES, DatasetState, Outcome, has_ended
from freshness.domain.feeds.facts import DatasetPolled
from freshness.domain.feeds.feed import Feed, FeedKey, KeyInCompany, is_known_dataset

HISTORY_READ = 500
"""How many datasets of a company's history are read, newest first, to find the latest of each key."""

logger = Logger(service="codat-freshness")


async def poll(
    codat: Codat, company: Company, of_company: Iterable[Feed], now: datetime
) -> dict[KeyInCompany, list[DatasetPolled]]:
    """Return the latest dataset of each data type and connection, and the state of each dataset in flight.

    A dataset in flight is read by its id if it is late, or if the latest is a different one. If data status has news,
    Codat is asked for connections that are not known yet: the news may be about one of them.

    Raises:
        CodatError: the company's data status or history could not be read.
    """
    feeds = {(feed.data_type, feed.connection_id): feed for feed in of_company}
    at, statuses = await codat.data_status(company.company_id)
    polled: dict[KeyInCompany, list[DatasetPolled]] = {}
    # Data status does not have custom data types: others may have read them.
    ambiguous = {
        key
        for key, feed in feeds.items()
        if custom_identifier(feed.data_type) and (feed.in_flight or not feed.is_unsupported)
    }
    news: set[KeyInCompany] = set()
    for data_type, status in statuses.items():
        connections = company.active_connections(data_type)
        if len(company.candidate_connections(data_type)) > 1 and status.current_status:
            ambiguous |= {(data_type, connection.connection_id) for connection in connections}
        elif connections and status.current_status:
            key = data_type, connections[0].connection_id
            polled[key] = [_of_status(status, at)]
            latest = status.latest_sync_id
            if latest is None or key not in feeds or not is_known_dataset(feeds[key], latest):
                news.add(key)
    if news and await _has_unknown_connection(codat, company):
        ambiguous |= news
        polled = {key: facts for key, facts in polled.items() if key not in news}
    await _explain(codat, company.company_id, feeds, polled)
    if ambiguous:
        polled |= await _in_history(codat, company.company_id, ambiguous, at)
    for feed in feeds.values():
        known = polled.setdefault((feed.data_type, feed.connection_id), [])
        if in_flight := await _in_flight(codat, feed, known, now, at):
            known[:] = [in_flight, *(fact for fact in known if fact.dataset_id != in_flight.dataset_id)]
    return polled


async def _explain(
    codat: Codat, company_id: str, feeds: Mapping[KeyInCompany, Feed], polled: dict[KeyInCompany, list[DatasetPolled]]
) -> None:
    """Add to failed datasets why they failed: history says it, and data status does not.

    Feeds with a dataset in flight are left out: that dataset is read by its id.
    """
    unexplained = {key: facts[0] for key, facts in polled.items() if _is_unexplained(facts[0], feeds.get(key))}
    if unexplained:
        reported = await _reported(codat, company_id, [fact.dataset_id for fact in unexplained.values()])
        for key, fact in unexplained.items():
            if operation := reported.get(fact.dataset_id):
                polled[key] = [replace(fact, reason=operation.reason)]


def _is_unexplained(fact: DatasetPolled, feed: Feed | None) -> bool:
    """Return whether a dataset failed, and Codat was not asked why yet."""
    if not fact.dataset_id or OUTCOMES[fact.state] not in (Outcome.TRY_AGAIN, Outcome.PERSON_MUST_ACT):
        return False
    return feed is None or not (feed.in_flight or (feed.end and feed.end.dataset_id == fact.dataset_id))


async def _reported(codat: Codat, company_id: str, dataset_ids: Collection[str]) -> dict[str, PullOperation]:
    """Return the named datasets of a company by id, as far as the last `HISTORY_READ` have them."""
    found: dict[str, PullOperation] = {}
    read = 0
    async for operation in codat.history(company_id):
        if operation.id in dataset_ids:
            found[operation.id] = operation
        read += 1
        if len(found) == len(set(dataset_ids)) or read == HISTORY_READ:
            break
    return found


def _of_status(status: DataStatus, at: datetime) -> DatasetPolled:
    return DatasetPolled(
        at=at,
        state=status.current_status or "",
        dataset_id=status.latest_sync_id or "",
        succeeded_at=status.last_successful_sync,
        succeeded_id=status.latest_successful_sync_id or "",
    )


async def _has_unknown_connection(codat: Codat, company: Company) -> bool:
    """Return whether Codat may have read data from a connection that is not recorded as linked yet."""
    _, listed = await codat.company(company.company_id)
    known = {each.connection_id for each in company.connections.values() if each.was_linked}
    return any(each.id not in known and each.status != ConnectionStatus.PENDING_AUTH for each in listed.connections)


async def _in_history(
    codat: Codat, company_id: str, wanted: set[KeyInCompany], at: datetime
) -> dict[KeyInCompany, list[DatasetPolled]]:
    """Return the latest dataset of each wanted key, with the latest success of the same key.

    If a data type has several connections, data status does not say which of them it is about, but history does.
    History names custom data types by Codat's identifiers alone.
    """
    custom = {(custom_identifier(data_type), connection_id): data_type for data_type, connection_id in wanted}
    latest: dict[KeyInCompany, PullOperation] = {}
    succeeded: dict[KeyInCompany, PullOperation] = {}
    read = 0
    async for operation in codat.history(company_id):
        key = (operation.data_type, operation.connection_id)
        if operation.data_type not in DATA_TYPES and key in custom:
            key = custom[key], operation.connection_id
        latest.setdefault(key, operation)
        if operation.status == DatasetState.COMPLETE and operation.completed:
            succeeded.setdefault(key, operation)
        read += 1
        if wanted <= succeeded.keys() or read == HISTORY_READ:
            break
    return {key: [_with_success(latest[key].polled(at), succeeded.get(key))] for key in wanted & latest.keys()}


def _with_success(polled: DatasetPolled, success: PullOperation | None) -> DatasetPolled:
    if success is None:
        return replace(polled, succeeded_at=None, succeeded_id="")
    return replace(polled, succeeded_at=success.completed, succeeded_id=success.id)


async def _in_flight(
    codat: Codat, feed: Feed, known: Sequence[DatasetPolled], now: datetime, at: datetime
) -> DatasetPolled | None:
    """Return the state of a feed's dataset in flight, if it is late or replaced; `None` if `known` shows that already.

    `known` does if it has the dataset as running, as complete, or with the time of its end. A dataset that Codat does
    not know is returned as cancelled.
    """
    request = feed.in_flight
    if request is None or feed.late_at is None:
        return None
    polled = next((fact for fact in known if fact.dataset_id == request.dataset_id), None)
    is_replaced = bool(known and polled is None and request.dataset_id)
    if feed.late_at > now and not is_replaced:
        return None
    if polled and (polled.ended_at or polled.state == DatasetState.COMPLETE or not has_ended(polled.state)):
        return None
    if not request.dataset_id:
        return None if known else _cancelled(feed, at)
    return await _of_dataset(codat, feed, at)


async def poll_in_flight(
    codat: Codat, company_id: str, feeds: Collection[Feed], at: datetime
) -> dict[FeedKey, DatasetPolled]:
    """Return the state of each dataset in flight of a company's feeds, without those that cannot be read.

    A single dataset is read by its id. Several are looked up in history first, which takes fewer calls.

    Raises:
        CodatError: the history or a dataset could not be read.
    """
    wanted = [feed.in_flight.dataset_id for feed in feeds if feed.in_flight]
    reported = await _reported(codat, company_id, wanted) if len(wanted) > 1 else {}
    polled: dict[FeedKey, DatasetPolled] = {}
    for feed in feeds:
        operation = reported.get(feed.in_flight.dataset_id) if feed.in_flight else None
        found = operation.polled(at) if operation else await _of_dataset(codat, feed, at)
        if found:
            polled[feed.key] = found
    return polled


async def poll_ended(codat: Codat, feed: Feed, dataset_id: str, at: datetime) -> DatasetPolled | None:
    """Return how a dataset of a feed ended, or its latest if the id is empty; `None` if it runs or is not known.

    A running dataset is returned too if Codat says something new about it, such as until when it is paused.

    Raises:
        CodatError: the dataset or the history could not be read.
    """
    if dataset_id:
        operation = await codat.dataset(feed.company_id, dataset_id)
        polled = operation.polled(max(at, operation.completed or operation.requested))
    else:
        key = feed.data_type, feed.connection_id
        found = await _in_history(codat, feed.company_id, {key}, at)
        if key not in found:
            return None
        [polled] = found[key]
    is_news = polled.reason and polled.reason != feed.running_description
    return polled if has_ended(polled.state) or (dataset_id and is_news) else None


async def _of_dataset(codat: Codat, feed: Feed, at: datetime) -> DatasetPolled | None:
    """Return the state of a feed's dataset in flight: cancelled if Codat does not know it, `None` if unreadable."""
    if feed.in_flight is None:
        return None
    try:
        return (await codat.dataset(feed.company_id, feed.in_flight.dataset_id)).polled(at)
    except NotFound:
        return _cancelled(feed, at)
    except Unreadable as error:
        logger.warning("A dataset cannot be read", extra={"company_id": feed.company_id, "error": str(error)})
        return None


def _cancelled(feed: Feed, at: datetime) -> DatasetPolled:
    dataset_id = feed.in_flight.dataset_id if feed.in_flight else ""
    return DatasetPolled(at=max(at, feed.late_at or at), state=DatasetState.CANCELLED, dataset_id=dataset_id)
