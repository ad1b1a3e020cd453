"""Notifications: what is published on the event bus for the user's own systems. See `docs/events.md`.

The `id` of a notification follows from what it is about, so that consumers can drop a repeat.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar

from freshness.domain.company import Company, Connection
from freshness.domain.dataset import Trigger
from freshness.domain.facts import MissExpected
from freshness.domain.feed import Feed
from freshness.domain.feed_values import State
from freshness.domain.freshness_request import FeedResult, FreshnessRequest
from freshness.domain.times import sortable


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """Anything that is published."""

    detail_type: ClassVar[str]

    id: str
    company_id: str
    connection_id: str

    def detail(self) -> dict[str, Any]:
        """Return the event's detail as JSON values, by the names that consumers see."""
        return {_camel(field.name): _json(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyDataRefreshed(Notification):
    """A data type of a company was refreshed. `records_modified` is `None` where that is unknown.

    `dataset_id` is empty where it is unknown, and a guess where Codat did not name it: the dataset requested last.
    `as_of` is when the read was requested, or an estimate of that where only its end is known.
    """

    detail_type = "Company data refreshed"

    data_type: str
    dataset_id: str
    refreshed_at: datetime
    as_of: datetime
    as_of_is_estimated: bool
    records_modified: bool | None
    trigger: Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseBroken(Notification):
    """A data type of a company is older than promised. `link_url` is empty unless a relink would help.

    It may have expired since Codat reported it, at `link_url_read_at`.
    """

    detail_type = "Promise broken"

    data_type: str
    broken_at: datetime
    refreshed_at: datetime | None
    state: str
    link_url: str
    link_url_read_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseKeptAgain(Notification):
    """A data type of a company is as fresh as promised again."""

    detail_type = "Promise kept again"

    data_type: str
    broken_at: datetime
    refreshed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineAtRisk(Notification):
    """A data type of a company is expected to miss a deadline. `expected_at` is `None` if it cannot be seen."""

    detail_type = "Deadline at risk"

    data_type: str
    deadline: str
    deadline_at: datetime
    expected_at: datetime | None
    refreshed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceQuiet(Notification):
    """Reads of a data type succeed, but nothing has changed at the source for as long as `quiet_after`."""

    detail_type = "Source quiet"

    data_type: str
    quiet_since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RelinkNeeded(Notification):
    """Codat can no longer read through a connection until the customer opens its link and authorises it again.

    `link_url` may have expired since Codat reported it, at `link_url_read_at`: `GET /companies/{id}` has a new one.
    """

    detail_type = "Relink needed"

    platform: str
    link_url: str
    link_url_read_at: datetime | None
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionBack(Notification):
    """Codat can read through a connection again."""

    detail_type = "Connection back"

    platform: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionDone(Notification):
    """A connection lapsed after the one read that it was for. Nobody needs to act, and no more is read through it.

    `read_once` is whether the policy says so, or whether it was inferred.
    """

    detail_type = "Connection done"

    platform: str
    since: datetime
    read_once: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessEnsured(Notification):
    """Every data type of a request for fresh data is as fresh as asked. It is about a company, not a connection."""

    detail_type = "Freshness ensured"

    connection_id: str = ""
    request_id: str
    not_before: datetime
    deadline: datetime
    results: tuple[FeedResult, ...]

    def detail(self) -> dict[str, Any]:
        """Return the event's detail, with an object for each feed."""
        detail = {
            _camel(name): _json(getattr(self, name))
            for name in ("id", "company_id", "request_id", "not_before", "deadline")
        }
        feeds = [
            {_camel(each.name): _json(getattr(result, each.name)) for each in fields(result)} for result in self.results
        ]
        return detail | {"dataTypes": feeds}


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessNotEnsured(FreshnessEnsured):
    """At least one data type of a request for fresh data is not as fresh as asked, and the request has ended."""

    detail_type = "Freshness not ensured"


def request_ended(request: FreshnessRequest) -> FreshnessEnsured:
    """Return the notification that a request for fresh data ended."""
    kind = FreshnessEnsured if request.is_fresh else FreshnessNotEnsured
    return kind(
        id=f"request/{request.request_id}",
        company_id=request.company_id,
        request_id=request.request_id,
        not_before=request.not_before,
        deadline=request.deadline,
        results=request.results,
    )


def promise_broken(feed: Feed, broken_at: datetime, state: State, connection: Connection) -> PromiseBroken:
    """Return the notification that the promise for a feed broke."""
    return PromiseBroken(
        id=f"{feed.connection_id}/{feed.data_type}/broken/{sortable(broken_at)}",
        company_id=feed.company_id,
        connection_id=feed.connection_id,
        data_type=feed.data_type,
        broken_at=broken_at,
        refreshed_at=feed.succeeded_at,
        state=state,
        link_url=connection.link_url if state is State.BLOCKED else "",
        link_url_read_at=connection.link_url_known_at if state is State.BLOCKED else None,
    )


def promise_kept_again(feed: Feed, broken_at: datetime) -> PromiseKeptAgain:
    """Return the notification that the promise for a feed, broken at `broken_at`, is kept again."""
    return PromiseKeptAgain(
        id=f"{feed.connection_id}/{feed.data_type}/kept/{sortable(broken_at)}",
        company_id=feed.company_id,
        connection_id=feed.connection_id,
        data_type=feed.data_type,
        broken_at=broken_at,
        refreshed_at=feed.succeeded_at,
    )


def deadline_at_risk(feed: Feed, fact: MissExpected) -> DeadlineAtRisk:
    """Return the notification that a deadline of a feed will be missed."""
    return DeadlineAtRisk(
        id=f"{feed.connection_id}/{feed.data_type}/at risk/{sortable(fact.deadline_at)}",
        company_id=feed.company_id,
        connection_id=feed.connection_id,
        data_type=feed.data_type,
        deadline=fact.deadline,
        deadline_at=fact.deadline_at,
        expected_at=fact.expected_at,
        refreshed_at=feed.succeeded_at,
    )


def source_quiet(feed: Feed, since: datetime) -> SourceQuiet:
    """Return the notification that nothing has changed at a feed's source since a time."""
    return SourceQuiet(
        id=f"{feed.connection_id}/{feed.data_type}/quiet/{sortable(since)}",
        company_id=feed.company_id,
        connection_id=feed.connection_id,
        data_type=feed.data_type,
        quiet_since=since,
    )


def relink_needed(company: Company, connection: Connection, since: datetime) -> RelinkNeeded:
    """Return the notification that a connection must be authorised again."""
    return RelinkNeeded(
        id=f"{connection.connection_id}/relink/{sortable(since)}",
        company_id=company.company_id,
        connection_id=connection.connection_id,
        platform=connection.platform,
        link_url=connection.link_url,
        link_url_read_at=connection.link_url_known_at,
        since=since,
    )


def connection_back(company: Company, connection: Connection, since: datetime) -> ConnectionBack:
    """Return the notification that Codat can read through a connection again."""
    return ConnectionBack(
        id=f"{connection.connection_id}/back/{sortable(since)}",
        company_id=company.company_id,
        connection_id=connection.connection_id,
        platform=connection.platform,
        since=since,
    )


def connection_done(company: Company, connection: Connection) -> ConnectionDone:
    """Return the notification that a connection lapsed after the one read that it was for."""
    return ConnectionDone(
        id=f"{connection.connection_id}/done/{sortable(connection.status_at)}",
        company_id=company.company_id,
        connection_id=connection.connection_id,
        platform=connection.platform,
        since=connection.status_at,
        read_once=connection.read_once,
    )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return "".join((first, *(word.capitalize() for word in rest)))


def _json(value: str | bool | datetime | None) -> str | bool | None:
    return sortable(value) if isinstance(value, datetime) else value
