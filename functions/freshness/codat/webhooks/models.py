"""The bodies of Codat's webhooks: the fields that this project reads."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AliasChoices, AliasPath, BeforeValidator, Field, ValidationInfo

from freshness.codat.models import AnyConnection
from freshness.codat.response_model import Identifier, Readable, Response, Text, Words
from freshness.domain.times import CLOCKS_DIFFER, Instant, InstantIfAny

REFERENCE_COMPANY = AliasPath("payload", "referenceCompany", "id")
ReferenceCompany = Annotated[Identifier, Field(validation_alias=REFERENCE_COMPANY)]
"""The company of an event."""


def _no_later_than_received(at: datetime, info: ValidationInfo) -> datetime:
    """Return a time, or when the webhook was received if that is clearly earlier: no event is reported in advance."""
    received_at: datetime | None = (info.context or {}).get("received_at")
    return received_at if received_at and at > received_at + CLOCKS_DIFFER else at


EVENT_TYPE = AliasChoices("eventType", "type")
"""The field with the type of an event: some of Codat's examples name it `type`."""


class Envelope(Response):
    """The fields around the payload of every current event."""

    event_type: Identifier = Field(validation_alias=EVENT_TYPE)
    generated_date: Annotated[Instant, AfterValidator(_no_later_than_received)]


class ReadIssue(Response):
    """An issue of a read. The link to its logs is `…/companies/{companyId}/sync/{datasetId}/validation`."""

    type: Text = ""
    message: Words = ""
    logs: Text = Field(validation_alias=AliasPath("links", "logs"), default="")


class DataTypeRead(Response):
    """The end of a read of one data type from one connection."""

    connection_id: Identifier
    data_type: Identifier
    records_modified: bool | None = None
    status: str
    issues: Annotated[
        tuple[Readable[ReadIssue], ...], BeforeValidator(lambda given: given if isinstance(given, list) else ())
    ] = ()


class ReadCompletedEvent(Envelope):
    """An event of reads that ended, successfully or not: the payload of every form of `read.completed` is the same."""

    company_id: ReferenceCompany
    modified_from: Readable[InstantIfAny] = Field(
        validation_alias=AliasPath("payload", "modifiedFromDate"), default=None
    )
    """The changes that the reads found are from this time on."""
    data_types: Annotated[
        tuple[object, ...],
        BeforeValidator(lambda given: given or ()),
        Field(validation_alias=AliasPath("payload", "dataTypes")),
    ] = ()
    """The reads, to be validated as `DataTypeRead` one by one: one that cannot be read must not spoil the others."""


class ConnectionEvent(Envelope):
    """An event of a connection."""

    company_id: ReferenceCompany
    connection: AnyConnection = Field(validation_alias=AliasPath("payload", "connection"))


class CompanyEvent(Envelope):
    """A company was created or deleted. Its payload is the company, or, in Codat's guides, a reference to it."""

    company_id: Identifier = Field(validation_alias=AliasChoices(AliasPath("payload", "id"), REFERENCE_COMPANY))


class RateLimitReachedEvent(Envelope):
    """The event that the daily quota is spent."""

    until: Instant = Field(validation_alias=AliasPath("payload", "expiryDate"))


class WriteEvent(Envelope):
    """The event that the user wrote data."""

    company_id: ReferenceCompany
    connection_id: Identifier = Field(validation_alias=AliasPath("payload", "connectionId"))
    done: Text = Field(validation_alias=AliasPath("payload", "type"), default="")
    """What was done, such as `Create`."""
    completed_at: InstantIfAny = Field(validation_alias=AliasPath("payload", "completedOnDate"), default=None)


class RuleEvent(Response):
    """A rule-based event of a dataset. Its only time is that of the delivery attempt."""

    company_id: Identifier = Field(validation_alias="CompanyId")
    data_type: Identifier = Field(validation_alias=AliasPath("Data", "dataType"))
    dataset_id: Identifier = Field(validation_alias=AliasPath("Data", "datasetId"))
    dataset_status: str | None = Field(validation_alias=AliasPath("Data", "datasetStatus"), default=None)


class WebhookKind(Response):
    """The fields that identify the kind of a webhook."""

    event_type: str | None = Field(validation_alias=EVENT_TYPE, default=None)
    rule_type: str | None = Field(alias="RuleType", default=None)
