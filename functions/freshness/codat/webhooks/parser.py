"""Parses Codat's webhooks into facts: current events, and the rule-based ones that Codat sent until January 2025."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AliasChoices, AliasPath, BeforeValidator, Field, ValidationError, ValidationInfo

from freshness.codat.models import AnyConnection
from freshness.codat.response_model import Identifier, Readable, Response, Text, Words
from freshness.domain.companies.company import ConnectionStatus
from freshness.domain.companies.company_facts import CompanyCreated, CompanyDeleted, ConnectionChanged
from freshness.domain.datasets.dataset import DatasetState, Issue, reason_of
from freshness.domain.feeds.facts import DatasetEnded, DataWritten, LimitReached, LimitReset, ReadEnded, WebhookFact
from freshness.domain.times import CLOCKS_DIFFER, Instant, InstantIfAny

WRITABLE = tuple(
    """
    bankAccounts bankTransactions billCreditNotes billPayments bills chartOfAccounts creditNotes customers directCosts
    directIncomes invoices items journalEntries journals payments purchaseOrders suppliers transfers
    """.split()
)
"""The data types that Codat's event catalogue has a `{dataType}.write.successful` for."""

MAX_ISSUES = 20
MAX_ISSUE_TYPE = 100
"""The most issues of a read, and characters of an issue's type: a dataset's record must stay small."""

_READ = re.compile(r"(?:.+\.)?read\.completed(?:\.(?:initial|successful|unsuccessful))*")
"""The forms of the event that reads ended. All have the same payload.

A custom product's identifier may come first. The suffixes say whether it is the first read, and whether all data types
succeeded.
"""
_WRITTEN = ".write.successful"
_CHANGES_NO_DATA = "UploadAttachment"
"""The type of a write that changes no data type."""
BYTE_ORDER_MARK = "\ufeff"
_LOGS = re.compile(r"/sync/([^/?#]{1,100})/validation")
"""The part of the link to a read's logs that names its dataset."""

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


_Context = dict[str, datetime]
_Reader = Callable[[str, _Context], tuple[WebhookFact, ...]]
"""Reads the body of an event, with the context that its model is validated in."""


class Malformed(Exception):
    """A message is not a webhook as Codat describes it: retrying will not help.

    `facts` are those of its parts that can be read.
    """

    def __init__(self, reason: str, facts: tuple[WebhookFact, ...] = ()) -> None:
        super().__init__(reason)
        self.facts = facts


def parse(body: str, received_at: datetime) -> tuple[WebhookFact, ...] | None:
    """Return the facts of a webhook; `None` if its kind is not used here.

    A webhook dated more than `CLOCKS_DIFFER` after it was received counts as dated when it was received.

    Raises:
        Malformed: the body is not a webhook as Codat describes it.
    """
    try:
        return _read(body.removeprefix(BYTE_ORDER_MARK), received_at)
    except ValidationError as error:
        raise Malformed(f"not a webhook as Codat describes it: {_mistake(error)}") from error


def _mistake(error: ValidationError, *within: str | int) -> str:
    """Return the first mistake in a value, and its path. `within` is the path to the value itself."""
    first = error.errors(include_input=False)[0]
    where = ".".join(str(part) for part in (*within, *first["loc"]))
    return f"{first['msg']} at {where or 'the top'}"


def _read(body: str, received_at: datetime) -> tuple[WebhookFact, ...] | None:
    kind = WebhookKind.model_validate_json(body)
    if kind.event_type is None and kind.rule_type is not None:
        # Codat's documentation spells one of them in two ways.
        read_rule = _RULES.get(kind.rule_type.casefold())
        return None if read_rule is None else read_rule(RuleEvent.model_validate_json(body))
    event_type = kind.event_type or Envelope.model_validate_json(body).event_type
    read = _reader(event_type)
    return None if read is None else read(body, {"received_at": received_at})


def _reader(event_type: str) -> _Reader | None:
    if _READ.fullmatch(event_type):
        return _read_completed
    return _written if event_type.endswith(_WRITTEN) else _EVENTS.get(event_type)


def _read_completed(body: str, context: _Context) -> tuple[WebhookFact, ...]:
    event = ReadCompletedEvent.model_validate_json(body, context=context)
    ended, mistakes = [], []
    for number, given in enumerate(event.data_types):
        try:
            ended.append(_read_ended(event, DataTypeRead.model_validate(given)))
        except ValidationError as error:
            mistakes.append(_mistake(error, "payload", "dataTypes", number))
    if mistakes:
        reason = f"{len(mistakes)} of {len(event.data_types)} reads are not as Codat describes them"
        raise Malformed(f"{reason}, and the others are applied: {mistakes[0]}", facts=tuple(ended))
    return tuple(ended)


