"""Codat's webhooks: the events of today, and the rule-based ones that it sent until January 2025."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AliasChoices, AliasPath, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_pascal

from freshness.codat.models import Answer, Text
from freshness.domain.company import Connection, ConnectionStatus
from freshness.domain.dataset import DatasetState
from freshness.domain.facts import (
    CompanyCreated,
    CompanyDeleted,
    ConnectionTold,
    DatasetEnded,
    DataWritten,
    Event,
    QuotaReached,
    QuotaReset,
    ReadEnded,
)
from freshness.domain.times import Instant, InstantIfAny, sortable

WRITABLE = tuple(
    """
    bankAccounts bankTransactions billCreditNotes billPayments bills chartOfAccounts creditNotes customers directCosts
    directIncomes invoices items journalEntries journals payments purchaseOrders suppliers transfers
    """.split()
)
"""The data types that Codat's event catalogue has a `{dataType}.write.successful` for."""

AHEAD = timedelta(days=1)
"""How far ahead of ours Codat's clock may be. What comes later than that would pass for the latest news for ever."""

_WRITTEN = ".write.successful"


class Malformed(Exception):
    """A message is not a webhook as Codat describes it, and no other try will make it one."""


class CompanyReference(Answer):
    """The company that an event is about."""

    id: str = Field(min_length=1)


class Envelope(Answer):
    """What surrounds the payload of every event of today."""

    event_type: str
    generated_date: Instant


class DataTypeRead(Answer):
    """How one read of one data type from one connection ended."""

    connection_id: str = Field(min_length=1)
    data_type: str = Field(min_length=1)
    records_modified: bool | None = None
    status: str


class ReadCompleted(Answer):
    """The payload of `read.completed` and `read.completed.initial`."""

    reference_company: CompanyReference
    data_types: Annotated[tuple[DataTypeRead, ...], BeforeValidator(lambda given: given or ())] = ()


class ReadCompletedEvent(Envelope):
    """Reads ended, well or badly."""

    payload: ReadCompleted


class ConnectionState(Answer):
    """A connection, whose platform may not be told again."""

    id: str = Field(min_length=1)
    platform_name: Text = ""
    source_type: Text = ""
    status: str
    link_url: Text = ""


class ConnectionPayload(Answer):
    """The payload of `connection.*`."""

    reference_company: CompanyReference
    connection: ConnectionState


class ConnectionEvent(Envelope):
    """Something happened to a connection."""

    payload: ConnectionPayload


class CompanyPayload(Answer):
    """The payload of `company.*`. Codat's description has the company itself there, its guides a reference to it."""

    id: str = Field(min_length=1, validation_alias=AliasChoices("id", AliasPath("referenceCompany", "id")))


class CompanyEvent(Envelope):
    """A company came or went."""

    payload: CompanyPayload


class RateLimit(Answer):
    """The payload of `client.rateLimit.*`."""

    expiry_date: Instant


class RateLimitReachedEvent(Envelope):
    """The daily quota is spent."""

    payload: RateLimit


class Write(Answer):
    """The payload of `{dataType}.write.successful`."""

    reference_company: CompanyReference
    connection_id: str = Field(min_length=1)
    completed_on_date: InstantIfAny = None


class WriteEvent(Envelope):
    """Our user wrote data."""

    payload: Write


class RuleData(Answer):
    """What a rule-based event says of a dataset."""

    data_type: str = Field(min_length=1)
    dataset_id: str = Field(min_length=1)
    dataset_status: str | None = None


class RuleEvent(Answer):
    """A rule-based event about a dataset. It tells no time but that of the attempt to deliver it."""

    model_config = ConfigDict(alias_generator=to_pascal)

    company_id: str = Field(min_length=1)
    data: RuleData


class Kind(Answer):
    """What tells one kind of webhook from another."""

    event_type: str | None = None
    rule_type: str | None = Field(alias="RuleType", default=None)


_KIND = TypeAdapter(Kind)


def events(body: str, now: datetime) -> tuple[Event, ...] | None:
    """What a webhook tells; `None` if it is of a kind that is not used here.

    Raises:
        Malformed: it is not a webhook as Codat describes it.
    """
    try:
        return _read(body, now)
    except ValidationError as error:
        mistake = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in mistake["loc"])
        raise Malformed(
            f"It is not as Codat describes its webhooks: {mistake['msg']} at {where or 'the top'}"
        ) from error


