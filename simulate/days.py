"""Days of a fleet under a policy, tick by tick, within the quota that Codat would give it."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from freshness.budget import allowance
from freshness.policy import Policy
from freshness.quota import Quota
from freshness.row import DAY
from simulate import prices
from simulate.world import Feed, World

LISTINGS_A_DAY = 96
COMPANIES_A_PAGE = 1000
MONTH = 30
TICK = timedelta(minutes=1)
"""As often as queueing is scheduled."""


@dataclass(slots=True)
class Rule:
    """What became of the rows for which one table of the policy says how fresh they are to be."""

    rows: int = 0
    refreshes: int = 0
    found_nothing: int = 0
    kept: int = 0
    """Rows that were never older than promised."""
    current_days: float = 0.0
    days: float = 0.0


@dataclass(slots=True, kw_only=True)
class Report:
    """What some days came to."""

    companies: int
    rows: int
    days: int
    quota: int
    """Calls a day."""
    calls: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """By the number of the day."""
    calls_by_hour: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    rules: dict[str, Rule] = field(default_factory=lambda: defaultdict(Rule))

    @property
    def total(self) -> Rule:
        """All rows together."""
        total = Rule()
        for rule in self.rules.values():
            total.rows += rule.rows
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


def run(feeds: list[Feed], policy: Policy, start: datetime, days: int, on_day: Callable[[], None]) -> Report:
    """Simulate so many days from `start`, and measure them but for the first, in which what is overdue is made up for.

    `on_day` is called as each day ends.
    """
    world = World(feeds=feeds, policy=policy, random=Random(1))
    quota = Quota(limit=1000 * (1 + len(world.companies)))
    report = Report(
        companies=len(world.companies),
        rows=sum(not world.promise(feed).off for feed in feeds),
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
    for feed in feeds:
        _add(report, world, feed)
    return report


def _day(world: World, quota: Quota, report: Report, first: datetime, day: int) -> Quota:
    listing = LISTINGS_A_DAY * -(-len(world.companies) // COMPANIES_A_PAGE)
    silent = {feed.company.company_id for feed in world.feeds} - {
        feed.company.company_id for feed in world.feeds if feed.row.succeeded_at and feed.row.succeeded_at > first - DAY
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


def _add(report: Report, world: World, feed: Feed) -> None:
    promise = world.promise(feed)
    if promise.off:
        return
    measured, rule = feed.measured, report.rules[promise.place]
    rule.rows += 1
    rule.refreshes += measured.refreshes
    rule.found_nothing += measured.found_nothing
    rule.kept += not measured.broken
    rule.current_days += measured.current_days
    rule.days += measured.days
