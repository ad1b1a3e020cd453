"""Codat's answers, as far as this project reads them. Fields, states and data types it does not know pass by."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from freshness.times import Instant


class Answer(BaseModel):
    """Anything that Codat sends."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class ConnectionAnswer(Answer):
    """One of a company's connections."""

    id: str = Field(min_length=1)
    platform_name: str
    source_type: str
    status: str
    link_url: str = ""


class CompanyAnswer(Answer):
    """One company of the list."""

    id: str = Field(min_length=1)
    name: str
    tags: Annotated[dict[str, str], BeforeValidator(lambda tags: tags or {})] = {}
    data_connections: Annotated[tuple[ConnectionAnswer, ...], BeforeValidator(lambda given: given or ())] = ()


class Href(Answer):
    """Where a page is."""

    href: str


class Links(Answer):
    """Where the neighbours of a page are."""

    next: Href | None = None


class Page(Answer):
    """What every page of a list says of itself."""

    page_number: int
    page_size: int
    total_results: int
    links: Links = Field(alias="_links", default=Links())


class CompaniesPage(Page):
    """A page of the list of companies."""

    results: tuple[CompanyAnswer, ...]


class DataStatus(Answer):
    """What Codat's cache holds of one data type. Without a state there never was a sync."""

    data_type: str
    current_status: str | None = None
    last_successful_sync: Instant | None = None
    latest_sync_id: str | None = None
    latest_successful_sync_id: str | None = None


class PullOperation(Answer):
    """One dataset."""

    id: str = Field(min_length=1)
    company_id: str
    connection_id: str
    data_type: str
    status: str
    requested: Instant
    completed: Instant | None = None


class PullOperationsPage(Page):
    """A page of a company's history."""

    results: tuple[PullOperation, ...]


class ErrorAnswer(Answer):
    """What Codat says of a call that it refused."""

    error: str = ""
    correlation_id: str = ""
