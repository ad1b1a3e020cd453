"""Notifications: what is published on the event bus for the user's own systems. See `docs/events.md`.

The `id` of a notification follows from what it is about, so that consumers can drop a repeat. `docs/schemas` has the
JSON Schema of each kind, which `make docs` writes from these models.
"""

from dataclasses import asdict, fields
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from freshness.domain.audit import AuditEntry, Operation
from freshness.domain.clean_text import shown
from freshness.domain.companies.company import Company, Connection
from freshness.domain.datasets.dataset import LONGEST_REASON, Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import State
from freshness.domain.feeds.freshness_request import FeedState, FreshnessRequest
from freshness.domain.times import sortable

Time = Annotated[
    datetime,
    PlainSerializer(sortable, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]


class _Published(BaseModel):
    """The base of all that is published. Its fields have camelCase names for consumers."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        json_schema_serialization_defaults_required=True,
        defer_build=True,
    )


class Notification(_Published):
    """The base of all events."""

    detail_type: ClassVar[str]

    version: Literal[1] = 1
    """Rises only if a field is removed, or its meaning changes."""
    id: str
    """The id of what the event is about. A repeat of the event has the same."""
    company_id: str
    company_name: str = ""
    tags: dict[str, str] = {}
    """Codat's tags of the company."""

    def detail(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)

    def about(self, company: Company) -> Self:
        return self.model_copy(update={"company_name": company.name, "tags": company.tags})


class OfConnection(Notification):
    """The base of events about a connection."""

    about_what: ClassVar[str] = ""
    """What the event says happened, as its id has it."""
    at_field: ClassVar[str] = "since"
    """The field with the time of what happened. The id has that time too."""

    connection_id: str
    platform: str
    """Codat's name of the platform. It and the next two are empty if the connection is not known yet."""
    integration_key: str
    """Codat's key of the platform."""
    status: str
    """Codat's status of the connection."""
    reason: str
    """Why, in Codat's words, without control characters; empty if Codat does not say."""

    @classmethod
    def of_connection(cls, company: Company, connection: Connection, at: datetime, **happened: Any) -> Self:
        """Return the event that something happened to a connection at `at`. `happened` has its other fields."""
        given = {"reason": shown(connection.reason, LONGEST_REASON)} | happened
        event_id = f"{connection.connection_id}/{cls.about_what}/{sortable(at)}"
        of_connection = _of_connection(connection) | {cls.at_field: at}
        return cls(id=event_id, company_id=company.company_id, **of_connection | given).about(company)


class OfFeed(OfConnection):
    """The base of events about a data type of a company, read from a connection."""

    data_type: str
    dataset_id: str
    """The dataset that was requested or ended last; empty if it is unknown."""
    refreshed_at: Time | None
    """When the copy was refreshed; null if there never was one."""

    @classmethod
    def of_feed(cls, feed: Feed, connection: Connection | None, at: datetime, **happened: Any) -> Self:
        """Return the event that something happened to a feed at `at`. `happened` has its other fields."""
        known = {
            "id": "/".join(filter(None, (feed.connection_id, feed.data_type, cls.about_what, sortable(at)))),
            "company_id": feed.company_id,
            "connection_id": feed.connection_id,
            "data_type": feed.data_type,
            "dataset_id": feed.latest_dataset_id,
            "refreshed_at": feed.succeeded_at,
            "reason": "",
        }
        return cls(**_of_connection(connection) | known | happened)


class CompanyDataRefreshed(OfFeed):
    """A data type of a company was refreshed.

    `dataset_id` is empty if it is unknown. If Codat did not name the dataset, the one that was in flight is assumed.
    """

    detail_type = "Company data refreshed"

    refreshed_at: Time
    """When the copy was refreshed."""
    as_of: Time
    """When the read was requested, or an estimate of that if only its end is known."""
    as_of_is_estimated: bool
    records_modified: bool | None
    """Whether anything changed; null if that is unknown."""
    modified_from_date: Time | None
    """The changes are from this time on; null if Codat did not say."""
    trigger: Trigger


class PromiseBroken(OfFeed):
    """A data type of a company is older than promised."""

    detail_type = "Promise broken"
    about_what = "broken"

    broken_at: Time
    state: State
    link_url: str
    """The link for the customer to relink, if that would help; else empty."""
    link_url_read_at: Time | None
    """When Codat reported the link, which may have expired since."""


class PromiseKeptAgain(OfFeed):
    """A data type of a company is as fresh as promised again."""

    detail_type = "Promise kept again"
    about_what = "kept"

    broken_at: Time


class DeadlineAtRisk(OfFeed):
    """A data type of a company is expected to miss a deadline."""

    detail_type = "Deadline at risk"
    about_what = "at risk"

    state: State
    deadline: str
    """The deadline's name in the policy."""
    deadline_at: Time
    expected_at: Time | None
    """When the refresh is expected to end; null if that cannot be seen."""


class SourceQuiet(OfFeed):
    """Reads of a data type succeed, but nothing has changed at the source for as long as `quiet_after`."""

    detail_type = "Source quiet"
    about_what = "quiet"

    quiet_since: Time


class _Relink(OfConnection):
    """The base of events that ask the customer to relink."""

    link_url: str
    """The link for the customer to open. It may have expired: `GET /companies/{id}` has a new one."""
    link_url_read_at: Time | None
    """When Codat reported the link."""
    data_types: tuple[str, ...]
    """The data types that are kept fresh through the connection."""


class RelinkNeeded(_Relink):
    """Codat can no longer read through a connection until the customer opens its link and authorises it again."""

    detail_type = "Relink needed"
    about_what = "relink"

    since: Time


class RelinkDueSoon(_Relink):
    """The customer's consent to a connection ends within seven days. The policy says how long it lasts."""

    detail_type = "Relink due soon"
    about_what = "consent"
    at_field = "consent_ends_at"

    consent_ends_at: Time
    linked_at: Time
    """When the connection last became linked."""


class ConnectionBack(OfConnection):
    """Codat can read through a connection again."""

    detail_type = "Connection back"
    about_what = "back"

    since: Time


class ConnectionDone(OfConnection):
    """A connection lapsed after its only read. Nobody needs to act, and nothing more is read through it."""

    detail_type = "Connection done"
    about_what = "done"

    since: Time
    read_once: Literal["policy", "inferred"]
    """Whether the policy says so, or whether it was inferred."""


class EndOfFeed(_Published):
    """The result of a request for fresh data, for one data type from one connection."""

    data_type: str
    connection_id: str
    """Empty if no connection supplies the data type, and so are the next three."""
    platform: str
    integration_key: str
    status: str
    state: FeedState
    as_of: Time | None
    as_of_is_estimated: bool
    refreshed_at: Time | None
    records_modified: bool | None
    dataset_id: str
    reason: str
    """Why it is not fresh."""


class RequestEnded(Notification):
    """A request for fresh data ended. It is about a company, not a connection."""

    request_id: str
    not_before: Time
    deadline: Time
    data_types: tuple[EndOfFeed, ...]


class FreshnessEnsured(RequestEnded):
    """Every data type of a request for fresh data is as fresh as asked."""

    detail_type = "Freshness ensured"


class FreshnessNotEnsured(RequestEnded):
    """At least one data type of a request for fresh data is not as fresh as asked, and the request has ended."""

    detail_type = "Freshness not ensured"


class OperationPerformed(Notification):
    """A person or a program did something: about all companies, if `company_id` is empty."""

    detail_type = "Operation performed"

    operation: Operation
    what: str
    """What the operation was about, besides the company."""
    who: str
    """The ARN of a user, or of a role with its session; a description if AWS gives no ARN."""
    source: str
    """Where it was done from."""
    at: Time
    failed: str
    """Why it failed, perhaps only in part: this is then the operation's second event. Empty if it did not fail."""


KINDS: tuple[type[Notification], ...] = (
    CompanyDataRefreshed,
    PromiseBroken,
    PromiseKeptAgain,
    DeadlineAtRisk,
    SourceQuiet,
    RelinkNeeded,
    RelinkDueSoon,
    ConnectionBack,
    ConnectionDone,
    FreshnessEnsured,
    FreshnessNotEnsured,
    OperationPerformed,
)
"""All kinds of notifications."""


def request_ended(request: FreshnessRequest, company: Company) -> RequestEnded:
    kind = FreshnessEnsured if request.is_fresh else FreshnessNotEnsured
    return kind(
        id=f"request/{request.request_id}",
        company_id=request.company_id,
        request_id=request.request_id,
        not_before=request.not_before,
        deadline=request.deadline,
        data_types=tuple(
            EndOfFeed(**_of_connection(company.connections.get(result.connection_id)) | asdict(result))
            for result in request.results
        ),
    ).about(company)


def operation_performed(entry: AuditEntry, company: Company | None) -> OperationPerformed:
    event = OperationPerformed(**{each.name: getattr(entry, each.name) for each in fields(entry)}, id=entry.id)
    return event.about(company) if company else event


def _of_connection(connection: Connection | None) -> dict[str, str]:
    if connection is None:
        return {"platform": "", "integration_key": "", "status": ""}
    return {
        "connection_id": connection.connection_id,
        "platform": connection.platform,
        "integration_key": connection.integration_key,
        "status": connection.status,
    }
