"""The planner when prices differ, on the first day of a fleet, and when rates of change jump."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

import numpy as np

from bench.figures import Figure, Topic
from bench.optimum import Numbers, best_refreshes, mean_freshness
from bench.simulated_fleet import DATA_TYPES, EVERY, START, policy, simulated_feeds, true_rates
from estimate.world import SimulatedFeed, World
from freshness.domain.feeds.feed import DAY, Feed
from freshness.domain.learned.learned_rates import FeedSample, LearnedRates, kind_of
from freshness.planning.decision import Action, Decision
from freshness.policy.policy import Policy

COMPANIES = 100
HOUR = timedelta(hours=1)
CHEAP, DEAR = "Xero", "QuickBooks Online"
PRICES = {CHEAP: 0.01, DEAR: 1.0}
MONEY = 0.2
"""What is spent a day for each feed, in the currency of `PRICES`."""
FIRST_DAY = 0.2
"""The share of the fixed schedule's refreshes that the first day has."""
JUMP = 10
"""The factor by which every rate is multiplied or divided at once."""
BEFORE, AFTER = 2, 4
"""The days before and after the jump."""


@dataclass(kw_only=True)
class _Charged(World):
    """A world in which money limits the refreshes that are queued, in the planner's order."""

    money: float = 0.0
    _spent_at: datetime | None = None

    def _act(self, decision: Decision, now: datetime) -> None:
        if decision.action is Action.QUEUE:
            price = _price(self.simulated_feeds[self._indexes[decision.feed.key]])
            if self._spent_at == now or price > self.money:
                self._spent_at = now
                return
            self.money -= price
        super()._act(decision, now)


def _price(simulated: SimulatedFeed) -> float:
    return PRICES[simulated.connection.platform]


def _freshness(world: World) -> float:
    """Return the weighted mean freshness since the measurements began."""
    measured = [simulated.measured.total for simulated in world.simulated_feeds]
    return float(np.average([each.current_days / each.days for each in measured], weights=_weights()))


def _weights() -> Numbers:
    return np.tile(np.array(list(DATA_TYPES.values()), dtype=np.float64), COMPANIES)


def _hours(days: float) -> Iterator[datetime]:
    yield from (START + number * HOUR for number in range(round(days * 24)))


