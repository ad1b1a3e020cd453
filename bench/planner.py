"""The mean freshness that the planner reaches, compared with Codat's fixed schedule, and with the optimum.

A generated fleet, whose true change rates the planner does not know, has been on Codat's fixed schedule for a month.
The planner then has as many refreshes a day as that schedule. After some days, in which it continues to learn, the
weighted mean freshness is measured: the expected share of time in which a copy is up to date. Other worlds have prices
that differ, a fleet on its first day, or rates that jump.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

import numpy as np

from bench.figures import Figure, Topic, show
from bench.optimum import Numbers, best_refreshes, mean_freshness
from bench.simulated_fleet import DATA_TYPES, EVERY, START, policy, simulated_feeds, true_rates
from estimate.world import SimulatedFeed, World
from freshness.domain.feeds.feed import DAY, Feed
from freshness.domain.feeds.schedule import QUEUEING_MARGIN
from freshness.domain.learned.learned_rates import FeedSample, LearnedRates, kind_of
from freshness.planning.decision import Action, Decision
from freshness.policy.policy import Policy

HOUR = timedelta(hours=1)
COMPANIES = 300
LEARNING, MEASURED = 2, 2
"""Days."""
FEWER = 0.6
"""The share of the fixed schedule's refreshes with which the planner should reach the same mean freshness."""
BOUND = "12 hours"
FEW = 100
"""How many companies the worlds have that are not compared with each other."""
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


def _world(companies: int, policy: Policy, *, knows_rates: bool = False) -> World:
    feeds = list(simulated_feeds(true_rates(companies)))
    return World(simulated_feeds=feeds, policy=policy, random=Random(2), knows_rates=knows_rates)


