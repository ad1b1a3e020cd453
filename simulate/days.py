"""Days of a fleet under a policy, tick by tick, within the quota that Codat would give it."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from freshness.domain.api_limits import ApiLimits
from freshness.domain.feed import DAY
from freshness.planning.allowance import allowance
from freshness.policy.policy import Policy
from simulate import prices
from simulate.world import SimulatedFeed, World

LISTINGS_A_DAY = 96
COMPANIES_A_PAGE = 1000
MONTH = 30
TICK = timedelta(minutes=1)
"""As often as queueing is scheduled."""


@dataclass(slots=True)
class Rule:
    """What became of the feeds for which one table of the policy says how fresh they are to be."""

    feeds: int = 0
    refreshes: int = 0
    found_nothing: int = 0
    kept: int = 0
    """Feeds that were never older than promised."""
    current_days: float = 0.0
    days: float = 0.0


@dataclass(slots=True, kw_only=True)
class Report:
    """What some days came to."""

    companies: int
    feeds: int
    days: int
    quota: int
    """Calls a day."""
    calls: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """By the number of the day."""
    calls_by_hour: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    rules: dict[str, Rule] = field(default_factory=lambda: defaultdict(Rule))

    @property
    def total(self) -> Rule:
        """All feeds together."""
        total = Rule()
        for rule in self.rules.values():
            total.feeds += rule.feeds
            total.refreshes += rule.refreshes
            total.found_nothing += rule.found_nothing
            total.kept += rule.kept
            total.current_days += rule.current_days
            total.days += rule.days
        return total

    @property
    def usd_a_month(self) -> float:
        """What AWS would charge for it, see `simulate.prices`."""
        return MONTH * (prices.DAY + prices.REFRESH * self.total.refreshes / self.days)


def run(
    simulated_feeds: list[SimulatedFeed], policy: Policy, start: datetime, days: int, on_day: Callable[[], None]
) -> Report:
    """Simulate so many days from `start`, and measure them but for the first, in which what is overdue is made up for.

    `on_day` is called as each day ends.
    """
    world = World(simulated_feeds=simulated_feeds, policy=policy, random=Random(1))
    quota = ApiLimits(limit=1000 * (1 + len(world.companies)))
    report = Report(
        companies=len(world.companies),
        feeds=sum(not world.promise(simulated).off for simulated in simulated_feeds),
        days=days,
        quota=quota.limit or 0,
    )
    for day in range(days + 1):
        first = start + day * DAY
        if day == 1:
            world.measure_from(first)
        quota = _day(world, quota, report, first, day - 1)
        on_day()
    world.measure_until(start + (days + 1) * DAY)
    for simulated in simulated_feeds:
        _add(report, world, simulated)
    return report


def _day(world: World, quota: ApiLimits, report: Report, first: datetime, day: int) -> ApiLimits:
    listing = LISTINGS_A_DAY * -(-len(world.companies) // COMPANIES_A_PAGE)
    silent = {simulated.company.company_id for simulated in world.simulated_feeds} - {
        simulated.company.company_id
        for simulated in world.simulated_feeds
        if simulated.feed.succeeded_at and simulated.feed.succeeded_at > first - DAY
    }
    checks = listing + len(silent)
    quota = quota.made(checks, first)
    calls = checks
    now = first
    while now < first + DAY:
        queued = world.tick(now, allowance(world.policy.budget, quota, now))
        quota = quota.made(queued, now)
        calls += queued
        if day >= 0:
            report.calls_by_hour[day * 24 + (now - first) // timedelta(hours=1)] += queued
        event = world.next_event()
        now = now + TICK if event is None else max(now + TICK, _tick_after(event, first))
    if day >= 0:
        report.calls[day] = calls
    return quota


def _tick_after(time: datetime, first: datetime) -> datetime:
    return first + -((first - time) // TICK) * TICK


def _add(report: Report, world: World, simulated: SimulatedFeed) -> None:
    promise = world.promise(simulated)
    if promise.off:
        return
    measured, rule = simulated.measured, report.rules[promise.place]
    rule.feeds += 1
    rule.refreshes += measured.refreshes
    rule.found_nothing += measured.found_nothing
    rule.kept += not measured.broken
    rule.current_days += measured.current_days
    rule.days += measured.days
