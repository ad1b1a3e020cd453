"""Hostile companies next to healthy ones, which they must not affect."""

import json
from datetime import timedelta
from random import Random

import httpx

from chaos import poison
from chaos.faults import NONE, KillSwitch
from chaos.history import POLICY, fresh_within
from chaos.interleaving import InterleavingLoop
from chaos.kill_points import RELIABLE
from chaos.simulation import ChaosSimulation
from codat_sandbox.platforms import XERO
from freshness.aws.metrics import Metric
from freshness.domain.datasets.dataset import Trigger
from simulate.loop import Fuse


class PoisonedSimulation(ChaosSimulation):
    """A simulation whose Codat also lists hostile companies."""

    async def _exchange(self, request: httpx.Request, fuse: Fuse) -> httpx.Response:
        hostile = {company["id"]: company for company in poison.companies()}
        path = request.url.path
        if path == "/companies":
            response = await super()._exchange(request, fuse)
            listed = json.loads(response.content)
            listed["results"] = [*hostile.values(), *listed["results"]]
            return httpx.Response(200, content=poison.body(listed), headers={"Date": response.headers["Date"]})
        company_id = path.split("/")[2] if path.startswith("/companies/") else ""
        if company_id not in hostile:
            return await super()._exchange(request, fuse)
        if path.endswith("/dataStatus"):
            return httpx.Response(200, content=poison.body(poison.data_status(company_id)), request=request)
        if "/history" in path:
            page = {"results": [], "_links": {"next": {"href": "/endless"}}}
            return httpx.Response(200, content=poison.body(page), request=request)
        return httpx.Response(400, content=b"\xff\xfe not JSON", request=request)


def test_hostile_companies_end_only_their_own_turn() -> None:
    loop = InterleavingLoop(Random(0))

    async def scenario() -> PoisonedSimulation:
        simulation = PoisonedSimulation(loop, RELIABLE, POLICY, faults=NONE, random=Random(0))
        for _ in range(3):
            simulation.backend.add_company((XERO,), loop.clock())
        for _ in range(6):
            await simulation.check(KillSwitch())
            await simulation.queue(KillSwitch())
            await simulation.advance(timedelta(minutes=30))
        return simulation

    simulation = loop.run_until_complete(scenario())
    loop.close()

    healthy = {company.id for company in simulation.backend.companies()}
    now = simulation.loop.clock()
    for truth in simulation.backend.truth(now):
        if truth.can_become_fresh and truth.latest:
            assert truth.latest_successful
            assert truth.latest_successful.completed
            assert now - truth.latest_successful.completed <= fresh_within(truth.data_type) + timedelta(minutes=40), (
                truth
            )
    feeds = [feed for feed in simulation.feeds() if feed.company_id in healthy]
    assert {feed.last_dataset.trigger for feed in feeds if feed.last_dataset} >= {Trigger.PROMISE}
    assert simulation.tallies[Metric.COMPANIES_UNUSABLE] >= 5
    assert not simulation.tallies["Failures"]
