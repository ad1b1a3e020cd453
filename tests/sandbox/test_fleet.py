"""The companies that the sandbox starts with."""

from collections import Counter, defaultdict
from datetime import timedelta

from codat_sandbox.backend import CodatBackend
from codat_sandbox.errors import DatasetAlreadyInProgressError
from codat_sandbox.model import ConnectionStatus, DatasetStatus, Truth
from codat_sandbox.platforms import QUICKBOOKS_DESKTOP, DataType, SourceType
from codat_sandbox.settings import Settings
from tests.sandbox.conftest import DAY, HOUR, MINUTE, NOON


def test_companies_have_at_most_one_accounting_connection_and_some_have_two_of_another_source_type() -> None:
    by_kind = [
        Counter(connection.platform.source_type for connection in company.connections)
        for company in CodatBackend(Settings(companies=24), NOON).companies()
    ]

    assert max(kinds[SourceType.ACCOUNTING] for kinds in by_kind) == 1
    assert max(kinds[SourceType.BANKING] for kinds in by_kind) == 2
    assert max(kinds[SourceType.COMMERCE] for kinds in by_kind) == 2


def test_the_default_companies_have_every_obstacle_but_most_feeds_can_become_fresh() -> None:
    truths = list(CodatBackend(Settings(), NOON).truth(NOON))

    obstacles = Counter(truth.obstacle for truth in truths)
    relink = {truth.company.id for truth in truths if truth.connection.status is ConnectionStatus.DEAUTHORIZED}
    offline = {truth.connection.platform for truth in truths if not truth.connection.machine_online}
    assert obstacles[None] > 0.8 * len(truths)
    assert len(relink) == 1
    assert offline == {QUICKBOOKS_DESKTOP}
    assert obstacles["the data type is not supported"] > 0


def test_some_balance_sheets_are_recent_while_the_profit_and_loss_is_at_least_a_day_old() -> None:
    ages: dict[str, dict[str, timedelta]] = defaultdict(dict)
    for truth in CodatBackend(Settings(), NOON).truth(NOON):
        if truth.can_become_fresh and truth.latest_successful and truth.latest_successful.completed:
            ages[truth.company.id][truth.data_type] = NOON - truth.latest_successful.completed
    sheets = [
        company[DataType.BALANCE_SHEET]
        for company in ages.values()
        if company.get(DataType.BALANCE_SHEET) and company.get(DataType.PROFIT_AND_LOSS, DAY) >= DAY
    ]

    assert any(HOUR < age < 6 * DAY for age in sheets)


def test_a_data_type_that_was_never_synced_is_absent_or_null() -> None:
    backend = CodatBackend(Settings(companies=60), NOON)
    seen = Counter[str]()
    for company in backend.companies():
        statuses = backend.data_status(company.id, NOON)
        supported = {data_type for c in company.connections for data_type in c.platform.data_types}
        seen["absent"] += len(supported - statuses.keys())
        seen["null"] += sum(status is None for status in statuses.values())
        seen["failed"] += sum(
            status is not None and status.latest_sync_id is not None and status.last_successful_sync is None
            for status in statuses.values()
        )

    assert min(seen["absent"], seen["null"], seen["failed"]) > 0


def test_feeds_that_can_become_fresh_are_those_whose_refresh_completes(settings: Settings) -> None:
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


def key(truth: Truth) -> tuple[str, str]:
    return truth.connection.id, truth.data_type
