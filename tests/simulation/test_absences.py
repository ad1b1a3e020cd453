"""Lists of companies that lack what is known: a mistake of Codat's deletes nothing, and what was deleted is noticed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import httpx
import pytest

from codat_sandbox.platforms import PLAID
from codat_sandbox.stubs import StubResponse
from freshness.app.operations import Operations
from freshness.aws.dynamodb.companies import Companies
from freshness.aws.metrics import Metric
from freshness.domain.companies.company import Company, ConnectionStatus
from freshness.domain.companies.company_facts import CheckNeeded
from freshness.domain.companies.listing import Listing
from freshness.domain.feeds.feed import FeedKey
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import OPERATOR, Fuse, Simulation, reliable
from tests.builders import HOUR, MINUTE, a_policy

SETTINGS = reliable()
COMPANIES = 8
POLICY = a_policy("7 days")
Spoil = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@dataclass
class ListingSimulation(Simulation):
    """A simulation that spoils Codat's lists of companies."""

    spoil: Spoil = lambda companies: companies

    def __post_init__(self) -> None:
        super().__post_init__()
        for _ in range(COMPANIES):
            self.backend.add_company((PLAID,), self.loop.clock())

    async def _exchange(self, request: httpx.Request, fuse: Fuse) -> httpx.Response:
        response = await super()._exchange(request, fuse)
        if request.url.path != "/companies":
            return response
        content = json.loads(response.content)
        content["results"] = self.spoil(content["results"])
        headers = {"Date": response.headers["Date"]}
        return httpx.Response(response.status_code, headers=headers, json=content)

    async def pass_time(self, duration: timedelta) -> None:
        await self.run_for(duration, every=5 * MINUTE, checks=1, random=Random(1), lost=1)

    def histories(self) -> dict[FeedKey, tuple[Any, ...]]:
        return {feed.key: (feed.succeeded_at, feed.history) for feed in self.feeds()}

    def statuses(self) -> set[str]:
        return {
            connection.status for company in self.tables.companies.scan() for connection in company.connections.values()
        }


def each_with(**changes: Any) -> Spoil:
    return lambda companies: [company | changes for company in companies]


def without(name: str) -> Spoil:
    return lambda companies: [{key: value for key, value in each.items() if key != name} for each in companies]


def with_unreadable_connections(companies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for company in companies:
        for connection in company["dataConnections"]:
            connection["status"] = None
    return companies


@pytest.mark.parametrize(
    ("spoil", "is_doubted"),
    [
        (each_with(dataConnections=[]), True),
        (each_with(dataConnections=None), False),
        (without("dataConnections"), False),
        (with_unreadable_connections, False),
        (lambda _: [], True),
        (lambda companies: companies[:2], True),
    ],
)
def test_whatever_lists_lack_for_hours_no_feed_and_no_history_is_lost(spoil: Spoil, is_doubted: bool) -> None:
    async def run(loop: SimulatedLoop) -> None:
        simulation = ListingSimulation(loop, SETTINGS, POLICY)
        await simulation.pass_time(HOUR)
        before, notified = simulation.histories(), +simulation.published

        simulation.spoil = spoil
        await simulation.pass_time(3 * HOUR)

        assert simulation.histories().keys() == before.keys()
        assert simulation.statuses() == {ConnectionStatus.LINKED}
        assert (simulation.tallies[Metric.LISTING_DOUBTED] > 0) is is_doubted
        simulation.spoil = lambda companies: companies
        await simulation.pass_time(2 * HOUR)
        assert simulation.histories() == before
        assert simulation.published == notified
        assert not any(each.absent_since for c in simulation.tables.companies.scan() for each in c.connections.values())
        assert not simulation.tables.control.read(Listing).lacks_much

    simulate(run)


def test_a_single_connection_that_two_lists_lack_is_deleted_and_continues_with_its_history_if_it_comes_back() -> None:
    async def run(loop: SimulatedLoop) -> None:
        simulation = ListingSimulation(loop, SETTINGS, POLICY)
        await simulation.pass_time(HOUR)
        before = simulation.histories()
        company_id = simulation.backend.companies()[0].id

        def lacks_one(companies: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [each | {"dataConnections": []} if each["id"] == company_id else each for each in companies]

        simulation.spoil = lacks_one
        await simulation.pass_time(3 * HOUR)
        lost = {key for key in before if key[0] == company_id}
        assert lost
        assert before.keys() - simulation.histories().keys() == lost

        simulation.spoil = lambda companies: companies
        await simulation.pass_time(2 * HOUR)
        assert simulation.histories() == before

    simulate(run)


def test_what_was_deleted_although_it_is_much_is_deleted_here_once_an_operator_confirms_it() -> None:
    async def run(loop: SimulatedLoop) -> None:
        simulation = ListingSimulation(loop, SETTINGS, a_policy("2 hours"))
        await simulation.pass_time(HOUR)
        gone = {company.id for company in simulation.backend.companies()[:6]}
        for company_id in gone:
            simulation.backend.delete_company(company_id, loop.clock())
        simulation.pending.clear()

        await simulation.pass_time(6 * HOUR)
        assert {feed.company_id for feed in simulation.feeds()} > gone

        Operations(services=simulation.services(Fuse()), actor=OPERATOR).confirm_deletions()
        await simulation.pass_time(6 * HOUR)
        assert {feed.company_id for feed in simulation.feeds()} == {each.id for each in simulation.backend.companies()}
        assert not simulation.tables.control.read(Listing).lacks_much

    simulate(run)


def test_a_company_that_is_listed_is_not_deleted_however_often_codat_answers_404_for_it() -> None:
    async def run(loop: SimulatedLoop) -> None:
        simulation = ListingSimulation(loop, SETTINGS, POLICY)
        await simulation.pass_time(HOUR)
        before = simulation.histories()
        for company in simulation.tables.companies.scan():
            simulation.recorder().record_company(company, CheckNeeded())

        simulation.sandbox.stubs.add(StubResponse(path="*/dataStatus", status=404, times=10**6))
        await simulation.pass_time(4 * HOUR)

        assert simulation.calls["GET dataStatus"] > 3 * len(simulation.backend.companies())
        assert simulation.histories().keys() == before.keys()

    simulate(run)


def test_nothing_is_asked_about_a_company_that_only_a_stale_index_has(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        simulation = ListingSimulation(loop, SETTINGS, POLICY)
        simulation.tables.companies.put(Company(company_id="deleted", deleted_at=loop.clock()))
        monkeypatch.setattr(Companies, "due_for_check", lambda *_: iter(["deleted", "erased"]))
        await simulation.check(Fuse())
        assert set(simulation.calls) == {"GET "}  # the list of companies

    simulate(scenario)
