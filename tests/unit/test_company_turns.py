"""The turns of companies of which some hang, with a Codat of the test's choice."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import httpx
import pytest

from estimate.memory_dynamodb import tables_in_memory
from freshness.app.company_turns import AT_FIRST, CompanyTurn, CompanyTurns
from freshness.app.tick import Failures
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.metrics import Counts
from freshness.codat.client import Codat
from freshness.codat.errors import CodatError
from freshness.domain.companies.company import Company
from simulate.clock import SimulatedLoop, simulate
from tests.builders import SECOND, a_policy
from tests.services import services_of

POLICY = a_policy("6 hours")
MANY = 40


class World:
    """Companies, of which some hang, and turns in which Codat is asked about each once."""

    def __init__(self, loop: SimulatedLoop, tables: Tables | None = None, *, was_down: bool = False) -> None:
        self.loop = loop
        self.tables = tables or tables_in_memory()
        self.hangs: Callable[[str], bool] = lambda _: False
        self.at_once = self.most_hanging_at_once = 0
        self.answered_at: dict[str, timedelta] = {}
        self.begun_at = loop.clock()
        http = httpx.AsyncClient(base_url="http://codat", transport=httpx.MockTransport(self._respond))
        self.codat = Codat(http, "key", clock=loop.clock, was_down=was_down)
        self.turns = CompanyTurns(
            services=services_of(self.tables, POLICY, clock=loop.clock),
            codat=self.codat,
            failures=Failures(Counts()),
            should_continue=lambda: not self.codat.is_down,
        )

    async def _respond(self, request: httpx.Request) -> httpx.Response:
        company_id = request.url.path.split("/")[2]
        if self.hangs(company_id):
            self.at_once += 1
            self.most_hanging_at_once = max(self.most_hanging_at_once, self.at_once)
            await asyncio.sleep(10)
            self.at_once -= 1
            raise httpx.ReadTimeout("no response")
        await asyncio.sleep(1)
        self.answered_at.setdefault(company_id, self.loop.clock() - self.begun_at)
        return httpx.Response(200, json={})

    def add(self, name: str, *, hung_before: bool = False) -> CompanyTurn:
        company = Company(company_id=name, unanswered_at=self.loop.clock() if hung_before else None)
        return CompanyTurn(self.tables.companies.put(company), partial(self._ask, name))

    async def _ask(self, name: str) -> None:
        try:
            await self.codat.data_status(name)
        except CodatError:
            return

    def company(self, name: str) -> Company:
        company = self.tables.companies.get(name)
        assert company
        return company


def test_companies_that_hang_take_no_more_than_two_turns_at_a_time() -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        world = World(loop)
        world.hangs = lambda name: name.startswith("hangs")
        hanging = [world.add(f"hangs {number}", hung_before=True) for number in range(MANY)]
        ready = [world.add(f"ready {number}") for number in range(5)]
        assert await world.turns.take_all([*hanging, *ready])
        assert world.most_hanging_at_once == AT_FIRST
        assert set(world.answered_at) == {turn.company.company_id for turn in ready}
        assert max(world.answered_at.values()) < 2 * SECOND
        assert loop.clock() - world.begun_at < 12 * SECOND

    simulate(scenario)


@pytest.mark.parametrize("was_down", [True, False], ids=["after an outage", "each had hung"])
def test_the_first_company_that_responds_brings_the_others(was_down: bool) -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        world = World(loop, was_down=was_down)
        turns = [world.add(str(number), hung_before=not was_down) for number in range(MANY)]
        await world.turns.take_all(turns)
        assert len(world.answered_at) == MANY
        assert loop.clock() - world.begun_at < 8 * SECOND
        assert not any(world.company(str(number)).unanswered_at for number in range(MANY))

    simulate(scenario)


def test_companies_that_hang_are_tried_in_turn() -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        tables = World(loop).tables
        for number in range(6):
            World(loop, tables).add(str(number), hung_before=True)
            await asyncio.sleep(1)
        tried: list[set[str]] = []
        for _ in range(4):
            tick = World(loop, tables)
            tick.hangs = lambda _: True
            before = {str(number): tick.company(str(number)) for number in range(6)}
            await tick.turns.take_all(
                CompanyTurn(company, partial(tick._ask, name)) for name, company in before.items()
            )
            tried.append({name for name in before if tick.company(name) != before[name]})
        assert tried == [{"0", "1"}, {"2", "3"}, {"4", "5"}, {"0", "1"}]

    simulate(scenario)


def test_a_company_that_hangs_is_remembered_until_it_responds() -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        world = World(loop)
        world.hangs = lambda name: name == "hangs"
        turn = world.add("hangs")
        await world.turns.take_all([turn, world.add("ready")])
        assert world.company("hangs").unanswered_at == loop.clock()
        assert world.company("ready").unanswered_at is None
        assert world.turns.is_doubtful(turn.company)

    simulate(scenario)
