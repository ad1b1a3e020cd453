"""Checking and queueing against the sandbox and real tables, with no webhook at all."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from codat_sandbox.model import RequestedBy, Truth
from codat_sandbox.platforms import DataType
from codat_sandbox.server import RunningSandbox, running_sandbox
from codat_sandbox.settings import Settings
from codat_sandbox.stubs import StubResponse
from freshness.app.checking.check_freshness import check_freshness
from freshness.app.queue_refreshes import queue_refreshes
from freshness.app.services import Services
from freshness.app.tick import LISTING, TIME_TO_FINISH, Run, run_tick
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.metrics import Metric
from freshness.domain.companies.company import Company
from freshness.domain.companies.company_facts import CheckNeeded, CompanyPaused
from freshness.domain.companies.pause import Pause
from freshness.domain.datasets.dataset import Trigger, has_ended
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import State
from freshness.domain.times import BEGINNING
from freshness.policy.policy import Policy
from tests.integration.deployed import default_bus
from tests.services import codat_at, services_of

POLICY = Policy.model_validate(
    {"default": {"fresh_within": "1 day"}, "data_types": {"invoices": {"fresh_within": "1 hour"}}}
)
SETTINGS = Settings(
    companies=4, sync_time_min=timedelta(0), sync_time_max=timedelta(0), needs_relink=0.25, machine_offline=0
)


class Loop:
    """The scheduled functions, run by hand, on a clock that can be put forward."""

    def __init__(self, tables: Tables, sandbox: RunningSandbox) -> None:
        self.tables = tables
        self.sandbox = sandbox
        self.ahead = timedelta(0)
        self.policy = POLICY

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def services(self, measured: dict[Metric, int] | None = None, *, dry_run: bool = False) -> Services:
        return services_of(
            self.tables,
            self.policy,
            bus=default_bus(),
            clock=self.clock,
            codat=codat_at(self.sandbox.base_url, self.sandbox.api_key),
            dry_run=dry_run,
            measured=measured,
        )

    async def check(self, *, lasting: timedelta = timedelta(minutes=1)) -> Counter[Metric]:
        self.tables.control.put_done(LISTING, BEGINNING)
        return await self._tick(check_freshness, lasting=lasting)

    async def queue(self, *, dry_run: bool = False) -> Counter[Metric]:
        return await self._tick(queue_refreshes, dry_run=dry_run)

    async def _tick(
        self,
        tick: Callable[[Services, Run], Awaitable[None]],
        *,
        lasting: timedelta = timedelta(minutes=1),
        dry_run: bool = False,
    ) -> Counter[Metric]:
        """Run a tick as its handler does, and return what it counted."""
        measured: dict[Metric, int] = {}
        services = self.services(measured, dry_run=dry_run)
        await run_tick(services, tick, uuid4().hex, lasting + TIME_TO_FINISH)
        return Counter(measured)

    def prescribe(self, answer: StubResponse) -> None:
        self.sandbox.do(lambda sandbox: sandbox.stubs.add(answer))

    def companies(self) -> list[Company]:
        ids = [company.id for company in self.sandbox.do(lambda sandbox: sandbox.backend.companies())]
        return list(self.tables.companies.get_many(ids).values())

    def feeds(self) -> list[tuple[Feed, State]]:
        return [
            (feed, feed.state(self.policy.promise(feed.data_type, company, connection), connection, self.clock()))
            for company in self.companies()
            for feed in self.tables.feeds.of_company(company.company_id)
            for connection in (company.connections[feed.connection_id],)
        ]

    def truths(self) -> list[Truth]:
        return self.sandbox.do(lambda sandbox: list(sandbox.backend.truth(sandbox.now())))


@pytest.fixture
def loop(tables: Tables) -> Iterator[Loop]:
    with running_sandbox(SETTINGS) as sandbox:
        yield Loop(tables, sandbox)


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


async def test_each_refresh_leaves_a_record_of_its_dataset_with_its_trigger_and_end(loop: Loop) -> None:
    await loop.check()
    queued = 0
    for _ in range(5):
        queued += (await loop.queue())[Metric.REFRESHES_QUEUED]
        loop.ahead += timedelta(minutes=5)

    datasets = [d for company in loop.companies() for d in loop.tables.datasets.of_company(company.company_id)]
    assert len(datasets) == queued
    for dataset in datasets:
        assert dataset.trigger is Trigger.PROMISE
        assert has_ended(dataset.state)
        assert dataset.ended_at and dataset.ended_at >= dataset.requested_at


async def test_a_tick_queues_nothing_that_is_in_flight(loop: Loop) -> None:
    await loop.check()
    assert (await loop.queue())[Metric.REFRESHES_QUEUED]

    assert (await loop.queue())[Metric.REFRESHES_QUEUED] == 0


async def test_a_dry_run_queues_nothing(loop: Loop) -> None:
    await loop.check()
    refresh = await loop.queue(dry_run=True)

    assert refresh[Metric.CODAT_CALLS] == 0
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

    assert refresh[Metric.DATASETS_ADOPTED] == 1
    adopted = loop.tables.feeds.get(feed.company_id, feed.data_type, feed.connection_id)
    assert adopted.in_flight
    assert adopted.in_flight.dataset_id == theirs.id
    assert adopted.in_flight.trigger is Trigger.EXTERNAL


@pytest.mark.parametrize("year", ["0001", "9999"])
async def test_absurd_times_do_not_stop_the_ticks(loop: Loop, year: str) -> None:
    time = f"{year}-01-01T00:00:00Z"
    status = {"dataType": "invoices", "currentStatus": "Complete", "latestSyncId": "d", "lastSuccessfulSync": time}
    body = json.dumps({"invoices": status})
    loop.prescribe(StubResponse(path="/companies/*/dataStatus", status=200, body=body, times=SETTINGS.companies))

    check = await loop.check()
    refresh = await loop.queue()

    assert check[Metric.COMPANIES_CHECKED] == SETTINGS.companies
    assert refresh[Metric.REFRESHES_QUEUED]


async def test_a_company_that_the_key_may_not_read_does_not_keep_others_from_their_turn(loop: Loop) -> None:
    forbidden, *_ = loop.sandbox.do(lambda sandbox: sandbox.backend.companies())
    for method in ("GET", "POST"):
        path = f"/companies/{forbidden.id}/*"
        loop.prescribe(StubResponse(method=method, path=path, status=403, times=99))
    for _ in range(3):
        check = await loop.check()
        refresh = await loop.queue()
        loop.ahead += timedelta(minutes=5)

    assert not (check + refresh)[Metric.CODAT_REFUSED_ACCESS]
    can_be = {truth.company.id for truth in loop.truths() if truth.can_become_fresh}
    assert {feed.company_id for feed, state in loop.feeds() if state is State.FRESH} == can_be - {forbidden.id}
    [known] = loop.tables.companies.get_many([forbidden.id]).values()
    assert known.check_at
    assert known.check_at > loop.clock(), "polled again at once, though nothing has changed"


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", '{"id": "cut o', "[]"])
async def test_an_answer_that_does_not_parse_leaves_the_feeds_as_they_were_and_the_tick_goes_on(
    loop: Loop, body: str
) -> None:
    loop.prescribe(StubResponse(path="/companies/*/dataStatus", status=200, body=body))
    check = await loop.check()

    assert check[Metric.CHECKS_FAILED] == 1
    assert check[Metric.COMPANIES_CHECKED] == SETTINGS.companies - 1

    loop.prescribe(StubResponse(method="POST", path="/companies/*/data/queue/*", status=200, body=body))
    refresh = await loop.queue()

    assert refresh[Metric.QUEUEING_FAILED] == 1
    assert refresh[Metric.REFRESHES_QUEUED]


async def test_a_company_that_codat_answers_404_for_twice_is_deleted(loop: Loop) -> None:
    await loop.check()
    deleted = loop.companies()[0].company_id
    loop.sandbox.do(lambda sandbox: sandbox.backend.delete_company(deleted, sandbox.now()))
    await loop.queue()

    await loop.check()
    loop.ahead += timedelta(minutes=15)
    await loop.check()

    company = loop.tables.companies.get(deleted)
    assert company
    assert company.deleted_at
    assert loop.tables.feeds.of_company(deleted) == []
    assert not (await loop.queue())[Metric.CODAT_REFUSED_ACCESS]


async def test_one_404_alone_deletes_neither_a_company_nor_its_pause(loop: Loop) -> None:
    await loop.check()
    [company, *_] = loop.companies()
    loop.services().recorder.record_company(company, CompanyPaused(pause=Pause()))
    loop.services().recorder.record_company(company, CheckNeeded())
    loop.prescribe(StubResponse(path=f"/companies/{company.company_id}/dataStatus", status=404))

    await loop.check()
    loop.ahead += timedelta(minutes=15)
    await loop.check()

    known = loop.tables.companies.get(company.company_id)
    assert known
    assert known.pause
    assert known.deleted_at is None
    assert loop.tables.feeds.of_company(company.company_id)


async def test_a_company_that_comes_later_is_noticed(loop: Loop) -> None:
    await loop.check()
    known = len(loop.companies())
    loop.sandbox.do(lambda sandbox: sandbox.reset(SETTINGS.model_copy(update={"companies": known + 1})))

    check = await loop.check()

    assert check[Metric.COMPANIES_CHECKED] >= 1
    assert len(loop.companies()) == known + 1


async def test_a_tick_whose_time_is_up_leaves_the_rest_of_the_list_to_the_next(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freshness.app.checking.list_companies.PAGE", 2)

    await loop.check(lasting=timedelta(0))
    assert loop.companies() == []
    await loop.check()

    assert len(loop.companies()) == SETTINGS.companies


async def test_a_company_with_recent_facts_is_not_polled(loop: Loop) -> None:
    await loop.check()

    assert (await loop.check())[Metric.COMPANIES_CHECKED] == 0


async def test_a_wrong_key_stops_the_tick_at_once(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.prescribe(StubResponse(path="/companies/*/dataStatus", status=401, body='{"correlationId": "c-1"}', times=9))

    check = await loop.check()

    assert check[Metric.CODAT_CALLS] < 2 + SETTINGS.companies + 1
    assert check[Metric.CODAT_REFUSED_ACCESS]
    assert any("c-1" in str(vars(record).get("error")) for record in caplog.records)