def _refresh(
    world: World,
    days: int,
    share: float = 1.0,
    *,
    tick: timedelta = HOUR,
    on_day: Callable[[int, datetime], None] = lambda *_: None,
) -> None:
    """Run ticks for some days, with a share of the refreshes of Codat's schedule. `on_day` is called as each begins."""
    refreshes_a_day = share * len(world.simulated_feeds) * (DAY / EVERY)
    left = 0.0
    for number in range(round(days * DAY / tick)):
        now = START + number * tick
        if not (now - START) % DAY:
            on_day((now - START) // DAY, now)
        left += refreshes_a_day * (tick / DAY)
        left -= world.tick(now, math.floor(left))
    world.measure_until(START + days * DAY)


def _freshness(world: World) -> float:
    """Return the weighted mean freshness since the measurements began."""
    measured = [simulated.measured.total for simulated in world.simulated_feeds]
    freshness = [each.current_days / each.days for each in measured]
    return float(np.average(freshness, weights=_weights(len(measured))))


def _weights(feeds: int) -> Numbers:
    return np.tile(np.array(list(DATA_TYPES.values()), dtype=np.float64), feeds // len(DATA_TYPES))


def after_learning(
    share: float = 1.0,
    *,
    knows_rates: bool = False,
    fresh_within: str = "4 weeks",
    companies: int = COMPANIES,
    tick: timedelta = HOUR,
) -> tuple[float, int]:
    """Return the freshness with a share of the schedule's refreshes, and how many promises broke."""
    world = _world(companies, policy(fresh_within), knows_rates=knows_rates)

    def on_day(day: int, now: datetime) -> None:
        if day == LEARNING:
            world.measure_from(now)

    _refresh(world, LEARNING + MEASURED, share, tick=tick, on_day=on_day)
    return _freshness(world), sum(simulated.measured.broken for simulated in world.simulated_feeds)


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


def with_prices(*, of_policy: bool) -> tuple[float, float]:
    """Return the freshness for the money spent, and the best possible. `of_policy`: whether the policy has prices."""
    feeds = list(simulated_feeds(true_rates(FEW)))
    for simulated in feeds[len(feeds) // 2 :]:
        simulated.connection = replace(simulated.connection, platform=DEAR)
        simulated.company = replace(simulated.company, connections={"connection": simulated.connection})
    tables = policy("4 weeks").model_dump(mode="json", exclude_unset=True)
    if of_policy:
        tables["prices"] = {platform: f"{price} USD per refresh" for platform, price in PRICES.items()}
    world = _Charged(simulated_feeds=feeds, policy=Policy.model_validate(tables), random=Random(2))
    measured_at, ends_at, now = START + LEARNING * DAY, START + (LEARNING + MEASURED) * DAY, START
    while now < ends_at:
        if now == measured_at:
            world.measure_from(now)
        world.money += MONEY * len(feeds) * (HOUR / DAY)
        world.tick(now, math.inf)
        now += HOUR
    world.measure_until(ends_at)
    rates, prices, weights = true_rates(FEW), np.array([_price(simulated) for simulated in feeds]), _weights(len(feeds))
    money = sum(simulated.measured.total.refreshes * _price(simulated) for simulated in feeds) / MEASURED
    # Counted in refreshes times their price, n a day cost n: this is the problem without prices in other units.
    best = best_refreshes(rates * prices, weights, money) / prices
    return _freshness(world), mean_freshness(rates, weights, best)


def first_day(*, knows_rates: bool) -> float:
    """Return the freshness on the first day of a fleet. Nothing was read before, and the rates are other fleets'."""
    world = _world(FEW, policy("4 weeks"), knows_rates=knows_rates)
    rates = {each.feed.key: each.changes_per_day for each in world.simulated_feeds}
    fleet = LearnedRates.learned(FeedSample(kind_of(CHEAP, key[1]), rate) for key, rate in rates.items())
    for each in world.simulated_feeds:
        each.feed = Feed(company_id=each.feed.company_id, data_type=each.feed.data_type, connection_id="connection")
    world = World(
        simulated_feeds=world.simulated_feeds,
        policy=policy("4 weeks").with_learned(fleet),
        random=Random(2),
        knows_rates=knows_rates,
    )
    world.measure_from(START)
    _refresh(world, 1, FIRST_DAY)
    return _freshness(world)


def after_jump(*, knows_rates: bool) -> list[float]:
    """Return the freshness of each day after about half of the rates became ten times higher, and the others lower."""
    random, daily = Random(5), list[float]()
    world = _world(FEW, policy("4 weeks"), knows_rates=knows_rates)

    def on_day(day: int, now: datetime) -> None:
        if day == BEFORE:
            for simulated in world.simulated_feeds:
                simulated.changes_per_day *= random.choice((JUMP, 1 / JUMP))
                if knows_rates:
                    simulated.feed = replace(simulated.feed, changes_per_day=simulated.changes_per_day)
        elif day > BEFORE:
            world.measure_until(now)
            daily.append(_freshness(world))
        world.measure_from(now)

    _refresh(world, BEFORE + AFTER, on_day=on_day)
    return [*daily, _freshness(world)]


def measure() -> list[Figure]:
    """Measure all worlds."""
    rates, weights = true_rates(COMPANIES), _weights(COMPANIES * len(DATA_TYPES))
    total = len(rates) * (DAY / EVERY)
    best, best_of_fewer = (
        mean_freshness(rates, weights, best_refreshes(rates, weights, share * total)) for share in (1, FEWER)
    )
    # Round robin, and the oldest first, space the refreshes of a feed as evenly, and reach the same.
    fixed = mean_freshness(rates, weights, np.full_like(rates, DAY / EVERY))
    (learned, _), (known, _), (fewer, _) = (
        after_learning(),
        after_learning(knows_rates=True),
        after_learning(FEWER),
    )
    _, broken = after_learning(fresh_within=BOUND, companies=FEW, tick=QUEUEING_MARGIN)
    priced, best_for_money = with_prices(of_policy=True)
    unpriced, _ = with_prices(of_policy=False)
    worst, worst_known = min(
        zip(after_jump(knows_rates=False), after_jump(knows_rates=True), strict=True),
        key=lambda days: days[0] / days[1],
    )
    return [
        _figure("mean freshness, planner, rates learned", learned, "optimum", best, at_least=0.97),
        _figure("mean freshness, planner, rates known", known, "optimum", best),
        _figure("mean freshness, Codat's fixed schedule", fixed, "optimum", best),
        _figure(
            f"mean freshness, planner with rates learned, {FEWER:.0%} of the refreshes",
            fewer,
            f"Codat's schedule with all of them; the optimum with {FEWER:.0%} is {best_of_fewer:.3f}",
            fixed,
            at_least=1.0,
        ),
        Figure(
            what=f"promises of {BOUND} broken, planner with rates learned, {FEW} companies",
            topic=Topic.PROMISES,
            value=broken,
            unit="",
            against=f"budget for a refresh every {EVERY / HOUR:.0f} hours",
            at_most=0,
        ),
        _figure(
            f"mean freshness for the same money, {DEAR} {PRICES[DEAR] / PRICES[CHEAP]:.0f} times as dear",
            priced,
            f"optimum (without [prices] {unpriced:.3f})",
            best_for_money,
            at_least=0.95,
        ),
        _figure(
            f"mean freshness on the first day, {FIRST_DAY:.0%} of the refreshes",
            first_day(knows_rates=False),
            "planner, rates known",
            first_day(knows_rates=True),
            at_least=0.85,
        ),
        _figure(
            f"mean freshness, all rates x {JUMP} or / {JUMP}: worst day after",
            worst,
            "planner, rates known",
            worst_known,
            at_least=0.96,
        ),
    ]


def _figure(what: str, value: float, against: str, floor: float, at_least: float | None = None) -> Figure:
    return Figure(
        what=what, topic=Topic.PROMISES, value=value, unit="", against=against, floor=floor, at_least=at_least
    )


if __name__ == "__main__":
    show("Planner", measure())