def _read(body: str, now: datetime) -> tuple[Event, ...] | None:
    kind = _KIND.validate_json(body)
    if kind.event_type is None and kind.rule_type is not None:
        # Codat's documentation spells one of them in two ways.
        read_rule = _RULES.get(kind.rule_type.casefold())
        return None if read_rule is None else read_rule(RuleEvent.model_validate_json(body))
    event_type = kind.event_type or Envelope.model_validate_json(body).event_type
    read = _written if event_type.endswith(_WRITTEN) else _EVENTS.get(event_type)
    if read is None:
        return None
    generated_date = Envelope.model_validate_json(body).generated_date
    if generated_date > now + AHEAD:
        raise Malformed(f"It says that it was generated at {sortable(generated_date)}, which is yet to come")
    return read(body)


def _read_completed(body: str) -> tuple[Event, ...]:
    event = ReadCompletedEvent.model_validate_json(body)
    return tuple(
        ReadEnded(
            company_id=event.payload.reference_company.id,
            connection_id=read.connection_id,
            data_type=read.data_type,
            at=event.generated_date,
            state=read.status,
            records_modified=read.records_modified,
            is_first=event.event_type == "read.completed.initial",
        )
        for read in event.payload.data_types
    )


def _connection(body: str) -> tuple[ConnectionTold]:
    event = ConnectionEvent.model_validate_json(body)
    told = event.payload.connection
    connection = Connection(
        connection_id=told.id,
        platform=told.platform_name,
        source_type=told.source_type,
        status=told.status,
        status_at=event.generated_date,
        link_url=told.link_url,
    )
    if event.event_type == "connection.deleted":
        connection = replace(connection, status=ConnectionStatus.DELETED)
    if event.event_type == "connection.reconnected":
        connection = replace(connection, reconnected_at=event.generated_date)
    return (ConnectionTold(company_id=event.payload.reference_company.id, connection=connection),)


def _company_created(body: str) -> tuple[CompanyCreated]:
    return (CompanyCreated(company_id=CompanyEvent.model_validate_json(body).payload.id),)


def _company_deleted(body: str) -> tuple[CompanyDeleted]:
    event = CompanyEvent.model_validate_json(body)
    return (CompanyDeleted(company_id=event.payload.id, at=event.generated_date),)


def _quota_reached(body: str) -> tuple[QuotaReached]:
    event = RateLimitReachedEvent.model_validate_json(body)
    return (QuotaReached(at=event.generated_date, until=event.payload.expiry_date),)


def _quota_reset(body: str) -> tuple[QuotaReset]:
    return (QuotaReset(at=Envelope.model_validate_json(body).generated_date),)


def _written(body: str) -> tuple[DataWritten]:
    event = WriteEvent.model_validate_json(body)
    return (
        DataWritten(
            company_id=event.payload.reference_company.id,
            connection_id=event.payload.connection_id,
            data_type=event.event_type.removesuffix(_WRITTEN),
            at=min(event.payload.completed_on_date or event.generated_date, event.generated_date),
        ),
    )


def _dataset_ended(event: RuleEvent, state: DatasetState, records_modified: bool | None) -> tuple[DatasetEnded]:
    """Where it is not told, `state` is what a rule says by its name."""
    return (
        DatasetEnded(
            company_id=event.company_id,
            data_type=event.data.data_type,
            dataset_id=event.data.dataset_id,
            state=event.data.dataset_status or state,
            records_modified=records_modified,
        ),
    )


_EVENTS: dict[str, Callable[[str], tuple[Event, ...]]] = {
    "read.completed": _read_completed,
    "read.completed.initial": _read_completed,
    "connection.created": _connection,
    "connection.connected": _connection,
    "connection.disconnected": _connection,
    "connection.reconnected": _connection,
    "connection.failed": _connection,
    "connection.deleted": _connection,
    "company.created": _company_created,
    "company.deleted": _company_deleted,
    "client.rateLimit.reached": _quota_reached,
    "client.rateLimit.reset": _quota_reset,
}
_RULES: dict[str, Callable[[RuleEvent], tuple[Event, ...]]] = {
    "data sync completed": lambda event: _dataset_ended(event, DatasetState.COMPLETE, None),
    "dataset data changed": lambda event: _dataset_ended(event, DatasetState.COMPLETE, True),
    "data sync status changed to error": lambda event: _dataset_ended(event, DatasetState.INTERNAL_ERROR, None),
}
EVENT_TYPES = (*_EVENTS, *(f"{data_type}{_WRITTEN}" for data_type in WRITABLE))
"""The event types to subscribe to."""
