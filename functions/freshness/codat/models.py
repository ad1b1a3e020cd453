"""Codat's responses: the fields that this project reads. Unknown fields, states and data types are accepted."""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BeforeValidator, Field

from freshness.codat.response_model import Readable, Response, Text
from freshness.domain.times import Instant, InstantIfAny


def _as_list(given: object) -> list[Any]:
    """Return a list that may be missing, null, or something else altogether."""
    return given if isinstance(given, list) else []


class Identified(Response):
    """An item of a list that Codat returns in pages."""

    id: str = Field(min_length=1)


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


class ConnectionListing(Identified):
    """A connection of a company."""

    platform_name: str
    source_type: str
    status: str
    link_url: Text = ""


class CompanyReference(Response):
    """Another company that a company refers to."""

    id: Text = ""


class CompanyListing(Identified):
    """A company."""

    name: Text = ""
    tags: Annotated[dict[str, str], BeforeValidator(lambda tags: tags or {})] = Field(default_factory=dict)
    products: Annotated[
        tuple[str, ...],
        BeforeValidator(lambda given: [each for each in _as_list(given) if isinstance(each, str)]),
    ] = ()
    reference_parent_company: Readable[CompanyReference] = None
    data_connections: Annotated[tuple[ConnectionListing, ...], BeforeValidator(lambda given: given or ())] = ()


class DataStatus(Response):
    """The state of one data type in Codat's cache. Without a `current_status` it was never synced."""

    data_type: str
    current_status: str | None = None
    last_successful_sync: InstantIfAny = None
    latest_sync_id: str | None = None
    latest_successful_sync_id: str | None = None


class PullOperation(Identified):
    """A dataset, which Codat also calls a pull operation."""

    company_id: str
    connection_id: str
    data_type: str
    status: str
    requested: Instant
    completed: InstantIfAny = None


class SyncSetting(Response):
    """When Codat itself syncs a data type: on first link, and `sync_schedule` hours after each sync; 0 is never."""

    data_type: str
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

    id: str = Field(min_length=1)
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
