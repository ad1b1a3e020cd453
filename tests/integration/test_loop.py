"""Checking and queueing against the sandbox and real tables, with no webhook at all."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import boto3
import httpx
import pytest

from freshness.app.check_freshness import Check
from freshness.app.queue_refreshes import Refresh
from freshness.aws.event_bus import Bus
from freshness.aws.metrics import Metric
from freshness.aws.store import SHARDS, Store
from freshness.codat.client import Codat
from freshness.domain.company import Company
from freshness.domain.dataset import Trigger, has_ended
from freshness.domain.feed import Feed, State
from freshness.policy.policy import Policy
from local.codat_sandbox.model import RequestedBy, Truth
from local.codat_sandbox.platforms import DataType
from local.codat_sandbox.server import RunningSandbox, running_sandbox
from local.codat_sandbox.settings import Settings
from local.codat_sandbox.stubs import StubResponse

POLICY = Policy.model_validate(
    {"default": {"fresh_within": "1 day"}, "data_types": {"invoices": {"fresh_within": "1 hour"}}}
)
SETTINGS = Settings(
    companies=4, sync_time_min=timedelta(0), sync_time_max=timedelta(0), needs_relink=0.25, machine_offline=0
)


class Loop:
    """The scheduled functions, run by hand, on a clock that can be put forward."""

    def __init__(self, store: Store, sandbox: RunningSandbox) -> None:
        self.store = store
        self.sandbox = sandbox
        self.ahead = timedelta(0)
        self.policy = POLICY

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def check(self, *, listing: bool = True, lasting: timedelta = timedelta(minutes=1)) -> Check:
        async with self._http() as http:
            check = Check(
                store=self.store,
                codat=Codat(http, self.sandbox.api_key, clock=self.clock),
                bus=Bus(boto3.client("events"), "default"),
                policy=self.policy,
                clock=self.clock,
                until=self.clock() + lasting,
            )
            if listing:
                await check.list_companies()
            await check.check_due()
        return check

    async def queue(self, *, dry_run: bool = False, shards: tuple[str, ...] = SHARDS) -> Refresh:
        async with self._http() as http:
            refresh = Refresh(
                store=self.store,
                codat=Codat(http, self.sandbox.api_key, clock=self.clock),
                bus=Bus(boto3.client("events"), "default"),
                policy=self.policy,
                clock=self.clock,
                until=self.clock() + timedelta(minutes=1),
                dry_run=dry_run,
                shards=shards,
            )
            await refresh.queue_due()
        return refresh

    def prescribe(self, answer: StubResponse) -> None:
        self.sandbox.do(lambda sandbox: sandbox.stubs.add(answer))

    def companies(self) -> list[Company]:
        ids = [company.id for company in self.sandbox.do(lambda sandbox: sandbox.backend.companies())]
        return list(self.store.companies(ids).values())

    def feeds(self) -> list[tuple[Feed, State]]:
        return [
            (feed, feed.state(self.policy.promise(feed.data_type, company, connection), connection, self.clock()))
            for company in self.companies()
            for feed in self.store.feeds(company.company_id)
            for connection in (company.connections[feed.connection_id],)
        ]

    def truths(self) -> list[Truth]:
        return self.sandbox.do(lambda sandbox: list(sandbox.backend.truth(sandbox.now())))

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.sandbox.base_url)


@pytest.fixture
def loop(store: Store) -> Iterator[Loop]:
    with running_sandbox(SETTINGS) as sandbox:
        yield Loop(store, sandbox)


async def test_every_feed_that_can_be_fresh_becomes_fresh(loop: Loop) -> None:
    for _ in range(4):
        await loop.check()
        await loop.queue()
        loop.ahead += timedelta(minutes=5)
    await loop.check()

    truths = {
        (truth.company.id, str(truth.data_type), truth.connection.id): truth.can_become_fresh for truth in loop.truths()
    }
    assert truths
    for feed, state in loop.feeds():
        if truths.get((feed.company_id, feed.data_type, feed.connection_id)):
            assert state is State.FRESH, feed
        else:
            assert state in (State.BLOCKED, State.UNSUPPORTED), feed


async def test_each_refresh_leaves_its_dataset_with_who_asked_and_the_states_seen(loop: Loop) -> None:
    await loop.check()
    queued = (await loop.queue()).tally[Metric.REFRESHES_QUEUED]
    loop.ahead += timedelta(minutes=5)
    queued += (await loop.queue()).tally[Metric.REFRESHES_QUEUED]
    await loop.check()

    datasets = [dataset for company in loop.companies() for dataset in loop.store.datasets(company.company_id)]
    assert len(datasets) == queued
    for dataset in datasets:
        assert dataset.trigger is Trigger.PROMISE
        assert has_ended(dataset.state)
        assert len(dataset.states) == 2
        assert dataset.ended_at


async def test_a_tick_queues_nothing_that_is_in_flight(loop: Loop) -> None:
    await loop.check()
    assert (await loop.queue()).tally[Metric.REFRESHES_QUEUED]

    assert (await loop.queue()).tally[Metric.REFRESHES_QUEUED] == 0


async def test_four_ticks_at_once_one_for_each_shard_queue_each_feed_once(loop: Loop) -> None:
    await loop.check()

    ticks = await asyncio.gather(*(loop.queue(shards=(shard,)) for shard in SHARDS))

    in_flight = [feed for feed, _ in loop.feeds() if feed.in_flight]
    assert sum(tick.tally[Metric.REFRESHES_QUEUED] for tick in ticks) == len(in_flight) > 0
    assert not any(tick.tally[Metric.DATASETS_ADOPTED] for tick in ticks)
    assert (await loop.queue()).tally[Metric.REFRESHES_QUEUED] == 0


async def test_a_dry_run_queues_nothing(loop: Loop) -> None:
    await loop.check()
    refresh = await loop.queue(dry_run=True)

    assert refresh.codat.calls == 0
    assert not any(feed.in_flight for feed, _ in loop.feeds())


async def test_a_dataset_that_already_runs_is_adopted(loop: Loop) -> None:
    loop.sandbox.do(
        lambda sandbox: sandbox.reset(
            SETTINGS.model_copy(update={"sync_time_max": timedelta(hours=1), "sync_time_min": timedelta(hours=1)})
        )
    )
    await loop.check()
    feed = next(feed for feed, state in loop.feeds() if state is State.STALE and feed.data_type == "invoices")
    theirs = loop.sandbox.do(
        lambda sandbox: sandbox.backend.queue(
            feed.company_id, DataType.INVOICES, sandbox.now(), requested_by=RequestedBy.PORTAL
        )
    )

    refresh = await loop.queue()

    assert refresh.tally[Metric.DATASETS_ADOPTED] == 1
    adopted = loop.store.feed(feed.company_id, feed.data_type, feed.connection_id)
    assert adopted.in_flight
    assert adopted.in_flight.dataset_id == theirs.id
    (dataset,) = [d for d in loop.store.datasets(feed.company_id) if d.dataset_id == theirs.id]
    assert dataset.trigger is Trigger.EXTERNAL


@pytest.mark.parametrize("year", ["0001", "9999"])
async def test_absurd_times_do_not_stop_the_ticks(loop: Loop, year: str) -> None:
    time = f"{year}-01-01T00:00:00Z"
    status = {"dataType": "invoices", "currentStatus": "Complete", "latestSyncId": "d", "lastSuccessfulSync": time}
    body = json.dumps({"invoices": status})
    loop.prescribe(StubResponse(path="/companies/*/dataStatus", status=200, body=body, times=SETTINGS.companies))

    check = await loop.check()
    refresh = await loop.queue()

    assert check.tally[Metric.COMPANIES_CHECKED] == SETTINGS.companies
    assert refresh.tally[Metric.REFRESHES_QUEUED]


async def test_a_company_that_the_key_may_not_read_does_not_keep_others_from_their_turn(loop: Loop) -> None:
    forbidden, *_ = loop.sandbox.do(lambda sandbox: sandbox.backend.companies())
    for method in ("GET", "POST"):
        path = f"/companies/{forbidden.id}/*"
        loop.prescribe(StubResponse(method=method, path=path, status=403, times=99))
    for _ in range(3):
        check = await loop.check()
        refresh = await loop.queue()
        loop.ahead += timedelta(minutes=5)

    assert not check.stopped_by + refresh.stopped_by
    can_be = {truth.company.id for truth in loop.truths() if truth.can_become_fresh}
    assert {feed.company_id for feed, state in loop.feeds() if state is State.FRESH} == can_be - {forbidden.id}
    [known] = loop.store.companies([forbidden.id]).values()
    assert known.check_at
    assert known.check_at > loop.clock(), "asked of again at once, though nothing has changed"


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", '{"id": "cut o', "[]"])
async def test_an_answer_that_does_not_parse_leaves_the_feeds_as_they_were_and_the_tick_goes_on(
    loop: Loop, body: str
) -> None:
    loop.prescribe(StubResponse(path="/companies/*/dataStatus", status=200, body=body))
    check = await loop.check()

    assert check.tally[Metric.CHECKS_FAILED] == 1
    assert check.tally[Metric.COMPANIES_CHECKED] == SETTINGS.companies - 1

    loop.prescribe(StubResponse(method="POST", path="/companies/*/data/queue/*", status=200, body=body))
    refresh = await loop.queue()

    assert refresh.tally[Metric.QUEUEING_FAILED] == 1
    assert refresh.tally[Metric.REFRESHES_QUEUED]


async def test_a_company_that_codat_no_longer_knows_is_forgotten(loop: Loop) -> None:
    await loop.check()
    gone = loop.companies()[0].company_id
    loop.sandbox.do(lambda sandbox: sandbox.backend.delete_company(gone, sandbox.now()))
    await loop.queue()

    await loop.check()

    company = loop.store.company(gone)
    assert company
    assert company.deleted_at
    assert loop.store.feeds(gone) == []
    assert not (await loop.queue()).stopped_by


async def test_a_company_that_comes_later_is_noticed(loop: Loop) -> None:
    await loop.check()
    known = len(loop.companies())
    loop.sandbox.do(lambda sandbox: sandbox.reset(SETTINGS.model_copy(update={"companies": known + 1})))

    check = await loop.check()

    assert check.tally[Metric.COMPANIES_CHECKED] >= 1
    assert len(loop.companies()) == known + 1


async def test_a_tick_whose_time_is_up_leaves_the_rest_of_the_list_to_the_next(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freshness.app.check_freshness.PAGE", 2)

    await loop.check(lasting=timedelta(0))
    assert loop.companies() == []
    await loop.check()

    assert len(loop.companies()) == SETTINGS.companies


async def test_a_company_heard_of_lately_is_not_checked_for_nothing(loop: Loop) -> None:
    await loop.check()

    assert (await loop.check()).tally[Metric.COMPANIES_CHECKED] == 0


async def test_a_wrong_key_stops_the_tick_at_once(loop: Loop) -> None:
    loop.prescribe(StubResponse(path="/companies/*/dataStatus", status=401, body='{"correlationId": "c-1"}', times=9))

    check = await loop.check()

    assert check.codat.calls < 1 + SETTINGS.companies + 1
    assert "c-1" in str(check.stopped_by[0])
