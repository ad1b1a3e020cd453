"""The mean freshness that the planner reaches, compared with simple strategies and the optimum, and its speed.

A generated fleet, whose true change rates the planner does not know, has been on Codat's fixed schedule for a month.
Each strategy then has as many refreshes a day as that schedule. After some days, in which the planner continues to
learn, the weighted mean freshness is measured: the expected share of time in which a copy is up to date.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from random import Random

import numpy as np
from numpy.typing import NDArray

from bench import planner_worlds
from bench.figures import Figure, Topic, show
from bench.optimum import Numbers, best_refreshes, mean_freshness
from bench.peak import peak_memory
from bench.simulated_fleet import COMPANIES, DATA_TYPES, EVERY, START, policy, simulated_feeds, true_rates
from estimate.world import World
from freshness.aws.dynamodb.item_codec import PackedRows, packed
from freshness.domain.datasets.sync_history import SyncHistory
from freshness.domain.feeds.feed import DAY
from freshness.domain.feeds.schedule import QUEUEING_MARGIN, reschedule
from freshness.planning.decision import Action
from freshness.planning.planner import decide
from freshness.policy.policy import Policy

LEARNING, MEASURED = 2 * DAY, 2 * DAY
HOUR = timedelta(hours=1)
FEWER = 0.6
"""The share of the fixed schedule's refreshes with which the planner should reach the same mean freshness."""
BOUND = "12 hours"
FEW = 100
"""How many companies the promise of `BOUND` is measured with. Ticks are as far apart as the planner expects at most."""
WITH_FEWER = "planner, with fewer refreshes"
FEEDS = 100_000


Indices = NDArray[np.int64]
Choice = Callable[[Numbers, int, int], Indices]
"""Returns which feeds to refresh, given their ages in days, the number of the tick, and how many may be refreshed."""


@dataclass(frozen=True, slots=True)
class Result:
    """The results of one strategy: shares of 1, and the number of promises broken."""

    freshness: float
    found_nothing: float
    broken: int


def planner(
    refreshes_a_day: float,
    *,
    knows_rates: bool = False,
    fresh_within: str = "4 weeks",
    companies: int = COMPANIES,
    tick: timedelta = HOUR,
) -> Result:
    """Return the results of the planner with a number of refreshes a day."""
    world = World(
        simulated_feeds=list(simulated_feeds(true_rates(companies))),
        policy=policy(fresh_within),
        random=Random(2),
        knows_rates=knows_rates,
    )
    call_budget, now = 0.0, START
    while now < START + LEARNING + MEASURED:
        if now == START + LEARNING:
            world.measure_from(now)
        call_budget += refreshes_a_day * (tick / DAY)
        call_budget -= world.tick(now, math.floor(call_budget))
        now += tick
    world.measure_until(now)
    measured = [simulated.measured.total for simulated in world.simulated_feeds]
    weights = [world.promise(simulated).weight for simulated in world.simulated_feeds]
    return Result(
        freshness=float(np.average([each.current_days / each.days for each in measured], weights=weights)),
        found_nothing=sum(each.found_nothing for each in measured) / sum(each.refreshes for each in measured),
        broken=sum(simulated.measured.broken for simulated in world.simulated_feeds),
    )


def simple_strategy(choose: Choice) -> Result:
    """Return the results of a simple strategy with as many refreshes as Codat's schedule."""
    rates = true_rates()
    random = np.random.default_rng(1)
    synced_at = -random.random(len(rates)) * (EVERY / DAY)
    current, found_nothing, refreshes = np.zeros_like(rates), 0.0, 0
    step = HOUR / DAY
    for tick in range(round(MEASURED / HOUR)):
        ages = tick * step - synced_at
        chosen = choose(ages, tick, round(len(rates) * (HOUR / EVERY)))
        found_nothing += float(np.sum(np.exp(-rates[chosen] * ages[chosen])))
        refreshes += len(chosen)
        ages[chosen] = 0.0
        synced_at[chosen] = tick * step
        current += (np.exp(-rates * ages) - np.exp(-rates * (ages + step))) / rates
    return Result(
        freshness=float(np.average(current / (MEASURED / DAY), weights=_weights(len(rates)))),
        found_nothing=found_nothing / refreshes,
        broken=0,
    )


def _on_schedule(ages: Numbers, _tick: int, _count: int) -> Indices:
    return np.flatnonzero(ages >= (EVERY - HOUR / 2) / DAY)


def _round_robin(ages: Numbers, tick: int, count: int) -> Indices:
    return np.arange(tick * count, (tick + 1) * count) % len(ages)


def _oldest_first(ages: Numbers, _tick: int, count: int) -> Indices:
    return np.argsort(-ages, kind="stable")[:count]


