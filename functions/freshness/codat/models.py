"""Codat's responses: the fields that this project reads. Unknown fields, states and data types are accepted."""

import json
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AliasPath, BeforeValidator, Field

from freshness.codat.response_model import Identifier, Readable, Response, Text, Words, in_words
from freshness.domain.companies.company import Connection, ConnectionStatus
from freshness.domain.datasets.dataset import DatasetState, Trigger, has_ended
from freshness.domain.feeds.facts import DatasetPolled, DatasetRequested
from freshness.domain.feeds.feed_values import Decided
from freshness.domain.times import BEGINNING, Instant, InstantIfAny


def _as_list(given: object) -> list[Any] | None:
    """Return a value if it is a list, else `None`."""
    return given if isinstance(given, list) else None


def _as_texts(given: object) -> list[str] | None:
    return [each for each in given if isinstance(each, str)] if isinstance(given, list) else None


def _as_tags(given: object) -> dict[str, str] | None:
    """Return tags with their values as text: Codat may send null, numbers or truth values."""
    if not isinstance(given, dict):
        return None
    return {str(name): _as_text(tag) for name, tag in given.items()}


def _as_text(tag: object) -> str:
    if isinstance(tag, str):
        return tag
    return "" if tag is None else json.dumps(tag)


class Identified(Response):
    """An item of a list that Codat returns in pages."""

    id: Identifier


class Href(Response):
    """A link to a page."""

    href: str


class Links(Response):
    """The links of a page."""

    next: Href | None = None


Listed = TypeVar("Listed", bound=Identified)


class Page(Response, Generic[Listed]):
    """A page of a list. Its total number of items is not used."""

    results: tuple[Readable[Listed], ...]
    links: Links = Field(alias="_links", default=Links())


class ConnectionProblem(Response):
    """An error of a connection. One that passed by itself is `Resolved`."""

    status_code: Words = ""
    status_text: Words = ""
    error_message: Words = ""
    errored_on_utc: Readable[Instant] = None
    status: Text = ""


class AnyConnection(Identified):
    """A connection, with Codat's explanation of its status. What a webhook leaves out is empty."""

    platform_name: Text = ""
    integration_key: Text = ""
    source_type: Text = ""
    status: str
    link_url: Text = ""
    data_connection_errors: Annotated[
        tuple[Readable[ConnectionProblem], ...], BeforeValidator(lambda given: _as_list(given) or ())
    ] = ()
    connection_info: Annotated[
        dict[str, object] | None, BeforeValidator(lambda given: given if isinstance(given, dict) else None)
    ] = None

    def as_of(self, at: datetime) -> Connection:
        """Return the connection as Codat reported it at a time."""
        return Connection(
            connection_id=self.id,
            platform=self.platform_name,
            integration_key=self.integration_key,
            source_type=self.source_type,
            status=self.status,
            status_at=at,
            link_url=self.link_url,
            link_url_read_at=at if self.link_url else None,
            reason=self.reason,
            unlinked_at=at if self.status == ConnectionStatus.UNLINKED else None,
        )

    @property
    def reason(self) -> str:
        """Return the connection's latest error that is not resolved, else Codat's notes on it; empty without both."""
        errors = [each for each in self.data_connection_errors if each and each.status != "Resolved"]
        for error in sorted(errors, key=_errored_at, reverse=True):
            if said := error.error_message or in_words(f"{error.status_code} {error.status_text}"):
                return said
        noted = (
            f"{name}: {value}" for name, value in (self.connection_info or {}).items() if isinstance(value, str | int)
        )
        return in_words("; ".join(noted))


def _errored_at(error: ConnectionProblem) -> datetime:
    return error.errored_on_utc or BEGINNING


class ConnectionListing(AnyConnection):
    """A connection of a company that Codat lists, which says on which platform it is."""

    platform_name: str
    source_type: str


