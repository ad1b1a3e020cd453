"""Where the fleet of a simulation comes from: the sandbox's made-up companies, or what `freshness export` wrote."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from pydantic import BaseModel, TypeAdapter, ValidationError

from freshness.domain.change_rate import change_rate
from freshness.domain.company import Company, Connection, ConnectionStatus
from freshness.domain.feed import Feed, State
from freshness.domain.sync_history import Sync, SyncHistory
from freshness.policy.policy import Policy
from local.codat_sandbox.settings import Settings
from local.codat_sandbox.world import World as Sandbox
from simulate.world import Measured, SimulatedFeed

SHORTEST_SYNC, LONGEST_SYNC = timedelta(seconds=5), timedelta(seconds=25)


class FleetError(ValueError):
    """The file with the fleet cannot be used. Its text says where and why."""


class ExportedRow(BaseModel):
    """What is read of a line of an export; the rest passes by."""

    company_id: str
    company_name: str
    data_type: str
    connection_id: str
    platform: str
    source_type: str
    state: str
    tags: dict[str, str]
    succeeded_at: datetime | None
    syncs: tuple[Sync, ...]


def made_up(companies: int, changes_per_day: float, seed: int, start: datetime) -> list[SimulatedFeed]:
    """The feeds of so many of the sandbox's companies that can be refreshed; `changes_per_day` is their median."""
    sandbox = Sandbox(
        Settings(companies=companies, changes_per_day=changes_per_day, seed=seed, never_synced=0.05), start
    )
    random = Random(seed)
    known: dict[str, Company] = {}
    simulated_feeds = []
    for truth in sandbox.truth(start):
        if not truth.can_become_fresh:
            continue
        company = known.setdefault(
            truth.company.id,
            Company(
                company_id=truth.company.id,
                name=truth.company.name,
                tags=truth.company.tags,
                connections={
                    each.id: _connection(each.id, each.platform.name, each.platform.source_type, start)
                    for each in truth.company.connections
                },
            ),
        )
        feed = Feed(
            company_id=company.company_id,
            data_type=truth.data_type,
            connection_id=truth.connection.id,
            succeeded_at=truth.latest_successful.completed if truth.latest_successful else None,
        )
        simulated_feeds.append(_simulated(feed, company, truth.changes_per_day, random, start))
    return simulated_feeds


def exported(path: Path, policy: Policy, seed: int) -> tuple[list[SimulatedFeed], datetime]:
    """The feeds of an export that can be refreshed, and its time. The rate learned of each is taken as true.

    Raises:
        FleetError: the file is missing, or is not what `freshness export` writes.
    """
    lines = list(_exported_feeds(path))
    start = max((told.succeeded_at for told in lines if told.succeeded_at), default=None)
    if start is None:
        raise FleetError(f"{path}: expected at least one data type that was synced before")
    companies: dict[str, Company] = {}
    for told in lines:
        company = companies.setdefault(
            told.company_id, Company(company_id=told.company_id, name=told.company_name, tags=told.tags)
        )
        company.connections[told.connection_id] = _connection(
            told.connection_id, told.platform, told.source_type, start
        )
    random = Random(seed)
    simulated_feeds = []
    for told in lines:
        company = companies[told.company_id]
        feed = Feed(
            company_id=told.company_id,
            data_type=told.data_type,
            connection_id=told.connection_id,
            succeeded_at=told.succeeded_at,
            syncs=SyncHistory.of(told.syncs),
        )
        promise = policy.promise(feed.data_type, company, company.connections[feed.connection_id])
        rate = change_rate(feed.syncs.observations, promise.expected_changes_per_day)
        simulated_feeds.append(_simulated(feed, company, rate, random, start))
    return simulated_feeds, start


def _exported_feeds(path: Path) -> Iterator[ExportedRow]:
    adapter = TypeAdapter(ExportedRow)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FleetError(f"{path}: expected what `freshness export` writes, but: {error}") from error
    for number, line in enumerate(lines, start=1):
        try:
            feed = adapter.validate_json(line)
        except ValidationError as error:
            mistake = error.errors()[0]
            where = ".".join(str(part) for part in mistake["loc"])
            raise FleetError(
                f"{path}:{number}: expected a line that `freshness export` wrote, but {where}: {mistake['msg']}"
            ) from error
        if feed.state not in (State.BLOCKED, State.UNSUPPORTED):
            yield feed


def _connection(connection_id: str, platform: str, source_type: str, start: datetime) -> Connection:
    return Connection(
        connection_id=connection_id,
        platform=platform,
        source_type=source_type,
        status=ConnectionStatus.LINKED,
        status_at=start - timedelta(days=100),
    )


def _simulated(feed: Feed, company: Company, rate: float, random: Random, start: datetime) -> SimulatedFeed:
    return SimulatedFeed(
        feed=feed,
        company=company,
        connection=company.connections[feed.connection_id],
        changes_per_day=rate,
        sync_time=SHORTEST_SYNC + random.random() * (LONGEST_SYNC - SHORTEST_SYNC),
        measured=Measured(since=start),
    )
