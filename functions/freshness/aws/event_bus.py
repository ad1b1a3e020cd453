"""The edge towards EventBridge: what this system tells others, on the stack's own bus. See `docs/events.md`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from botocore.exceptions import BotoCoreError, ClientError
from pydantic.alias_generators import to_camel

from freshness.domain.company import Connection
from freshness.domain.feed import Feed, State
from freshness.domain.promise import Promise
from freshness.domain.times import sortable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE = "codat-freshness"
BATCH = 10
"""The most entries that one PutEvents takes."""


class NotPublished(Exception):
    """EventBridge did not take an event. Publish it again: consumers drop a repeat by its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something worth telling others. `id` stays the same if it is published again, so that they can drop a repeat."""

    detail_type: ClassVar[str]

    id: str
    company_id: str
    connection_id: str

    def detail(self) -> dict[str, str | bool | None]:
        """The event's detail, as consumers see it."""
        return {to_camel(field.name): _shown(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyDataRefreshed(News):
    """A data type of a company was read anew. `records_modified` is `None` where Codat did not say."""

    detail_type = "Company data refreshed"

    data_type: str
    refreshed_at: datetime
    records_modified: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseBroken(News):
    """A data type of a company is older than promised. `state` is the feed's; `link_url` is empty unless it helps."""

    detail_type = "Promise broken"

    data_type: str
    broken_at: datetime
    refreshed_at: datetime | None
    state: str
    link_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseKeptAgain(News):
    """A data type of a company is as fresh as promised again."""

    detail_type = "Promise kept again"

    data_type: str
    broken_at: datetime
    refreshed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelinkNeeded(News):
    """Codat can no longer read through a connection, until the customer opens `link_url` and authorises it again."""

    detail_type = "Relink needed"

    platform: str
    link_url: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionBack(News):
    """Codat can read through a connection again."""

    detail_type = "Connection back"

    platform: str
    since: datetime


def promise_news(before: Feed, after: Feed, promise: Promise, connection: Connection, now: datetime) -> News | None:
    """What to tell of a promise, of whose feed `after` is what is to be told now."""
    if after.broken_at and before.broken_at is None:
        state = after.state(promise, connection, now)
        return PromiseBroken(
            id=f"{after.connection_id}/{after.data_type}/broken/{sortable(after.broken_at)}",
            company_id=after.company_id,
            connection_id=after.connection_id,
            data_type=after.data_type,
            broken_at=after.broken_at,
            refreshed_at=after.succeeded_at,
            state=state,
            link_url=connection.link_url if state is State.BLOCKED else "",
        )
    if before.broken_at and after.broken_at is None and after.breaks_at(promise, connection):
        return PromiseKeptAgain(
            id=f"{after.connection_id}/{after.data_type}/kept/{sortable(before.broken_at)}",
            company_id=after.company_id,
            connection_id=after.connection_id,
            data_type=after.data_type,
            broken_at=before.broken_at,
            refreshed_at=after.succeeded_at,
        )
    return None


def connection_news(event_id: str, company_id: str, before: Connection | None, after: Connection) -> News | None:
    """What to tell of a connection that was as `before`, if it was known, and is as `after`, by reason of an event."""
    if after.needs_relink and not (before and before.needs_relink):
        return RelinkNeeded(
            id=f"{event_id}/relink",
            company_id=company_id,
            connection_id=after.connection_id,
            platform=after.platform,
            link_url=after.link_url,
            since=after.status_at,
        )
    if after.is_linked and before and before.needs_relink:
        return ConnectionBack(
            id=f"{event_id}/back",
            company_id=company_id,
            connection_id=after.connection_id,
            platform=after.platform,
            since=after.status_at,
        )
    return None


class Bus:
    """The stack's event bus."""

    def __init__(self, events: "EventBridgeClient", name: str) -> None:
        self._events = events
        self._name = name

    def publish(self, news: Sequence[News]) -> None:
        """Publish all of them.

        Raises:
            NotPublished: EventBridge did not take at least one.
        """
        for start in range(0, len(news), BATCH):
            try:
                answer = self._events.put_events(Entries=[self._entry(item) for item in news[start : start + BATCH]])
            except (ClientError, BotoCoreError) as error:
                raise NotPublished(f"bus {self._name} takes no events: {error}") from error
            if answer["FailedEntryCount"]:
                reasons = {entry.get("ErrorCode", "") for entry in answer["Entries"]} - {""}
                raise NotPublished(f"bus {self._name} refused {answer['FailedEntryCount']} events: {sorted(reasons)}")

    def _entry(self, item: News) -> "PutEventsRequestEntryTypeDef":
        return {
            "EventBusName": self._name,
            "Source": SOURCE,
            "DetailType": item.detail_type,
            "Detail": json.dumps(item.detail()),
        }


def _shown(value: str | bool | datetime | None) -> str | bool | None:
    return sortable(value) if isinstance(value, datetime) else value
