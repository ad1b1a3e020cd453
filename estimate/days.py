"""Simulation of a fleet under a policy over several days, tick by tick, within Codat's quota for the fleet."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from estimate.bill import usd_a_month
from estimate.world import RuleReport, SimulatedFeed, World, sum_of
from freshness.app.reading.text import duration
from freshness.domain.api_limits import ApiLimits
from freshness.domain.feeds.feed import DAY
from freshness.planning.budgets import call_budget
from freshness.policy.policy import Policy

LISTINGS_A_DAY = 96
COMPANIES_A_PAGE = 1000
TICK = timedelta(minutes=1)
"""The interval at which `queue_refreshes` runs."""


@dataclass(slots=True, kw_only=True)
class Report:
    """The results of a simulation."""

    start: datetime
    """The beginning of the first day that is measured."""
    companies: int
    feeds: int
    days: int
    quota: int
    """Codat's daily quota of calls."""
    calls: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Calls to Codat, by day, from 0."""
    refreshes_by_hour: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Refreshes queued, by hour, from 0."""
    rules: dict[str, RuleReport] = field(default_factory=lambda: defaultdict(RuleReport))
    """The results by the table of the policy that sets the freshness, such as `[default] (freshness.toml:11)`."""
    deadlines_met: Counter[str] = field(default_factory=Counter)
    """How many deadlines feeds have met, by where the policy sets them."""
    deadlines_missed: Counter[str] = field(default_factory=Counter)
    unkept: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many feeds were older than promised, by the table that sets the freshness and by the reason."""

    @property
    def sources(self) -> set[str]:
        """Return the tables of the policy that have a row."""
        return {*self.rules, *self.deadlines_met, *self.deadlines_missed}

    @property
    def total(self) -> RuleReport:
        return sum_of(self.rules.values())

    @property
    def usd_a_month(self) -> float:
        """Return what AWS charges in a month, in USD at list prices."""
        return usd_a_month(self.total.refreshes / self.days, self.companies)


def calls_of_lists(companies: int) -> int:
    """Return how many calls list the companies in a day."""
    return LISTINGS_A_DAY * -(-companies // COMPANIES_A_PAGE)


def run(
    simulated_feeds: list[SimulatedFeed],
    policy: Policy,
    start: datetime,
    days: int,
    on_day: Callable[[], None],
    quota: int | None = None,
) -> Report:
    """Simulate a fleet from `start`, and return the results of `days` days.

    One day before them is simulated and not measured, so that overdue feeds are refreshed first. `on_day` is called at
    the end of each day. `quota` is Codat's daily quota, by default that for the number of companies.
    """
    world = World(simulated_feeds=simulated_feeds, policy=policy, random=Random(1))
    limits = ApiLimits(daily_quota=quota or 1000 * (1 + len(world.companies)))
    report = Report(
        start=start + DAY,
        companies=len(world.companies),
        feeds=sum(not world.promise(simulated).off for simulated in simulated_feeds),
        days=days,
        quota=limits.daily_quota or 0,
    )
    for day in range(days + 1):
        start_of_day = start + day * DAY
        if day == 1:
            world.measure_from(start_of_day)
        limits = _simulate_day(world, limits, report, start_of_day, day - 1)
        on_day()
    world.measure_until(start + (days + 1) * DAY)
    for simulated in simulated_feeds:
        _add_to_report(report, world, simulated)
    return report


def _simulate_day(world: World, limits: ApiLimits, report: Report, start_of_day: datetime, day: int) -> ApiLimits:
    """Simulate one day, add it to the report unless `day` is negative, and return the API limits after it.

    Calls to Codat are the lists of companies, a check of each company without a sync in the last day, and refreshes.
    """
    unsynced = {simulated.company.company_id for simulated in world.simulated_feeds} - {
        simulated.company.company_id
        for simulated in world.simulated_feeds
        if simulated.feed.succeeded_at and simulated.feed.succeeded_at > start_of_day - DAY
    }
    calls = calls_of_lists(len(world.companies)) + len(unsynced)
    limits = limits.with_calls(calls, start_of_day)
    now = start_of_day
    while now < start_of_day + DAY:
        allowed = min(call_budget(world.policy.budget, limits, now), world.policy.budget.calls_per_minute)
        queued = world.tick(now, allowed)
        limits = limits.with_calls(queued, now)
        calls += queued
        if day >= 0:
            report.refreshes_by_hour[day * 24 + (now - start_of_day) // timedelta(hours=1)] += queued
        event = world.next_event()
        now = now + TICK if event is None else max(now + TICK, _first_tick_from(event, start_of_day))
    if day >= 0:
        report.calls[day] = calls
    return limits


def _first_tick_from(time: datetime, start_of_day: datetime) -> datetime:
    return start_of_day + -((start_of_day - time) // TICK) * TICK


def _add_to_report(report: Report, world: World, simulated: SimulatedFeed) -> None:
    promise = world.promise(simulated)
    if promise.off:
        return
    measured, price = simulated.measured, world.policy.price(simulated.connection)
    report.deadlines_met.update(measured.deadlines_met)
    report.deadlines_missed.update(measured.deadlines_missed)
    for source, rule in measured.rules.items():
        amount = price.amount if price else 0.0
        rule.feeds, rule.cost, rule.cost_of_nothing = 1, rule.refreshes * amount, rule.found_nothing * amount
        report.rules[source].add(rule)
        if rule.attained.late:
            why = measured.held_back or f"a read takes about {duration(simulated.sync_time)}"
            report.unkept[source, why] += 1
