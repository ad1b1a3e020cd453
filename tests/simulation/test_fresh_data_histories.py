"""Random histories of requests for fresh data, with crashes, stale reads, lost webhooks and refreshes by others."""

from collections.abc import Callable
from datetime import timedelta
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.faults import NONE, STALE, Faults, KillSwitch
from chaos.simulation import ChaosSimulation
from codat_sandbox.errors import SandboxError
from codat_sandbox.platforms import MYOB
from codat_sandbox.settings import Settings
from freshness.app.ensure.accept import Ask, EnsureFresh, Progress
from freshness.app.ensure.problems import Problem
from freshness.codat.client import Codat
from freshness.domain.feeds.freshness_request import FeedState, FreshnessRequest
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import OPERATOR, OUTAGES, Crash
from tests.builders import MINUTE, a_policy

POLICY = a_policy("1 week")
SETTINGS = Settings(
    companies=0,
    sync_time_min=timedelta(seconds=2),
    sync_time_max=timedelta(seconds=50),
    fails_first=0,
    not_supported=0,
    permissions_error=0,
    machine_offline=0,
    never_synced=0,
    latency=timedelta(milliseconds=50),
    calls_per_minute=100_000,
)
STORED = "freshness request "
"""What the names of stored requests begin with."""
WITHIN = timedelta(hours=2)
CALL = timedelta(seconds=25)
"""How long a call of the API may take."""
calls_made = st.none() | st.integers(0, 80)
"""Before or after how many calls a function is killed, if at all."""
steps = st.one_of(
    st.tuples(st.just("time"), st.sampled_from([1, 20, 60, 600])),
    st.tuples(st.just("ask"), st.tuples(st.sampled_from([0, 30, 600]), calls_made)),
    st.tuples(st.just("get"), st.tuples(st.integers(0, 9), calls_made)),
    st.tuples(st.just("tick"), calls_made),
    st.tuples(st.just("check"), calls_made),
    st.tuples(st.just("webhooks"), st.sampled_from(["all", "lost", "doubled"])),
    st.tuples(st.just("outage"), st.booleans()),
    st.tuples(st.just("others"), st.integers(0, 99)),
)


