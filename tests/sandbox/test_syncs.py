"""How syncs run, end and are reported."""

from collections import Counter
from datetime import datetime, timedelta

from codat_sandbox.backend import CodatBackend
from codat_sandbox.model import DatasetStatus, ReadCompleted, RequestedBy
from codat_sandbox.platforms import PLAID, QUICKBOOKS_DESKTOP, XERO, DataType
from codat_sandbox.settings import Settings
from tests.sandbox.conftest import MINUTE, NOON, backend_with, empty_backend, reads


def statuses_of(backend: CodatBackend, company_id: str, dataset_id: str) -> list[DatasetStatus]:
    seen: list[DatasetStatus] = []
    now = NOON
    while True:
        dataset = backend.dataset(company_id, dataset_id, now)
        if dataset.status not in seen:
            seen.append(dataset.status)
        if not dataset.is_running:
            return seen
        next_transition = backend.next_transition
        assert next_transition is not None
        now = next_transition


def test_a_sync_passes_through_codats_statuses_within_the_configured_time(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO)
    dataset = next(d for d in backend.history(company.id, NOON) if d.data_type is DataType.INVOICES)

    seen = statuses_of(backend, company.id, dataset.id)

    optional = {DatasetStatus.INITIAL, DatasetStatus.VALIDATION_QUEUED, DatasetStatus.VALIDATING}
    ended = backend.dataset(company.id, dataset.id, NOON + MINUTE)
    assert [status for status in seen if status not in optional] == [
        DatasetStatus.QUEUED,
        DatasetStatus.FETCHING,
        DatasetStatus.MAP_QUEUED,
        DatasetStatus.MAPPING,
        DatasetStatus.PROCESSING_QUEUED,
        DatasetStatus.PROCESSING,
        DatasetStatus.COMPLETE,
    ]
    assert ended.completed is not None
    assert settings.sync_time_min <= ended.completed - NOON <= settings.sync_time_max


def test_every_status_occurs(settings: Settings) -> None:
    with_failures = settings.model_copy(
        update={
            "companies": 60,
            "fails_first": 0.3,
            "rate_limit_error": 0.1,
            "permissions_error": 0.1,
            "not_supported": 0.1,
            "authorization_lapses": 0.02,
        }
    )
    backend = CodatBackend(with_failures, NOON)
    for company in backend.companies():
        backend.queue_all(company.id, NOON)
    seen: set[DatasetStatus] = set()
    for millisecond in range(100):
        now = NOON + timedelta(milliseconds=millisecond)
        seen |= {truth.latest.status for truth in backend.truth(now) if truth.latest}

    assert seen == set(DatasetStatus)


def test_the_first_read_is_initial_and_reports_no_changes(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO, changes_per_day=1e9, changes_spread=0)
    first = [event for event in backend.advance(NOON + MINUTE) if isinstance(event, ReadCompleted)]
    backend.queue(company.id, DataType.INVOICES, NOON + MINUTE)
    second = [event for event in backend.advance(NOON + 2 * MINUTE) if isinstance(event, ReadCompleted)]

    forms = Counter(event.event_type for event in first)
    ended = forms["read.completed"]
    assert ended
    assert forms == {
        "read.completed": ended,
        "read.completed.initial": ended,
        "read.completed.successful": ended,
        "read.completed.successful.initial": ended,
    }
    assert not any(read.records_modified for event in first for read in event.reads)
    assert [event.event_type for event in second] == ["read.completed", "read.completed.successful"]
    assert all(event.reads[0].records_modified for event in second)
    assert len({event.id for event in second}) == 2


def test_reads_that_did_not_all_succeed_are_reported_as_unsuccessful(settings: Settings) -> None:
    backend = empty_backend(
        settings.model_copy(update={"fails_first": 0.5, "read_completed_within": timedelta(hours=1)})
    )
    backend.add_company([XERO], NOON)

    events = [event for event in backend.advance(NOON + MINUTE) if isinstance(event, ReadCompleted)]

    assert {read.status is DatasetStatus.COMPLETE for read in events[0].reads} == {True, False}
    assert [event.event_type for event in events] == [
        "read.completed",
        "read.completed.initial",
        "read.completed.unsuccessful",
        "read.completed.unsuccessful.initial",
    ]


