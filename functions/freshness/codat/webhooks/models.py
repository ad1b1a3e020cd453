"""The bodies of Codat's webhooks: the fields that this project reads."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AliasChoices, AliasPath, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic.alias_generators import to_pascal

from freshness.codat.models import AnyConnection
from freshness.codat.response_model import Identifier, Readable, Response, Text, Words
from freshness.domain.times import CLOCKS_DIFFER, Instant, InstantIfAny


class CompanyReference(Response):
    """The company of an event."""

    id: Identifier


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


class IssueLinks(Response):
    """Links of an issue. `logs` is `…/companies/{companyId}/sync/{datasetId}/validation`."""

    logs: Text = ""


class ReadIssue(Response):
    """An issue of a read."""

    type: Text = ""
    message: Words = ""
    links: Readable[IssueLinks] = None


class DataTypeRead(Response):
    """The end of a read of one data type from one connection."""

    connection_id: Identifier
    data_type: Identifier
    records_modified: bool | None = None
    status: str
    issues: Annotated[
        tuple[Readable[ReadIssue], ...], BeforeValidator(lambda given: given if isinstance(given, list) else ())
    ] = ()


class ReadCompleted(Response):
    """The payload of every form of `read.completed`."""

    reference_company: CompanyReference
    modified_from_date: Readable[InstantIfAny] = None
    """The changes that the reads found are from this time on."""
    data_types: Annotated[tuple[object, ...], BeforeValidator(lambda given: given or ())] = ()
    """The reads, to be validated as `DataTypeRead` one by one: one that cannot be read must not spoil the others."""


class ReadCompletedEvent(Envelope):
    """An event of reads that ended, successfully or not."""

    payload: ReadCompleted


class ConnectionPayload(Response):
    """The payload of `connection.*`."""

    reference_company: CompanyReference
    connection: AnyConnection


class ConnectionEvent(Envelope):
    """An event of a connection."""

    payload: ConnectionPayload


class CompanyPayload(Response):
    """The payload of `company.*`: the company itself in Codat's API description, a reference to it in its guides."""

    id: Identifier = Field(validation_alias=AliasChoices("id", AliasPath("referenceCompany", "id")))


class CompanyEvent(Envelope):
    """An event of a company that was created or deleted."""

    payload: CompanyPayload


class RateLimit(Response):
    """The payload of `client.rateLimit.*`."""

    expiry_date: Instant


class RateLimitReachedEvent(Envelope):
    """The event that the daily quota is spent."""

    payload: RateLimit


class Write(Response):
    """The payload of `{dataType}.write.successful`."""

    reference_company: CompanyReference
    connection_id: Identifier
    type: Text = ""
    """What was done, such as `Create`."""
    completed_on_date: InstantIfAny = None


class WriteEvent(Envelope):
    """The event that the user wrote data."""

    payload: Write


class RuleData(Response):
    """The dataset of a rule-based event."""

    data_type: Identifier
    dataset_id: Identifier
    dataset_status: str | None = None


class RuleEvent(Response):
    """A rule-based event of a dataset. Its only time is that of the delivery attempt."""

    model_config = ConfigDict(alias_generator=to_pascal)

    company_id: Identifier
    data: RuleData


class WebhookKind(Response):
    """The fields that identify the kind of a webhook."""

    event_type: str | None = Field(validation_alias=EVENT_TYPE, default=None)
    rule_type: str | None = Field(alias="RuleType", default=None)