class CompanyListing(Identified):
    """A company as Codat lists it. What is missing or null is `None`: unknown, and not empty."""

    name: Readable[str] = None
    tags: Annotated[dict[str, str] | None, BeforeValidator(_as_tags)] = None
    products: Annotated[tuple[str, ...] | None, BeforeValidator(_as_texts)] = None
    parent_company_id: Text = Field(validation_alias=AliasPath("referenceParentCompany", "id"), default="")
    data_connections: Annotated[tuple[Readable[ConnectionListing], ...] | None, BeforeValidator(_as_list)] = None

    @property
    def connections(self) -> tuple[ConnectionListing, ...]:
        """Return the company's connections, as far as they can be read."""
        return tuple(each for each in self.data_connections or () if each)

    @property
    def has_all_connections(self) -> bool:
        """Return whether `connections` are all that Codat has."""
        return self.data_connections is not None and None not in self.data_connections


class DataStatus(Response):
    """The state of one data type in Codat's cache. Without a `current_status` it was never synced."""

    data_type: Identifier
    current_status: str | None = None
    last_successful_sync: InstantIfAny = None
    latest_sync_id: Readable[Identifier] = None
    latest_successful_sync_id: Readable[Identifier] = None


class PullOperation(Identified):
    """A dataset, which Codat also calls a pull operation."""

    company_id: Identifier
    connection_id: Identifier
    data_type: Identifier
    status: str
    requested: Instant
    completed: InstantIfAny = None
    error_message: Words = ""
    status_description: Words = ""

    @property
    def reason(self) -> str:
        """Return why the dataset failed, or what it waits for, in Codat's words; empty if Codat does not say."""
        return "" if self.status == DatasetState.COMPLETE else self.error_message or self.status_description

    def polled(self, at: datetime) -> DatasetPolled:
        """Return the fact that Codat returned the dataset at a time."""
        is_complete = self.status == DatasetState.COMPLETE
        return DatasetPolled(
            at=at,
            state=self.status,
            dataset_id=self.id,
            requested_at=self.requested,
            ended_at=self.completed,
            succeeded_at=self.completed if is_complete else None,
            succeeded_id=self.id if is_complete else "",
            reason=self.reason,
        )

    def requested_by(
        self,
        trigger: Trigger,
        decided: Decided | None = None,
        called_at: datetime | None = None,
        serves: datetime | None = None,
    ) -> DatasetRequested:
        """Return the fact that a call queued the dataset, or was refused because the dataset runs already."""
        return DatasetRequested(
            at=self.requested,
            trigger=trigger,
            dataset_id=self.id,
            state=self.status,
            # If it is unknown when it ended, the earlier time counts.
            ended_at=(self.completed or self.requested) if has_ended(self.status) else None,
            reason=self.reason,
            decided=decided,
            called_at=called_at,
            serves=serves,
        )


class SyncSetting(Response):
    """When Codat itself syncs a data type: on first link, and `sync_schedule` hours after each sync; 0 is never."""

    data_type: Identifier
    fetch_on_first_link: bool = False
    sync_schedule: int = 0


class Profile(Response):
    """The account that an API key belongs to."""

    name: str


class SyncSettings(Response):
    """The sync settings of an account."""

    settings: tuple[Readable[SyncSetting], ...] = ()


class WebhookConsumer(Response):
    """An endpoint to which Codat sends webhooks."""

    id: Identifier
    url: str
    disabled: Annotated[bool, BeforeValidator(bool)] = False
    event_types: Annotated[tuple[str, ...], BeforeValidator(lambda given: given or ())] = ()
    company_tags: Annotated[tuple[str, ...], BeforeValidator(lambda given: given or ())] = ()


class WebhookConsumers(Response):
    """All endpoints to which Codat sends webhooks."""

    results: tuple[Readable[WebhookConsumer], ...]


class ErrorBody(Response):
    """The body of a response to a refused call."""

    error: Text = ""
    correlation_id: Text = ""