class History:
    """A simulation with one company, and the requests that were accepted."""

    def __init__(self, simulation: ChaosSimulation) -> None:
        self.simulation = simulation

    def requests(self) -> list[FreshnessRequest]:
        """Return the requests that were stored, also by calls that were killed afterwards."""
        tables = self.simulation.tables
        names = sorted(item["name"] for item in tables.requests._table.scan())
        ids = [name.removeprefix(STORED) for name in names if name.startswith(STORED)]
        return [request for request_id in ids if (request := tables.requests.get(request_id))]

    async def happen(self, kind: str, how: object) -> None:
        """Let one thing happen."""
        simulation = self.simulation
        match kind, how:
            case "time", int(seconds):
                await simulation.advance(timedelta(seconds=seconds))
            case "ask", (int(seconds), dies_after):
                await self._ask(timedelta(seconds=seconds), _switch(dies_after))
            case "get", (int(number), dies_after):
                await self._get(number, _switch(dies_after))
            case "tick", dies_after:
                await self.tick(_switch(dies_after))
            case "check", dies_after:
                await simulation.check(_switch(dies_after))
            case "webhooks", fate:
                bodies, simulation.pending = simulation.pending, []
                for body in [] if fate == "lost" else bodies * (2 if fate == "doubled" else 1):
                    simulation.deliver(body, _switch(None))
            case "outage", is_down:
                simulation.is_down = bool(is_down)
            case "others", int(number):
                truths = list(simulation.backend.truth(simulation.loop.clock()))
                truth = truths[number % len(truths)]
                try:
                    simulation.refresh_by_others(truth.company.id, truth.data_type, truth.connection.id)
                except SandboxError:
                    return
        simulation.collect()

    async def tick(self, switch: KillSwitch) -> None:
        """Run a tick of queue_refreshes."""
        try:
            ensure = EnsureFresh(services=self.simulation.services(switch))
            ensure.end_due_requests(self.simulation.clock() + MINUTE)
        except Crash:
            return
        await self.simulation.queue(switch)

    async def _ask(self, max_age: timedelta, switch: KillSwitch) -> None:
        """Make a request."""
        [company] = self.simulation.tables.companies.scan()
        account = self.simulation.tables.control.account()
        now = self.simulation.clock()
        known = sorted({feed.data_type for feed in self.simulation.feeds()})
        ask = Ask(data_types=tuple(known[:3]), not_before=now - max_age, deadline=now + WITHIN)
        await self._call(switch, lambda ensure: ensure.accept(company, account, ask, actor=OPERATOR))

    async def _get(self, number: int, switch: KillSwitch) -> None:
        """Ask for a request that was made."""
        if known := self.requests():
            asked = known[number % len(known)]
            await self._call(switch, lambda ensure: ensure.progress(ensure.load(asked.company_id, asked.request_id)))

    async def _call(self, switch: KillSwitch, begin: Callable[[EnsureFresh], Progress]) -> None:
        """Make a call of the API, which advances a request until it ends, or is killed."""
        services = self.simulation.services(switch)
        ensure = EnsureFresh(services=services)
        until = services.clock() + CALL
        try:
            async with services.codat(until, on_demand=True) as codat:

                async def client() -> Codat:
                    return codat

                progress = begin(ensure)
                self._require_true(progress.request)
                progress = await ensure.wait_until(progress, until, client)
                self._require_true(progress.request)
        except (Crash, Problem, *OUTAGES):
            return

    def _require_true(self, request: FreshnessRequest) -> None:
        """Fail if a request says that data is fresh which no read since `not_before` gave."""
        truths = {
            (str(truth.data_type), truth.connection.id): truth
            for truth in self.simulation.backend.truth(self.simulation.loop.clock())
        }
        for result in request.results:
            if result.state is FeedState.FRESH:
                assert result.as_of
                assert result.as_of >= request.not_before
                successful = truths[result.data_type, result.connection_id].latest_successful
                assert successful
                assert successful.requested >= request.not_before - timedelta(milliseconds=1)

    async def finish(self) -> None:
        """End every trouble, let ticks run for the time of a deadline, and check that each request ended well."""
        self.simulation.is_down = False
        ends_at = self.simulation.clock() + WITHIN
        while self.simulation.clock() < ends_at:
            await self.simulation.check(_switch(None))
            await self.tick(_switch(None))
            await self.simulation.advance(5 * MINUTE)
        await self.tick(_switch(None))
        for request in self.requests():
            assert request.is_done
            self._require_true(request)
            assert self.simulation.published[f"request/{request.request_id}"] == 1
        assert not [feed for feed in self.simulation.feeds() if feed.wanted], "something is still wanted"


def _switch(calls_left: object) -> KillSwitch:
    return KillSwitch(calls_left if isinstance(calls_left, int) else None)


async def _run(loop: SimulatedLoop, seed: int, faults: Faults, happened: list[tuple[str, object]]) -> History:
    settings = SETTINGS.model_copy(update={"seed": seed})
    simulation = ChaosSimulation(loop, settings, POLICY, faults=faults, random=Random(seed))
    simulation.backend.add_company((MYOB,), loop.clock())
    await simulation.check(_switch(None))
    await simulation.queue(_switch(None))
    await simulation.advance(2 * MINUTE)
    history = History(simulation)
    for kind, how in happened:
        await history.happen(kind, how)
    await history.finish()
    assert not simulation.queued_again
    return history


@settings(deadline=None, max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1000), faults=st.sampled_from([NONE, STALE]), happened=st.lists(steps, max_size=20))
def test_every_request_ends_once_and_none_is_fresh_without_a_read_since_its_not_before(
    seed: int, faults: Faults, happened: list[tuple[str, object]]
) -> None:
    simulate(lambda loop: _run(loop, seed, faults, happened))


def test_a_request_is_fresh_although_its_call_was_killed_and_every_webhook_was_lost() -> None:
    async def run(loop: SimulatedLoop) -> None:
        happened: list[tuple[str, object]] = [("time", 600), ("ask", (30, 9)), ("webhooks", "lost"), ("time", 60)]
        history = await _run(loop, 1, NONE, happened)
        [request] = history.requests()
        assert request.is_fresh

    simulate(run)
