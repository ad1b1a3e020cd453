"""Five situations in which a person looks at the page, each a simulated system some hours after it began."""

from collections.abc import Callable, Mapping

from codat_sandbox.model import ConnectionStatus
from tests.builders import HOUR, MINUTE
from tests.page.world import SETTINGS, World


def all_kept() -> World:
    """Every promise is kept."""
    world = World()
    world.pass_time(9 * HOUR, every=5 * MINUTE)
    return world


def links_lapsed() -> World:
    """The links of two companies have lapsed, one of them long ago."""
    world = World(SETTINGS.model_copy(update={"fails_later": 0.03}))
    world.pass_time(HOUR)
    for number in (1, 4):
        world.set_link(ConnectionStatus.DEAUTHORIZED, number)
        world.pass_time(9 * HOUR, every=5 * MINUTE)
    return world


def quota_spent() -> World:
    """Another program has spent today's calls."""
    world = World()
    world.pass_time(HOUR)
    world.simulation.backend.change_settings(SETTINGS.model_copy(update={"daily_quota": 1}), world.now())
    world.pass_time(7 * HOUR, every=5 * MINUTE)
    return world


def codat_down() -> World:
    """Codat answers no call."""
    world = World()
    world.pass_time(2 * HOUR, every=5 * MINUTE)
    world.simulation.is_down = True
    world.pass_time(6 * HOUR, every=5 * MINUTE)
    return world


def platforms_fail() -> World:
    """Platforms refuse most reads for their own limits, and the machine of a customer is offline."""
    world = World()
    world.pass_time(2 * HOUR, every=5 * MINUTE)
    backend, now = world.simulation.backend, world.now()
    backend.change_settings(SETTINGS.model_copy(update={"rate_limit_error": 0.9}), now)
    for company in backend.companies():
        for connection in company.connections:
            if connection.platform.on_premise:
                backend.change_connection(company.id, connection.id, now, machine_online=False)
    world.pass_time(10 * HOUR, every=5 * MINUTE)
    return world


SCENARIOS: Mapping[str, Callable[[], World]] = {
    "all-kept": all_kept,
    "links-lapsed": links_lapsed,
    "quota-spent": quota_spent,
    "codat-down": codat_down,
    "platforms-fail": platforms_fail,
}