def _weights(feeds: int) -> Numbers:
    return np.tile(np.array(list(DATA_TYPES.values()), dtype=np.float64), feeds // len(DATA_TYPES))


def measure() -> list[Figure]:
    """Measure all strategies, and the speed of decisions."""
    rates = true_rates()
    weights, total = _weights(len(rates)), len(rates) * (DAY / EVERY)
    best, best_of_fewer = (
        mean_freshness(rates, weights, best_refreshes(rates, weights, part * total)) for part in (1, FEWER)
    )
    strategies = {
        "planner, rates learned": partial(planner, total),
        "planner, rates known": partial(planner, total, knows_rates=True),
        "Codat's fixed schedule": partial(simple_strategy, _on_schedule),
        "round robin": partial(simple_strategy, _round_robin),
        "oldest first": partial(simple_strategy, _oldest_first),
        WITH_FEWER: partial(planner, FEWER * total),
        BOUND: partial(
            planner,
            FEW * len(DATA_TYPES) * (DAY / EVERY),
            fresh_within=BOUND,
            companies=FEW,
            tick=QUEUEING_MARGIN,
        ),
    }
    with ProcessPoolExecutor() as pool:
        running = {name: pool.submit(strategy) for name, strategy in strategies.items()}
        deciding = pool.submit(decide_many)
        in_worlds = planner_worlds.measure(pool)
        results = {name: each.result() for name, each in running.items()}
        worlds = in_worlds()
    fewer, bound = results.pop(WITH_FEWER), results.pop(BOUND)
    figures = [_freshness(name, result, best) for name, result in results.items()]
    figures += [_found_nothing(name, result) for name, result in results.items()]
    fixed = results["Codat's fixed schedule"].freshness
    return [
        *figures,
        Figure(
            what=f"mean freshness, planner with rates learned, {FEWER:.0%} of the refreshes",
            topic=Topic.PROMISES,
            value=fewer.freshness,
            unit="",
            against=f"Codat's schedule with all of them; the optimum with {FEWER:.0%} is {best_of_fewer:.3f}",
            floor=fixed,
            at_least=1.0,
        ),
        Figure(
            what=f"promises of {BOUND} broken, planner with rates learned, {FEW} companies",
            topic=Topic.PROMISES,
            value=bound.broken,
            unit="",
            against=f"budget for a refresh every {EVERY / HOUR:.0f} hours; mean freshness {bound.freshness:.3f}",
            at_most=0,
        ),
        *worlds,
        *deciding.result(),
    ]


def _freshness(name: str, result: Result, best: float) -> Figure:
    return Figure(
        what=f"mean freshness, {name}",
        topic=Topic.PROMISES,
        value=result.freshness,
        unit="",
        against="optimum",
        floor=best,
        at_least=0.97 if name == "planner, rates learned" else None,
    )


def _found_nothing(name: str, result: Result) -> Figure:
    return Figure(what=f"refreshes that found nothing, {name}", value=100 * result.found_nothing, unit="%")


def timed_policy() -> Policy:
    """Return a policy with a shorter bound in office hours, and a deadline."""
    office = {"name": "office", "hours": "08:00 to 18:00", "fresh_within": "1 hour", "time_zone": "Europe/London"}
    ready = {"name": "ready", "by": "08:00", "fresh_within": "2 hours", "time_zone": "Europe/London"}
    return Policy.model_validate({"default": {"fresh_within": "1 day"}, "rules": [office], "deadlines": [ready]})


def decide_many() -> list[Figure]:
    """Measure decisions about many feeds with full histories, all due, with a budget for a tenth of them."""
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as alone:
        results = [alone.submit(_decide_many, by_the_clock).result() for by_the_clock in (False, True)]
    what = f"decisions about {FEEDS:,} feeds"
    (seconds, megabytes), (seconds_by_the_clock, _) = results
    return [
        Figure(what=what, value=seconds, unit="s", against="processor time", at_most=2.0),
        Figure(what=f"{what}: memory of the process", value=megabytes, unit="MB", at_most=300),
        Figure(
            what=f"{what} with hours and a deadline",
            value=seconds_by_the_clock,
            unit="s",
            against="processor time",
            at_most=2.0,
        ),
    ]


def _decide_many(by_the_clock: bool) -> tuple[float, float]:
    rules = timed_policy() if by_the_clock else policy("1 day")
    feeds, companies = [], {}
    for simulated in simulated_feeds(true_rates(FEEDS // len(DATA_TYPES))):
        company, connection = simulated.company, simulated.connection
        promise = rules.promise(simulated.feed.data_type, company, connection)
        feed = reschedule(simulated.feed, promise, connection)
        # A tick has the histories as the table has them: packed.
        feeds.append(replace(feed, history=SyncHistory(PackedRows(packed(feed.history)))))
        companies[company.company_id] = company
    started = time.process_time()
    decisions = decide(feeds, companies, rules, START + DAY / 2, call_budget=FEEDS / 10)
    seconds = time.process_time() - started
    assert sum(decision.action is Action.QUEUE for decision in decisions) == FEEDS // 10
    return seconds, peak_memory() / 2**20


if __name__ == "__main__":
    show("Planner", measure())
