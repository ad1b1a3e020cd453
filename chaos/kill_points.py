"""Every point at which a function can be killed: before and after each call of each scenario."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random
from random import seed as seed_jitter

from chaos.faults import NONE, KillSwitch
from chaos.history import FLEET, POLICY, SETTINGS, History
from chaos.interleaving import InterleavingLoop
from chaos.simulation import ChaosSimulation
from codat_sandbox.model import ConnectionStatus

HOUR = timedelta(hours=1)
RELIABLE = SETTINGS.model_copy(update={"fails_first": 0, "fails_later": 0, "not_supported": 0})
Act = Callable[[ChaosSimulation, KillSwitch], Awaitable[None]]


async def check(simulation: ChaosSimulation, switch: KillSwitch) -> None:
    """Run a tick of check_freshness."""
    await simulation.check(switch)


async def queue(simulation: ChaosSimulation, switch: KillSwitch) -> None:
    """Run a tick of queue_refreshes."""
    await simulation.queue(switch)


async def webhooks(simulation: ChaosSimulation, switch: KillSwitch) -> None:
    """Apply the pending webhooks, one after another. A webhook that is not completed stays pending."""
    simulation.collect()
    bodies, simulation.pending = simulation.pending, []
    for body in bodies:
        if not await simulation.deliver_webhook(body, switch):
            simulation.pending.append(body)


def command(name: str) -> Act:
    """Return the act that carries out an operator's command for the first company."""

    async def act(simulation: ChaosSimulation, switch: KillSwitch) -> None:
        company = min(simulation.tables.companies.scan(), key=lambda company: company.company_id)
        await simulation.operate(name, company, switch)

    return act


async def _fresh(simulation: ChaosSimulation) -> None:
    """Let the first syncs end, and record them."""
    await simulation.advance(timedelta(minutes=3))
    await simulation.check(KillSwitch())
    await webhooks(simulation, KillSwitch())


async def _due(simulation: ChaosSimulation) -> None:
    await _fresh(simulation)
    await simulation.advance(2 * HOUR)


async def _requested(simulation: ChaosSimulation) -> None:
    """Queue refreshes, and let them end."""
    await _due(simulation)
    simulation.pending.clear()
    await simulation.queue(KillSwitch())
    await simulation.advance(timedelta(minutes=10))


async def _late(simulation: ChaosSimulation) -> None:
    """Lose the webhooks of the refreshes, so that a check must find their ends."""
    await _requested(simulation)
    simulation.pending.clear()
    await simulation.queue(KillSwitch())


async def _broken(simulation: ChaosSimulation) -> None:
    """Break promises while Codat is down."""
    await _due(simulation)
    simulation.is_down = True
    await simulation.advance(HOUR)


async def _lapsed(simulation: ChaosSimulation) -> None:
    await _requested(simulation)
    _set_status(simulation, ConnectionStatus.DEAUTHORIZED)


async def _back(simulation: ChaosSimulation) -> None:
    await _lapsed(simulation)
    await webhooks(simulation, KillSwitch())
    await simulation.advance(HOUR)
    _set_status(simulation, ConnectionStatus.LINKED)


async def _deleted(simulation: ChaosSimulation) -> None:
    await _requested(simulation)
    company = simulation.backend.companies()[0]
    simulation.backend.delete_company(company.id, simulation.loop.clock())


async def _not_found(simulation: ChaosSimulation) -> None:
    """Delete a company without a webhook, after a first 404."""
    await _late(simulation)
    company = simulation.backend.companies()[0]
    simulation.backend.delete_company(company.id, simulation.loop.clock())
    await simulation.check(KillSwitch())
    simulation.pending.clear()
    await simulation.advance(timedelta(minutes=20))


async def _paused(simulation: ChaosSimulation) -> None:
    await _due(simulation)
    await command("pause")(simulation, KillSwitch())


async def _hidden(simulation: ChaosSimulation) -> None:
    await _paused(simulation)
    await simulation.queue(KillSwitch())


def _set_status(simulation: ChaosSimulation, status: ConnectionStatus) -> None:
    company = simulation.backend.companies()[0]
    simulation.backend.set_connection_status(company.id, company.connections[0].id, status, simulation.loop.clock())


async def _nothing(_simulation: ChaosSimulation) -> None:
    return


SCENARIOS: dict[str, tuple[Callable[[ChaosSimulation], Awaitable[None]], Act]] = {
    "the first check": (_nothing, check),
    "the webhooks of the first reads": (_nothing, webhooks),
    "a check of nothing new": (_fresh, check),
    "a tick that queues refreshes": (_due, queue),
    "the webhooks of refreshes": (_requested, webhooks),
    "a check that finds the ends of refreshes": (_late, check),
    "a tick that finds refreshes late": (_requested, queue),
    "a tick that finds promises broken": (_broken, queue),
    "the webhooks of a lapse": (_lapsed, webhooks),
    "a check that finds a lapse": (_lapsed, check),
    "the webhooks of a relink": (_back, webhooks),
    "a check that finds a relink": (_back, check),
    "the webhooks of a deletion": (_deleted, webhooks),
    "a check that finds a deletion": (_not_found, check),
    "a pause": (_due, command("pause")),
    "a tick during a pause": (_paused, queue),
    "a resume": (_hidden, command("resume")),
    "an operator's request": (_fresh, command("refresh")),
}


def kill(name: str, point: int) -> bool:
    """Kill the function of a scenario at a point, and require what must hold. Return whether it reached the point.

    Even points are before a call, odd ones after it.

    Raises:
        chaos.history.Violation: something does not hold.
    """
    seed_jitter(point)
    loop = InterleavingLoop(Random(point))
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(_kill(loop, name, point))


async def _kill(loop: InterleavingLoop, name: str, point: int) -> bool:
    loop.set_exception_handler(lambda *_: None)
    prepare, act = SCENARIOS[name]
    simulation = ChaosSimulation(loop, RELIABLE, POLICY, faults=NONE, random=Random(point))
    for platforms in FLEET[:2]:
        simulation.backend.add_company(platforms, loop.clock())
    history = History(simulation, Random(point))
    await prepare(simulation)
    switch = KillSwitch(point)
    await act(simulation, switch)
    await simulation.advance(timedelta(seconds=1))
    history.steps.append(f"{name}, killed at point {point}")
    await history.end_faults()
    await history.settle()
    return switch.calls_left == 0