def test_reads_find_changes_at_the_rate_at_which_records_change(settings: Settings) -> None:
    backend = empty_backend(settings, changes_per_day=24, changes_spread=0)
    companies = [backend.add_company([XERO], NOON) for _ in range(100)]
    backend.advance(NOON + MINUTE)
    for company in companies:
        backend.queue(company.id, DataType.INVOICES, NOON + timedelta(hours=1))

    modified = [
        read.records_modified for event in reads(backend.advance(NOON + timedelta(hours=2))) for read in event.reads
    ]

    assert len(modified) == 100
    assert 50 <= sum(modified) <= 76  # 1 - 1/e of them is 63


def test_reads_of_a_company_that_end_together_share_an_event(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO, PLAID, read_completed_within=timedelta(hours=1))

    [event] = reads(backend.advance(NOON + MINUTE))

    assert event.company.id == company.id
    assert len(event.reads) == len(backend.history(company.id, NOON + MINUTE))


def test_a_feed_whose_first_sync_fails_succeeds_at_the_next(settings: Settings) -> None:
    backend, company = backend_with(settings, XERO, fails_first=1)
    [failed] = [d for d in backend.history(company.id, NOON + MINUTE) if d.data_type is DataType.INVOICES]
    backend.queue(company.id, DataType.INVOICES, NOON + MINUTE)

    status = backend.data_status(company.id, NOON + 2 * MINUTE)[DataType.INVOICES]

    assert failed.status is not DatasetStatus.COMPLETE
    assert status is not None
    assert status.current_status is DatasetStatus.COMPLETE


def test_an_on_premise_sync_stays_queued_until_its_machine_is_online(settings: Settings) -> None:
    backend, company = backend_with(settings, QUICKBOOKS_DESKTOP)
    [connection] = company.connections
    backend.advance(NOON + MINUTE)
    backend.change_connection(company.id, connection.id, NOON + MINUTE, machine_online=False)
    dataset = backend.queue(company.id, DataType.INVOICES, NOON + MINUTE)

    three_days_later = NOON + timedelta(days=3)
    waiting = backend.dataset(company.id, dataset.id, three_days_later).status
    backend.change_connection(company.id, connection.id, three_days_later, machine_online=True)

    assert waiting is DatasetStatus.QUEUED
    ended = backend.dataset(company.id, dataset.id, three_days_later + MINUTE)
    assert ended.status is DatasetStatus.COMPLETE


def test_syncs_fail_while_the_platform_of_a_company_does_not_work(settings: Settings) -> None:
    backend = empty_backend(settings)
    company, other = backend.add_company([XERO], NOON), backend.add_company([XERO], NOON)
    [connection] = company.connections
    backend.advance(NOON + MINUTE)

    backend.change_connection(company.id, connection.id, NOON + MINUTE, platform_works=False)
    failed = backend.queue(company.id, DataType.INVOICES, NOON + MINUTE)
    unaffected = backend.queue(other.id, DataType.INVOICES, NOON + MINUTE)
    obstacles = {truth.obstacle for truth in backend.truth(NOON + 2 * MINUTE) if truth.company.id == company.id}
    backend.change_connection(company.id, connection.id, NOON + 2 * MINUTE, platform_works=True)
    later = backend.queue(company.id, DataType.INVOICES, NOON + 2 * MINUTE)

    assert obstacles == {"the platform answers with errors"}
    assert backend.dataset(company.id, failed.id, NOON + 3 * MINUTE).status is DatasetStatus.FETCH_ERROR
    assert backend.dataset(other.id, unaffected.id, NOON + 3 * MINUTE).status is DatasetStatus.COMPLETE
    assert backend.dataset(company.id, later.id, NOON + 3 * MINUTE).status is DatasetStatus.COMPLETE


def test_codats_own_schedule_counts_from_the_last_sync(settings: Settings) -> None:
    backend = CodatBackend(settings.model_copy(update={"companies": 0, "sync_schedule": {DataType.INVOICES: 6}}), NOON)
    company = backend.add_company([XERO], NOON)
    backend.queue(company.id, DataType.INVOICES, NOON + timedelta(hours=5))

    def scheduled(until: datetime) -> list[datetime]:
        return [
            dataset.requested
            for dataset in backend.history(company.id, until)
            if dataset.requested_by is RequestedBy.SCHEDULE
        ]

    assert scheduled(NOON + timedelta(hours=11)) == []
    [first, second] = scheduled(NOON + timedelta(hours=18))
    assert timedelta(hours=6) < second - first < timedelta(hours=6) + MINUTE