def with_prices(*, of_policy: bool) -> tuple[float, float]:
    """Return the freshness for the money spent, and the best possible. `of_policy`: whether the policy has prices."""
    feeds = list(simulated_feeds(true_rates(COMPANIES)))
    for simulated in feeds[len(feeds) // 2 :]:
        simulated.connection = replace(simulated.connection, platform=DEAR)
        simulated.company = replace(simulated.company, connections={"connection": simulated.connection})
    tables = policy("4 weeks").model_dump(mode="json", exclude_unset=True)
    if of_policy:
        tables["prices"] = {platform: f"{price} USD per refresh" for platform, price in PRICES.items()}
    world = _Charged(simulated_feeds=feeds, policy=Policy.model_validate(tables), random=Random(2))
    for now in _hours(4):
        if now == START + 2 * DAY:
            world.measure_from(now)
        world.money += MONEY * len(feeds) / 24
        world.tick(now, math.inf)
    world.measure_until(START + 4 * DAY)
    rates, prices = true_rates(COMPANIES), np.array([_price(simulated) for simulated in feeds])
    money = sum(simulated.measured.total.refreshes * _price(simulated) for simulated in feeds) / 2
    # Counted in refreshes times their price, n a day cost n: this is the problem without prices in other units.
    rates_at_price, weights_at_price = rates * prices, _weights()
    best = best_refreshes(rates_at_price, weights_at_price, money) / prices
    return _freshness(world), mean_freshness(rates, _weights(), best)


def first_day(*, knows_rates: bool) -> float:
    """Return the freshness on the first day of a fleet. Nothing was read before, and the rates are other fleets'."""
    rates = true_rates(COMPANIES)
    feeds = list(simulated_feeds(rates))
    taught = zip(feeds, rates, strict=True)
    fleet = LearnedRates.learned(FeedSample(kind_of(CHEAP, each.feed.data_type), float(rate)) for each, rate in taught)
    for each in feeds:
        each.feed = Feed(company_id=each.feed.company_id, data_type=each.feed.data_type, connection_id="connection")
    world = World(
        simulated_feeds=feeds,
        policy=policy("4 weeks").with_learned(fleet),
        random=Random(2),
        knows_rates=knows_rates,
    )
    _refresh(world, 1, FIRST_DAY * len(feeds) * (DAY / EVERY))
    return _freshness(world)


def jump(*, knows_rates: bool) -> list[float]:
    """Return the freshness of each day after about half of the rates became ten times higher, and the others lower."""
    random, daily = Random(5), list[float]()
    feeds = list(simulated_feeds(true_rates(COMPANIES)))
    world = World(simulated_feeds=feeds, policy=policy("4 weeks"), random=Random(2), knows_rates=knows_rates)

    def next_day(day: int) -> None:
        if day == BEFORE:
            for simulated in world.simulated_feeds:
                simulated.changes_per_day *= random.choice((JUMP, 1 / JUMP))
                if knows_rates:
                    simulated.feed = replace(simulated.feed, changes_per_day=simulated.changes_per_day)
        elif day > BEFORE:
            world.measure_until(START + day * DAY)
            daily.append(_freshness(world))
        world.measure_from(START + day * DAY)

    _refresh(world, BEFORE + AFTER, len(feeds) * (DAY / EVERY), next_day)
    next_day(BEFORE + AFTER)
    return daily


def _refresh(world: World, days: int, refreshes_a_day: float, next_day: Callable[[int], None] | None = None) -> None:
    """Run hourly ticks for some days, with so many refreshes a day."""
    left = 0.0
    world.measure_from(START)
    for now in _hours(days):
        if next_day and not (now - START) % DAY:
            next_day((now - START) // DAY)
        left += refreshes_a_day * (HOUR / DAY)
        left -= world.tick(now, math.floor(left))
    if next_day is None:
        world.measure_until(START + days * DAY)


def measure(pool: Executor) -> Callable[[], list[Figure]]:
    """Start to measure. Return a function that waits for the results, and returns the figures."""
    priced: Future[tuple[float, float]] = pool.submit(with_prices, of_policy=True)
    unpriced: Future[tuple[float, float]] = pool.submit(with_prices, of_policy=False)
    first = {knows: pool.submit(first_day, knows_rates=knows) for knows in (False, True)}
    jumps = {knows: pool.submit(jump, knows_rates=knows) for knows in (False, True)}

    def figures() -> list[Figure]:
        freshness, best = priced.result()
        worst, known = min(
            zip(jumps[False].result(), jumps[True].result(), strict=True), key=lambda pair: pair[0] / pair[1]
        )
        ratio = DEAR, PRICES[DEAR] / PRICES[CHEAP]
        return [
            Figure(
                what=f"mean freshness for the same money, {ratio[0]} {ratio[1]:.0f} times as dear",
                topic=Topic.PROMISES,
                value=freshness,
                unit="",
                against=f"optimum (without [prices] {unpriced.result()[0]:.3f})",
                floor=best,
                at_least=0.95,
            ),
            Figure(
                what=f"mean freshness on the first day, {FIRST_DAY:.0%} of the refreshes",
                topic=Topic.PROMISES,
                value=first[False].result(),
                unit="",
                against="planner, rates known",
                floor=first[True].result(),
                at_least=0.85,
            ),
            Figure(
                what=f"mean freshness, all rates x {JUMP} or / {JUMP}: worst day after",
                topic=Topic.PROMISES,
                value=worst,
                unit="",
                against="planner, rates known",
                floor=known,
                at_least=0.96,
            ),
        ]

    return figures
