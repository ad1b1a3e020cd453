"""What Codat's webhooks tell, and what it does to the rows."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import TypeAdapter

from freshness.codat.answers import Answer
from freshness.company import Company
from freshness.dataset import Dataset, Outcome, outcome
from freshness.metrics import Metric
from freshness.policy import Policy
from freshness.publish import Bus, CompanyDataRefreshed
from freshness.row import End, Row
from freshness.store import Store
from freshness.times import Instant


class CompanyReference(Answer):
    """The company that an event is about."""

    id: str


class DataTypeRead(Answer):
    """How one read of one data type from one connection ended."""

    connection_id: str
    data_type: str
    records_modified: bool | None = None
    status: str


class ReadCompleted(Answer):
    """The payload of `read.completed` and `read.completed.initial`."""

    reference_company: CompanyReference
    data_types: tuple[DataTypeRead, ...] = ()


class Envelope(Answer):
    """What surrounds the payload of every event."""

    id: str
    event_type: str
    generated_date: Instant


class ReadCompletedEvent(Envelope):
    """A read ended, well or badly."""

    payload: ReadCompleted


_ENVELOPE = TypeAdapter(Envelope)
_READ_COMPLETED = TypeAdapter(ReadCompletedEvent)
READ_COMPLETED = "read.completed"
READ_COMPLETED_INITIAL = "read.completed.initial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Applies messages to the tables and tells others. `tally` counts what happened."""

    store: Store
    bus: Bus
    policy: Policy
    clock: Callable[[], datetime]
    tally: Counter[Metric] = field(default_factory=Counter)

    def apply(self, message_id: str, body: str) -> None:
        """Apply one message, whose signature was verified.

        The row is written last, after the event is published: a message whose processing broke off is done
        again whole, and one that was done changes nothing any more.

        Raises:
            pydantic.ValidationError: it is not a message as Codat describes it.
        """
        event_type = _ENVELOPE.validate_json(body).event_type
        self.tally[Metric.WEBHOOKS_APPLIED] += 1
        if event_type in (READ_COMPLETED, READ_COMPLETED_INITIAL):
            self._apply_read_completed(message_id, _READ_COMPLETED.validate_json(body))

    def _apply_read_completed(self, message_id: str, event: ReadCompletedEvent) -> None:
        company = self._company(event.payload.reference_company.id)
        if company.deleted_at:
            return
        for read in event.payload.data_types:
            initial = event.event_type == READ_COMPLETED_INITIAL
            self._apply_read(
                message_id, company, read, event.generated_date, None if initial else read.records_modified
            )

    def _company(self, company_id: str) -> Company:
        company = self.store.company(company_id)
        return company or self._due_for_check(Company(company_id=company_id))

    def _due_for_check(self, company: Company) -> Company:
        now = self.clock()
        return self.store.change_company(company, lambda company: company.due_for_check(now))

    def _apply_read(
        self, message_id: str, company: Company, read: DataTypeRead, at: datetime, records_modified: bool | None
    ) -> None:
        if outcome(read.status) is Outcome.IN_FLIGHT:
            return
        connection = company.connections.get(read.connection_id)
        if connection is None:
            self._due_for_check(company)
        promise = self.policy.promise(read.data_type, company, connection) if connection else None
        row = self.store.row(company.company_id, read.data_type, read.connection_id)

        def note(row: Row) -> Row:
            row = row.ended(End(at=at, state=read.status), records_modified)
            return row.planned(promise, connection) if promise and connection else row

        if note(row) == row and row.version:
            self.tally[Metric.READS_ALREADY_KNOWN] += 1
            return
        self._note_dataset(row, read, at)
        if outcome(read.status) is Outcome.COMPLETE:
            self.bus.publish(
                [
                    CompanyDataRefreshed(
                        event_id=f"{message_id}/{read.connection_id}/{read.data_type}",
                        company_id=company.company_id,
                        connection_id=read.connection_id,
                        data_type=read.data_type,
                        refreshed_at=at,
                        records_modified=read.records_modified,
                    )
                ]
            )
        self.store.change_row(row, note)
        self.tally[Metric.READS_COMPLETED if outcome(read.status) is Outcome.COMPLETE else Metric.READS_FAILED] += 1

    def _note_dataset(self, row: Row, read: DataTypeRead, at: datetime) -> None:
        request = row.request
        if request is None or not request.dataset_id or at < request.at:
            return
        self.store.merge_dataset(
            Dataset(
                company_id=row.company_id,
                dataset_id=request.dataset_id,
                data_type=row.data_type,
                connection_id=row.connection_id,
                asked_by=request.asked_by,
                requested_at=request.at,
                states={read.status: at},
                ended_at=at,
                records_modified=read.records_modified,
            )
        )
