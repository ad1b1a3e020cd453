"""The mean freshness in office hours that the planner reaches in a world whose data changes in office hours.

The fleet is that of `bench.planner`, but nine of ten changes happen in office hours, in which the copies are read. The
planner knows neither the change rates nor the rhythm, and learns both. It is compared with a planner that knows them.
"""

import math
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from random import Random

import numpy as np

from bench.figures import Figure, show
from bench.planner import HOUR
from bench.simulated_fleet import DATA_TYPES, START, policy, simulated_feeds, true_rates
from freshness.domain.feed import DAY
from freshness.domain.fleet import MOST_EVIDENCE, Fleet, Kind, KindRate, kind_of
from freshness.domain.rhythm import HOURS, HourCounts
from freshness.policy.policy import Policy
from simulate.rhythm import office_rhythm
from simulate.world import World

COMPANIES = 200
EVERY = timedelta(hours=12)
"""The interval of Codat's fixed schedule, whose number of refreshes the planner has."""
LEARNING, MEASURED = 7 * DAY, 7 * DAY
READ = {"hours": "08:00 to 18:00", "days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]}


def knowing_the_rhythm() -> Fleet:
    """Return what a planner knows that knows the rhythm."""
    many = 1e9
    hours = HourCounts(tuple(many * each for each in office_rhythm().by_hour), (many,) * HOURS)
    return Fleet({kind_of("Xero", data_type): Kind(KindRate(1, 0.0), hours, MOST_EVIDENCE) for data_type in DATA_TYPES})


def planner(*, knows: bool, minds_the_clock: bool) -> float:
    """Return the mean freshness in office hours of a planner that knows rates and rhythm or learns them."""
    read = Policy.model_validate({"default": {"fresh_within": "1 day", "matters": READ}}).default.matters
    rules = policy("4 weeks", READ if minds_the_clock else None)
    world = World(
        simulated_feeds=list(simulated_feeds(true_rates(COMPANIES), office_rhythm(), EVERY)),
        policy=rules.knowing(knowing_the_rhythm()) if knows and minds_the_clock else rules,
        random=Random(2),
        knows_rates=knows,
        measured_in=(read.window_in(read.time_zone),) if read else (),
    )
    an_hour = len(world.simulated_feeds) * (HOUR / EVERY)
    allowance, now = 0.0, START
    while now < START + LEARNING + MEASURED:
        if now == START + LEARNING:
            world.measure_from(now)
        # What is left of a day's quota is lost at midnight.
        allowance = (0.0 if now.hour == 0 else allowance) + an_hour
        allowance -= world.tick(now, math.floor(allowance))
        now += HOUR
    world.measure_until(now)
    measured = [simulated.measured for simulated in world.simulated_feeds]
    weights = [world.promise(simulated).weight for simulated in world.simulated_feeds]
    freshness = np.average([each.current_days / each.days for each in measured], weights=weights)
    return float(freshness)


def measure() -> list[Figure]:
    """Measure the planner that learns, the one that knows, and one that knows the rates and minds no clock."""
    with ProcessPoolExecutor() as pool:
        learned, known, steady = (
            pool.submit(planner, knows=knows, minds_the_clock=minds)
            for knows, minds in ((False, True), (True, True), (True, False))
        )
    freshness, best, without = learned.result(), known.result(), steady.result()
    return [
        _freshness("rates and rhythm learned", freshness, best, 0.98),
        _freshness("rates and rhythm known", best, best),
        _freshness("rates known, without rhythm and hours that matter", without, best),
    ]


def _freshness(name: str, freshness: float, best: float, at_least: float | None = None) -> Figure:
    return Figure(
        what=f"mean freshness in office hours, planner, {name}",
        value=freshness,
        unit="",
        against="planner that knows rates and rhythm",
        floor=best,
        at_least=at_least,
    )


if __name__ == "__main__":
    show("Office hours", measure())
