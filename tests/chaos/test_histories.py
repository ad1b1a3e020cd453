"""A short run of the random histories and the kill points; `make chaos` makes a long one."""

from datetime import timedelta

import pytest

from chaos import kill_points
from chaos.faults import PROFILES, Faults
from chaos.history import simulate

SKEWS = (timedelta(0), timedelta(minutes=3), timedelta(minutes=-3))


@pytest.mark.parametrize("faults", PROFILES, ids=lambda faults: str(faults.name))
def test_random_histories_break_no_promise_for_good_and_lose_nothing(faults: Faults) -> None:
    for seed in range(10):
        simulate(seed, faults, SKEWS[seed % len(SKEWS)])


@pytest.mark.parametrize("name", ["the first check", "a tick that queues refreshes", "the webhooks of refreshes"])
def test_a_function_killed_at_any_point_loses_nothing(name: str) -> None:
    points = 0
    while kill_points.kill(name, points):
        points += 11
    assert points > 20


def test_a_history_is_the_same_whenever_it_is_repeated() -> None:
    first, second = (simulate(7, PROFILES[-1], timedelta(0)) for _ in range(2))

    assert first.steps == second.steps
    assert first.simulation.events == second.simulation.events
    assert first.simulation.calls == second.simulation.calls