def _read_ended(event: ReadCompletedEvent, read: DataTypeRead) -> ReadEnded:
    issues = _issues(read)
    return ReadEnded(
        company_id=event.company_id,
        connection_id=read.connection_id,
        data_type=read.data_type,
        at=event.generated_date,
        state=read.status,
        records_modified=read.records_modified,
        is_first=event.event_type.endswith(".initial"),
        issues=issues,
        reason="" if read.status == DatasetState.COMPLETE else reason_of(issues),
        dataset_id=_dataset_id(read),
        modified_from=event.modified_from,
    )


def _issues(read: DataTypeRead) -> tuple[Issue, ...]:
    readable = [issue for issue in read.issues if issue is not None and (issue.type or issue.message)]
    return tuple(Issue(type=issue.type[:MAX_ISSUE_TYPE], message=issue.message) for issue in readable[:MAX_ISSUES])


def _dataset_id(read: DataTypeRead) -> str:
    """Return the dataset that the links of a read's issues name; empty if none does, or if they disagree."""
    links = [issue.logs for issue in read.issues if issue]
    named = {found[1] for link in links if (found := _LOGS.search(link))}
    return named.pop() if len(named) == 1 else ""


def _connection(body: str, context: _Context) -> tuple[ConnectionChanged]:
    event = ConnectionEvent.model_validate_json(body, context=context)
    connection = event.connection.as_of(event.generated_date)
    if event.event_type == "connection.deleted":
        connection = replace(connection, status=ConnectionStatus.DELETED)
    if event.event_type == "connection.reconnected":
        connection = replace(connection, reconnected_at=event.generated_date)
    return (ConnectionChanged(company_id=event.company_id, connection=connection),)


def _company_created(body: str, context: _Context) -> tuple[CompanyCreated]:
    return (CompanyCreated(company_id=CompanyEvent.model_validate_json(body, context=context).company_id),)


def _company_deleted(body: str, context: _Context) -> tuple[CompanyDeleted]:
    event = CompanyEvent.model_validate_json(body, context=context)
    return (CompanyDeleted(company_id=event.company_id, at=event.generated_date),)


def _limit_reached(body: str, context: _Context) -> tuple[LimitReached]:
    event = RateLimitReachedEvent.model_validate_json(body, context=context)
    return (LimitReached(at=event.generated_date, until=event.until),)


def _limit_reset(body: str, context: _Context) -> tuple[LimitReset]:
    return (LimitReset(at=Envelope.model_validate_json(body, context=context).generated_date),)


def _written(body: str, context: _Context) -> tuple[DataWritten, ...]:
    event = WriteEvent.model_validate_json(body, context=context)
    if event.done == _CHANGES_NO_DATA:
        return ()
    return (
        DataWritten(
            company_id=event.company_id,
            connection_id=event.connection_id,
            data_type=event.event_type.removesuffix(_WRITTEN),
            at=min(event.completed_at or event.generated_date, event.generated_date),
        ),
    )


def _dataset_ended(event: RuleEvent, state: DatasetState, records_modified: bool | None) -> tuple[DatasetEnded]:
    """Return the end of the dataset of a rule-based event. `state` is used if the event does not have one."""
    return (
        DatasetEnded(
            company_id=event.company_id,
            data_type=event.data_type,
            dataset_id=event.dataset_id,
            state=event.dataset_status or state,
            records_modified=records_modified,
        ),
    )


_EVENTS: dict[str, _Reader] = {
    "connection.created": _connection,
    "connection.connected": _connection,
    "connection.disconnected": _connection,
    "connection.reconnected": _connection,
    "connection.failed": _connection,
    "connection.deleted": _connection,
    "company.created": _company_created,
    "company.deleted": _company_deleted,
    "client.rateLimit.reached": _limit_reached,
    "client.rateLimit.reset": _limit_reset,
}
_RULES: dict[str, Callable[[RuleEvent], tuple[WebhookFact, ...]]] = {
    "data sync completed": lambda event: _dataset_ended(event, DatasetState.COMPLETE, None),
    "dataset data changed": lambda event: _dataset_ended(event, DatasetState.COMPLETE, True),
    "data sync status changed to error": lambda event: _dataset_ended(event, DatasetState.INTERNAL_ERROR, None),
}
READS = ("read.completed", "read.completed.initial")
EVENT_TYPES = (*READS, *_EVENTS, *(f"{data_type}{_WRITTEN}" for data_type in WRITABLE))
"""The event types to subscribe to: the fewest that report everything. The finer forms of `read.completed` repeat it."""
