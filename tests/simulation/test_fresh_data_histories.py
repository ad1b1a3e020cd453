"""Random histories of requests for fresh data, with crashes, lost webhooks, outages and refreshes by others."""

from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freshness.app.ensure_fresh import Ask, EnsureFresh
from freshness.app.problems import Problem
from freshness.domain.freshness_request import FeedState, FreshnessRequest
from freshness.policy.policy import Policy
from local.codat_sandbox.errors import SandboxError
from local.codat_sandbox.platforms import MYOB
from local.codat_sandbox.settings import Settings
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Fuse, Simulation

MINUTE = timedelta(minutes=1)
POLICY = Policy.model_validate({"default": {"fresh_within": "1 week"}})
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
WITHIN = timedelta(hours=2)
calls_made = st.none() | st.integers(0, 40)
"""After how many calls a function is killed, if at all."""
steps = st.one_of(
    st.tuples(st.just("time"), st.sampled_from([1, 20, 60, 600])),
    st.tuples(st.just("ask"), st.sampled_from([0, 30, 600])),
    st.tuples(st.just("tick"), calls_made),
    st.tuples(st.just("check"), calls_made),
    st.tuples(st.just("webhooks"), st.sampled_from(["all", "lost", "doubled"])),
    st.tuples(st.just("outage"), st.booleans()),
    st.tuples(st.just("others"), st.integers(0, 99)),
)


class History:
    """A simulation with one company, and the requests that were accepted."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.requests: list[FreshnessRequest] = []
        self.ensure = EnsureFresh(recorder=simulation.recorder(), clock=simulation.clock)

    async def happen(self, kind: str, how: object) -> None:
        """Let one thing happen."""
        simulation = self.simulation
        match kind, how:
            case "time", int(seconds):
                await simulation.advance(timedelta(seconds=seconds))
            case "ask", int(seconds):
                self._ask(timedelta(seconds=seconds))
            case "tick", dies_after:
                self.ensure.sweep()
                await simulation.queue(Fuse(dies_after if isinstance(dies_after, int) else None))
            case "check", dies_after:
                await simulation.check(Fuse(dies_after if isinstance(dies_after, int) else None))
            case "webhooks", fate:
                bodies, simulation.pending = simulation.pending, []
                for body in [] if fate == "lost" else bodies * (2 if fate == "doubled" else 1):
                    simulation.deliver(body, Fuse())
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

    def _ask(self, max_age: timedelta) -> None:
        """Ask as a call does that is killed after it stored its request, or that comes to its end."""
        [company] = self.simulation.tables.companies.scan()
        now = self.simulation.clock()
        known = sorted({feed.data_type for feed in self.simulation.feeds()})
        ask = Ask(data_types=tuple(known[:3]), not_before=now - max_age, deadline=now + WITHIN)
        try:
            progress = self.ensure.accept(company, ask, caller="c", key="", fingerprint="")
        except Problem:
            return
        if progress.request.version:
            self.requests.append(progress.request)
        self._require_true(progress.request)

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
                assert result.as_of_is_estimated or successful.requested >= request.not_before - timedelta(
                    milliseconds=1
                )

    async def finish(self) -> None:
        """End every trouble, let ticks run for the time of a deadline, and check that each request ended well."""
        self.simulation.is_down = False
        ends_at = self.simulation.clock() + WITHIN
        while self.simulation.clock() < ends_at:
            await self.simulation.check(Fuse())
            self.ensure.sweep()
            await self.simulation.queue(Fuse())
            await self.simulation.advance(5 * MINUTE)
        self.ensure.sweep()
        for request in self.requests:
            ended = self.simulation.tables.requests.get(request.request_id)
            assert ended
            assert ended.is_done
            self._require_true(ended)
            assert self.simulation.published[f"request/{request.request_id}"] == 1
        assert not [feed for feed in self.simulation.feeds() if feed.wanted], "something is still wanted"


async def _run(loop: SimulatedLoop, seed: int, happened: list[tuple[str, object]]) -> History:
    simulation = Simulation(loop, SETTINGS.model_copy(update={"seed": seed}), POLICY)
    simulation.backend.add_company((MYOB,), loop.clock())
    await simulation.check(Fuse())
    await simulation.queue(Fuse())
    await simulation.advance(2 * MINUTE)
    history = History(simulation)
    for kind, how in happened:
        await history.happen(kind, how)
    await history.finish()
    assert not simulation.queued_again
    return history


@settings(deadline=None, max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1000), happened=st.lists(steps, max_size=20))
def test_every_request_ends_once_and_none_is_fresh_without_a_read_since_its_not_before(
    seed: int, happened: list[tuple[str, object]]
) -> None:
    simulate(lambda loop: _run(loop, seed, happened))


def test_a_request_is_fresh_although_its_call_was_killed_and_every_webhook_was_lost() -> None:
    async def run(loop: SimulatedLoop) -> None:
        happened: list[tuple[str, object]] = [("time", 600), ("ask", 30), ("webhooks", "lost"), ("time", 60)]
        history = await _run(loop, 1, happened)
        [request] = history.requests
        ended = history.simulation.tables.requests.get(request.request_id)
        assert ended
        assert ended.is_fresh
        assert len(ended.results) == 3
        assert history.simulation.calls["POST data/queue/"] >= 3

    simulate(run)
