"""Several ticks that call Codat at the same time, paced together by what is in `control`."""

import asyncio
from datetime import datetime, timedelta

import httpx
import pytest

from freshness.aws.dynamodb.tables import Tables
from freshness.codat.client import Codat
from freshness.codat.errors import NotFound, RateLimited
from freshness.codat.rate_limiter import RateLimiter
from simulate.clock import START, SimulatedLoop, simulate
from tests.builders import MINUTE


async def _call_for(codat: Codat, until: datetime, loop: SimulatedLoop, number: int) -> None:
    while loop.clock() < until:
        await codat.dataset(f"company-{number}", "dataset")


class Slow:
    """A Codat that answers in 100 ms and notes when it was asked."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.asked_at: list[datetime] = []
        self.headers: dict[str, str] = {}
        self.status = 200

    async def __call__(self, _request: httpx.Request) -> httpx.Response:
        self.asked_at.append(self.loop.clock())
        await asyncio.sleep(0.1)
        operation = {
            "id": "dataset",
            "companyId": "c",
            "connectionId": "c",
            "dataType": "invoices",
            "status": "Complete",
            "requested": "2026-11-23T09:00:00",
        }
        return httpx.Response(self.status, json=operation, headers=self.headers)

    def client(self, tables: Tables, until: datetime, calls_per_minute: int = 600, *, on_demand: bool = False) -> Codat:
        http = httpx.AsyncClient(base_url="http://codat", transport=httpx.MockTransport(self))
        limiter = RateLimiter(
            tables.control,
            clock=self.loop.clock,
            until=until,
            calls_per_minute=calls_per_minute,
            on_demand=on_demand,
        )
        return Codat(http, "key", clock=self.loop.clock, limiter=limiter)


def test_callers_who_wait_take_no_more_slots_than_they_use(tables: Tables) -> None:
    async def run(loop: SimulatedLoop) -> list[datetime]:
        slow = Slow(loop)
        clients = [slow.client(tables, START + MINUTE, on_demand=True) for _ in range(10)]
        await asyncio.gather(*(codat.dataset(f"company-{at}", "dataset") for at, codat in enumerate(clients)))
        return slow.asked_at

    asked_at = simulate(run)

    assert len(asked_at) == 10
    assert max(asked_at) - min(asked_at) <= timedelta(seconds=1)


@pytest.mark.parametrize("functions", [1, 3])
def test_functions_together_keep_below_the_limit_and_make_use_of_it(tables: Tables, functions: int) -> None:
    until = START + 2 * MINUTE

    async def run(loop: SimulatedLoop) -> list[datetime]:
        slow = Slow(loop)
        clients = [slow.client(tables, until) for _ in range(functions)]
        async with asyncio.TaskGroup() as calls:
            for number in range(10):
                for codat in clients:
                    calls.create_task(_call_for(codat, until, loop, number))
        return slow.asked_at

    asked_at = simulate(run)
    busiest = max(sum(at <= other < at + MINUTE for other in asked_at) for at in asked_at)
    assert busiest <= 600
    assert sum(START + MINUTE <= at < until for at in asked_at) >= 0.95 * 600
    assert tables.control.api_limits().version <= len(asked_at) / 9


def test_all_functions_keep_to_a_stop_that_one_received(tables: Tables) -> None:
    async def run(loop: SimulatedLoop) -> None:
        slow = Slow(loop)
        first, second = (slow.client(tables, START + MINUTE) for _ in range(2))
        await first.dataset("company", "dataset")
        await second.dataset("company", "dataset")
        slow.status, slow.headers = 429, {"Retry-After": "3600"}
        with pytest.raises(RateLimited):
            await first.queue("company", "invoices", "connection")
        await asyncio.sleep(2)
        with pytest.raises(RateLimited) as refused:
            await second.dataset("company", "dataset")
        assert refused.value.until - START >= timedelta(hours=1)
        assert len(slow.asked_at) == 3

    simulate(run)


def test_the_quota_in_the_headers_is_shared_by_all_functions(tables: Tables) -> None:
    async def run(loop: SimulatedLoop) -> None:
        slow = Slow(loop)
        slow.headers = {
            "X-Rate-Limit-Limit": "5000",
            "X-Rate-Limit-Remaining": "0",
            "Date": "Mon, 23 Nov 2026 09:00:00 GMT",
        }
        limiter = RateLimiter(tables.control, clock=loop.clock, until=START + MINUTE, calls_per_minute=600)
        http = httpx.AsyncClient(base_url="http://codat", transport=httpx.MockTransport(slow))
        await Codat(http, "key", clock=loop.clock, limiter=limiter).dataset("company", "dataset")
        await limiter.finish()
        with pytest.raises(RateLimited):
            await slow.client(tables, START + MINUTE).dataset("company", "dataset")

    simulate(run)
    limits = tables.control.api_limits()
    assert (limits.daily_quota, limits.remaining) == (5000, 0)
    assert limits.stopped_before(START) == START + timedelta(hours=15)


def test_no_more_than_ten_calls_go_to_one_company_at_once_though_two_functions_and_a_person_call(
    tables: Tables,
) -> None:
    max_concurrency = [0, 0]

    async def answer(request: httpx.Request) -> httpx.Response:
        max_concurrency[0] += 1
        max_concurrency[1] = max(max_concurrency)
        await asyncio.sleep(5)
        max_concurrency[0] -= 1
        return httpx.Response(404)

    async def run(loop: SimulatedLoop) -> None:
        async with asyncio.TaskGroup() as calls:
            for _ in range(2):
                http = httpx.AsyncClient(base_url="http://codat", transport=httpx.MockTransport(answer))
                codat = Codat(http, "key", clock=loop.clock)
                for data_type in range(20):
                    calls.create_task(_ignored(codat, str(data_type)))

    simulate(run)
    assert max_concurrency[1] == 8


async def _ignored(codat: Codat, data_type: str) -> None:
    with pytest.raises(NotFound):
        await codat.queue("company", data_type, "connection")
