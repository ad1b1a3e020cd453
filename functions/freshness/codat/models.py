"""Codat's answers, as far as this project reads them. Fields, states and data types it does not know pass by."""

from typing import Annotated, Generic, TypeVar

from aws_lambda_powertools import Logger
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import WrapValidator

from freshness.domain.times import Instant, InstantIfAny

logger = Logger(service="codat-freshness")

Anything = TypeVar("Anything")


def _or_none(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    try:
        return validate(value)
    except ValidationError as error:
        logger.warning("One of many things that Codat listed cannot be read", extra={"why": error.errors()[0]})
        return None


Readable = Annotated[Anything | None, WrapValidator(_or_none)]
"""One of many: `None` if it cannot be read, so that the others still can."""
Text = Annotated[str, BeforeValidator(lambda given: given if isinstance(given, str) else "")]
"""Text that may be missing or null."""


class Answer(BaseModel):
    """Anything that Codat sends."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Identified(Answer):
    """Anything that Codat lists by pages."""

    id: str = Field(min_length=1)


class Href(Answer):
    """Where a page is."""

    href: str


class Links(Answer):
    """Where the neighbours of a page are."""

    next: Href | None = None


Listed = TypeVar("Listed", bound=Identified)


class Page(Answer, Generic[Listed]):
    """A page of a list. How many there are in all, which it also says, is not relied on."""

    results: tuple[Readable[Listed], ...]
    links: Links = Field(alias="_links", default=Links())


class ConnectionAnswer(Identified):
    """One of a company's connections."""

    platform_name: str
    source_type: str
    status: str
    link_url: Text = ""


class CompanyAnswer(Identified):
    """One company of the list."""

    name: Text = ""
    tags: Annotated[dict[str, str], BeforeValidator(lambda tags: tags or {})] = {}
    data_connections: Annotated[tuple[ConnectionAnswer, ...], BeforeValidator(lambda given: given or ())] = ()


class DataStatus(Answer):
    """What Codat's cache holds of one data type. Without a state there never was a sync."""

    data_type: str
    current_status: str | None = None
    last_successful_sync: InstantIfAny = None
    latest_sync_id: str | None = None
    latest_successful_sync_id: str | None = None


class PullOperation(Identified):
    """One dataset."""

    company_id: str
    connection_id: str
    data_type: str
    status: str
    requested: Instant
    completed: InstantIfAny = None


class SyncSetting(Answer):
    """When Codat itself reads a data type: on first link, and so many hours after each sync; 0 is never."""

    data_type: str
    fetch_on_first_link: bool = False
    sync_schedule: int = 0


class SyncSettings(Answer):
    """Codat's own schedule."""

    settings: tuple[Readable[SyncSetting], ...] = ()


class WebhookConsumer(Answer):
    """An endpoint to which Codat sends webhooks."""

    id: str = Field(min_length=1)
    url: str
    disabled: Annotated[bool, BeforeValidator(bool)] = False
    event_types: Annotated[tuple[str, ...], BeforeValidator(lambda given: given or ())] = ()
    company_tags: Annotated[tuple[str, ...], BeforeValidator(lambda given: given or ())] = ()


class WebhookConsumers(Answer):
    """All such endpoints."""

    results: tuple[Readable[WebhookConsumer], ...]


class ErrorAnswer(Answer):
    """What Codat says of a call that it refused."""

    error: Text = ""
    correlation_id: Text = ""
