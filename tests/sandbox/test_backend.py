import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from local.codat_sandbox.backend import CodatBackend
from local.codat_sandbox.errors import (
    CompanyNotFoundError,
    DatasetAlreadyInProgressError,
    NoLinkedConnectionError,
    NotSupportedByPlatformError,
)
from local.codat_sandbox.model import (
    CompanyEvent,
    ConnectionEvent,
    ConnectionStatus,
    DatasetStatus,
    Event,
    ReadCompleted,
    RequestedBy,
    Truth,
)
from local.codat_sandbox.platforms import (
    FETCH_ON_FIRST_LINK,
    PLAID,
    QUICKBOOKS_DESKTOP,
    TRUELAYER,
    XERO,
    DataType,
    SourceType,
)
from local.codat_sandbox.settings import Settings

NOON = datetime(2026, 8, 3, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def empty_backend(settings: Settings) -> CodatBackend:
    return CodatBackend(settings.model_copy(update={"companies": 0, "sync_schedule": {}}), NOON)


def reads(events: list[Event]) -> list[ReadCompleted]:
    return [event for event in events if isinstance(event, ReadCompleted)]


def statuses_on_the_way(backend: CodatBackend, company_id: str, dataset_id: str) -> list[DatasetStatus]:
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


def test_the_same_seed_and_calls_give_the_same_world() -> None:
    def history(seed: int) -> list[object]:
        backend = CodatBackend(Settings(seed=seed, fails_later=0.3), NOON)
        seen: list[object] = []
        for minute in range(60):
            now = NOON + minute * MINUTE
            for company in backend.companies():
                backend.queue_all(company.id, now)
            seen += backend.advance(now)
        return [*seen, *backend.truth(NOON + 60 * MINUTE)]

    assert history(7) == history(7)
    assert history(7) != history(8)


def test_companies_have_one_accounting_connection_at_most_and_some_have_two_of_another_kind() -> None:
    by_kind = [
        Counter(connection.platform.source_type for connection in company.connections)
        for company in CodatBackend(Settings(companies=24), NOON).companies()
    ]

    assert max(kinds[SourceType.ACCOUNTING] for kinds in by_kind) == 1
    assert max(kinds[SourceType.BANKING] for kinds in by_kind) == 2
    assert max(kinds[SourceType.COMMERCE] for kinds in by_kind) == 2


def test_the_default_fleet_has_every_trouble_and_is_mostly_well() -> None:
    truths = list(CodatBackend(Settings(), NOON).truth(NOON))

    obstacles = Counter(truth.obstacle for truth in truths)
    relink = {truth.company.id for truth in truths if truth.connection.status is ConnectionStatus.DEAUTHORIZED}
    offline = {truth.connection.platform for truth in truths if not truth.connection.machine_online}
    assert obstacles[None] > 0.8 * len(truths)
    assert len(relink) == 1
    assert offline == {QUICKBOOKS_DESKTOP}
    assert obstacles["the data type is not supported"] > 0


def test_of_data_types_that_a_report_needs_together_some_were_read_days_apart_and_within_the_week() -> None:
    ages: dict[str, dict[DataType, timedelta]] = defaultdict(dict)
    for truth in CodatBackend(Settings(), NOON).truth(NOON):
        if truth.can_become_fresh and truth.latest_successful and truth.latest_successful.completed:
            ages[truth.company.id][truth.data_type] = NOON - truth.latest_successful.completed
    sheets = [
        company[DataType.BALANCE_SHEET]
        for company in ages.values()
        if company.get(DataType.BALANCE_SHEET) and company.get(DataType.PROFIT_AND_LOSS, DAY) >= DAY
    ]

    assert any(HOUR < age < 6 * DAY for age in sheets)


def test_a_data_type_never_synced_is_absent_or_null_or_only_named() -> None:
    backend = CodatBackend(Settings(companies=60), NOON)
    seen = Counter[str]()
    for company in backend.companies():
        told = backend.data_status(company.id, NOON)
        supported = {data_type for c in company.connections for data_type in c.platform.data_types}
        seen["absent"] += len(supported - told.keys())
        seen["null"] += sum(status is None for status in told.values())
        seen["only named"] += sum(status is not None and status.current_status is None for status in told.values())
        seen["failed first"] += sum(
            status is not None and status.latest_sync_id is not None and status.last_successful_sync is None
            for status in told.values()
        )

    assert min(seen["absent"], seen["null"], seen["only named"], seen["failed first"]) > 0


def test_a_sync_passes_through_the_real_states_within_its_time(settings: Settings) -> None:
    backend = empty_backend(settings)
    company = backend.add_company([XERO], NOON)
    dataset = next(d for d in backend.history(company.id, NOON) if d.data_type is DataType.INVOICES)

    seen = statuses_on_the_way(backend, company.id, dataset.id)

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


def test_all_states_are_met(settings: Settings) -> None:
    troubled = settings.model_copy(
        update={
            "companies": 60,
            "fails_first": 0.3,
            "rate_limit_error": 0.1,
            "permissions_error": 0.1,
            "not_supported": 0.1,
            "authorization_lapses": 0.02,
        }
    )
    backend = CodatBackend(troubled, NOON)
    for company in backend.companies():
        backend.queue_all(company.id, NOON)
    seen: set[DatasetStatus] = set()
    for millisecond in range(100):
        now = NOON + timedelta(milliseconds=millisecond)
        seen |= {truth.latest.status for truth in backend.truth(now) if truth.latest}

    assert seen == set(DatasetStatus)


def test_a_queued_type_takes_one_dataset_for_each_connection_that_has_it(settings: Settings) -> None:
    backend = empty_backend(settings)
    company = backend.add_company([XERO, PLAID, TRUELAYER], NOON)
    backend.advance(NOON + MINUTE)

    first = backend.queue(company.id, DataType.BANKING_TRANSACTIONS, NOON + MINUTE)

    running = [dataset for dataset in backend.history(company.id, NOON + MINUTE) if dataset.is_running]
    assert [d.connection_id for d in running] == [company.connections[1].id, company.connections[2].id]
    assert first == running[0]


def test_a_connection_can_be_queued_alone(settings: Settings) -> None:
    backend = empty_backend(settings)
    company = backend.add_company([PLAID, TRUELAYER], NOON)
    now = NOON + MINUTE
    truelayer = company.connections[1].id

    backend.queue(company.id, DataType.BANKING_TRANSACTIONS, now, truelayer)

    running = [dataset for dataset in backend.history(company.id, now) if dataset.is_running]
    assert [dataset.connection_id for dataset in running] == [truelayer]
    with pytest.raises(DatasetAlreadyInProgressError):
        backend.queue(company.id, DataType.BANKING_TRANSACTIONS, now)
    backend.queue(company.id, DataType.BANKING_TRANSACTIONS, now, company.connections[0].id)


def test_what_runs_is_not_queued_again_and_the_refusal_names_it(settings: Settings) -> None:
    backend = empty_backend(settings)
    company = backend.add_company([XERO], NOON)
    now = NOON + MINUTE
    dataset = backend.queue(company.id, DataType.INVOICES, now)

    with pytest.raises(DatasetAlreadyInProgressError) as refusal:
        backend.queue(company.id, DataType.INVOICES, now)

    assert str(refusal.value) == (
        f"DatasetAlreadyInProgressException: Cannot queue invoices sync for {company.id}"
        f" as previous sync {dataset.id} is still in progress"
    )
    assert refusal.value.dataset_id == dataset.id
    backend.queue(company.id, DataType.INVOICES, now + MINUTE)


def test_a_type_that_no_platform_has_is_refused_by_name(settings: Settings) -> None:
    backend = empty_backend(settings)
    company = backend.add_company([XERO, PLAID], NOON)

    with pytest.raises(NotSupportedByPlatformError, match=r"^Datatype \[commerce-orders\] not supported"):
        backend.queue(company.id, DataType.COMMERCE_ORDERS, NOON)


def test_queueing_all_takes_the_types_fetched_on_first_link_of_linked_connections(settings: Settings) -> None:
    backend = empty_backend(settings)
    company = backend.add_company([XERO, PLAID], NOON)
    now = NOON + MINUTE
    backend.set_connection_status(company.id, company.connections[0].id, ConnectionStatus.DEAUTHORIZED, now)

    backend.queue_all(company.id, now)
    backend.queue_all(company.id, now)

    running = {d.data_type for d in backend.history(company.id, now) if d.is_running}
    assert running == set(PLAID.data_types) & FETCH_ON_FIRST_LINK


def test_the_first_read_is_initial_and_says_that_nothing_changed(settings: Settings) -> None:
    backend = empty_backend(settings.model_copy(update={"changes_per_day": 1e9, "changes_spread": 0}))
    company = backend.add_company([XERO], NOON)
    first = reads(backend.advance(NOON + MINUTE))
    backend.queue(company.id, DataType.INVOICES, NOON + MINUTE)
    [second] = reads(backend.advance(NOON + 2 * MINUTE))

    assert all(event.initial for event in first)
    assert not any(read.records_modified for event in first for read in event.reads)
    assert second.event_type == "read.completed"
    assert second.reads[0].records_modified


def test_reads_find_changes_as_often_as_records_change(settings: Settings) -> None:
    backend = empty_backend(settings.model_copy(update={"changes_per_day": 24, "changes_spread": 0}))
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
    backend = empty_backend(settings.model_copy(update={"read_completed_within": timedelta(hours=1)}))
    company = backend.add_company([XERO, PLAID], NOON)

    [event] = reads(backend.advance(NOON + MINUTE))

    assert event.company.id == company.id
    assert len(event.reads) == len(backend.history(company.id, NOON + MINUTE))


def test_a_sync_that_fails_first_succeeds_the_next_time(settings: Settings) -> None:
    backend = empty_backend(settings.model_copy(update={"fails_first": 1}))
    company = backend.add_company([XERO], NOON)
    [failed] = [d for d in backend.history(company.id, NOON + MINUTE) if d.data_type is DataType.INVOICES]
    backend.queue(company.id, DataType.INVOICES, NOON + MINUTE)

    status = backend.data_status(company.id, NOON + 2 * MINUTE)[DataType.INVOICES]

    assert failed.status is not DatasetStatus.COMPLETE
    assert status is not None
    assert status.current_status is DatasetStatus.COMPLETE


def test_a_deauthorized_connection_ends_in_auth_error_until_it_is_linked_again(settings: Settings) -> None:
    backend = empty_backend(settings)
    company = backend.add_company([XERO], NOON)
    backend.advance(NOON + MINUTE)
    [connection] = company.connections
    backend.set_connection_status(company.id, connection.id, ConnectionStatus.DEAUTHORIZED, NOON + MINUTE)
    refused = backend.queue(company.id, DataType.INVOICES, NOON + MINUTE)
    events = backend.advance(NOON + 2 * MINUTE)
    linked = backend.set_connection_status(company.id, connection.id, ConnectionStatus.LINKED, NOON + 2 * MINUTE)
    read = backend.queue(company.id, DataType.INVOICES, NOON + 2 * MINUTE)
    events += backend.advance(NOON + 3 * MINUTE)

    assert backend.dataset(company.id, refused.id, NOON + 3 * MINUTE).status is DatasetStatus.AUTH_ERROR
    assert backend.dataset(company.id, read.id, NOON + 3 * MINUTE).status is DatasetStatus.COMPLETE
    assert linked.error is None
    assert [event.event_type for event in events] == [
        "connection.disconnected",
        "read.completed",
        "connection.reconnected",
        "read.completed",
    ]


def test_disconnecting_ends_what_runs(settings: Settings) -> None:
    backend = empty_backend(settings)
    company = backend.add_company([XERO], NOON)
    [connection] = company.connections

    backend.set_connection_status(company.id, connection.id, ConnectionStatus.UNLINKED, NOON)

    assert {d.status for d in backend.history(company.id, NOON)} == {DatasetStatus.AUTH_ERROR}
    with pytest.raises(NoLinkedConnectionError):
        backend.queue(company.id, DataType.INVOICES, NOON)


def test_an_authorization_that_lapses_disconnects_the_connection(settings: Settings) -> None:
    backend = empty_backend(settings.model_copy(update={"authorization_lapses": 1}))
    company = backend.add_company([XERO], NOON)

    events = backend.advance(NOON + MINUTE)

    assert backend.company(company.id).connections[0].status is ConnectionStatus.DEAUTHORIZED
    assert backend.active_companies == 0
    assert sum(event.event_type == "connection.disconnected" for event in events) == 1


def test_missing_permissions_come_with_a_new_link(settings: Settings) -> None:
    backend = CodatBackend(settings.model_copy(update={"companies": 1, "permissions_error": 1}), NOON)
    [company] = backend.companies()
    xero = company.connections[0].id
    before = backend.queue(company.id, DataType.INVOICES, NOON)
    backend.advance(NOON + MINUTE)

    backend.set_connection_status(company.id, xero, ConnectionStatus.LINKED, NOON + MINUTE)
    after = backend.queue(company.id, DataType.INVOICES, NOON + MINUTE)

    now = NOON + 2 * MINUTE
    assert backend.dataset(company.id, before.id, now).status is DatasetStatus.PERMISSIONS_ERROR
    assert backend.dataset(company.id, after.id, now).status is DatasetStatus.COMPLETE


def test_an_on_premise_sync_stays_queued_until_its_machine_is_online(settings: Settings) -> None:
    backend = empty_backend(settings)
    company = backend.add_company([QUICKBOOKS_DESKTOP], NOON)
    [connection] = company.connections
    backend.advance(NOON + MINUTE)
    backend.set_machine_online(company.id, connection.id, False, NOON + MINUTE)
    dataset = backend.queue(company.id, DataType.INVOICES, NOON + MINUTE)

    three_days_later = NOON + timedelta(days=3)
    waiting = backend.dataset(company.id, dataset.id, three_days_later).status
    backend.set_machine_online(company.id, connection.id, True, three_days_later)

    assert waiting is DatasetStatus.QUEUED
    ended = backend.dataset(company.id, dataset.id, three_days_later + MINUTE)
    assert ended.status is DatasetStatus.COMPLETE


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


def test_a_new_company_is_told_of_and_read_and_a_deleted_one_is_gone(settings: Settings) -> None:
    backend = empty_backend(settings)
    company = backend.add_company([XERO], NOON)
    created = backend.advance(NOON)
    backend.delete_company(company.id, NOON)
    deleted = backend.advance(NOON + MINUTE)

    assert [event.event_type for event in created] == ["company.created", "connection.created", "connection.connected"]
    assert [event.event_type for event in deleted] == ["company.deleted"]
    assert isinstance(deleted[0], CompanyEvent)
    with pytest.raises(CompanyNotFoundError):
        backend.data_status(company.id, NOON + MINUTE)


def test_a_new_connection_is_read_once_it_is_linked_and_a_deleted_one_is_gone(settings: Settings) -> None:
    backend = empty_backend(settings)
    company = backend.add_company([XERO], NOON)
    backend.advance(NOON + MINUTE)
    now = NOON + MINUTE
    plaid = backend.add_connection(company.id, PLAID, now)
    backend.set_connection_status(company.id, plaid.id, ConnectionStatus.PENDING_AUTH, now)
    backend.set_connection_status(company.id, plaid.id, ConnectionStatus.LINKED, now)
    backend.delete_connection(company.id, plaid.id, now)

    events = backend.advance(now)

    told = [event.event_type for event in events if isinstance(event, ConnectionEvent)]
    assert told == ["connection.created", "connection.failed", "connection.connected", "connection.deleted"]
    assert {read.status for event in reads(events) for read in event.reads} == {DatasetStatus.CANCELLED}
    assert [connection.platform for connection in backend.company(company.id).connections] == [XERO]


def test_nothing_ever_runs_twice_at_once_whatever_is_asked(settings: Settings) -> None:
    random = Random(3)
    backend = CodatBackend(settings.model_copy(update={"fails_later": 0.2, "authorization_lapses": 0.01}), NOON)
    now = NOON
    for _ in range(1000):
        now += timedelta(milliseconds=random.uniform(0, 20))
        _something(backend, now, random)
        running = Counter(
            (dataset.connection_id, dataset.data_type)
            for company in backend.companies()
            for dataset in backend.history(company.id, now)
            if dataset.is_running
        )
        assert set(running.values()) <= {1}


def _something(backend: CodatBackend, now: datetime, random: Random) -> None:
    company = random.choice(backend.companies())
    connection = random.choice(company.connections)
    actions: list[Callable[[], object]] = [
        lambda: backend.queue(company.id, random.choice(connection.platform.data_types), now),
        lambda: backend.queue_all(company.id, now),
        lambda: backend.set_connection_status(company.id, connection.id, random.choice(list(ConnectionStatus)), now),
        lambda: backend.set_machine_online(company.id, connection.id, random.random() < 0.5, now),
    ]
    try:
        random.choice(actions)()
    except (DatasetAlreadyInProgressError, NoLinkedConnectionError):
        return


def test_the_number_of_active_companies_is_that_of_companies_with_a_link(settings: Settings) -> None:
    random = Random(5)
    backend = CodatBackend(settings, NOON)
    for second in range(200):
        now = NOON + timedelta(seconds=second)
        _something(backend, now, random)

    assert backend.active_companies == sum(company.is_active for company in backend.companies())


def test_a_quarter_of_a_day_of_500_companies_takes_seconds(settings: Settings) -> None:
    started = time.monotonic()
    backend = CodatBackend(settings.model_copy(update={"companies": 500}), NOON)
    syncs = 0
    for hour in range(6):
        now = NOON + timedelta(hours=hour)
        for company in backend.companies():
            backend.queue_all(company.id, now)
        syncs += sum(len(event.reads) for event in reads(backend.advance(now + MINUTE)))
    print(f"{syncs} syncs in {time.monotonic() - started:.1f} s")

    assert syncs > 20_000


def test_the_truth_says_what_can_become_fresh(settings: Settings) -> None:
    backend = CodatBackend(Settings(), NOON)
    before = {key(truth): truth.can_become_fresh for truth in backend.truth(NOON)}
    for truth in list(backend.truth(NOON)):
        try:
            backend.queue(truth.company.id, truth.data_type, NOON, truth.connection.id)
        except DatasetAlreadyInProgressError:
            continue
    for truth in list(backend.truth(NOON + MINUTE)):
        if truth.latest is not None and not truth.latest.is_running:
            backend.queue(truth.company.id, truth.data_type, NOON + MINUTE, truth.connection.id)

    after = {
        key(truth): truth.latest is not None and truth.latest.status is DatasetStatus.COMPLETE
        for truth in backend.truth(NOON + 2 * MINUTE)
    }
    assert after == before


def key(truth: Truth) -> tuple[str, DataType]:
    return truth.connection.id, truth.data_type
