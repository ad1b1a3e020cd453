"""What a policy would do to a fleet, what that would cost, and what a new policy would change."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from estimate import bill
from estimate.days import calls_of_lists, run
from estimate.world import Measured, SimulatedFeed
from freshness.app.reading.text import duration
from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import in_force
from freshness.domain.feeds.feed import Feed
from freshness.domain.learned.change_rate import change_rate
from freshness.domain.promises.promise import AttainmentKey, Promise
from freshness.domain.times import BEGINNING
from freshness.planning.decision import Action
from freshness.planning.planner import decide
from freshness.policy.policy import Policy
from freshness.policy.unmatched import unmatched

MOST_SIMULATED = 20_000
"""The most feeds that are simulated. A larger fleet is represented by some of its companies."""
_ANY = AttainmentKey(rule="", platform="", tags=())
NAMED = 10
"""How many feeds an effect names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A fleet at one moment, as far as it is known. `limits` are Codat's."""

    companies: Collection[Company]
    feeds: Collection[Feed]
    limits: ApiLimits
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Unkept:
    """Promises of one table of the policy that would not be kept, though Codat can read the data."""

    rule: str
    feeds: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a policy would do to a fleet. Numbers a day are those of the second day, when nothing is overdue."""

    companies: int
    feeds: int
    """The feeds that are kept fresh."""
    queued_now: Mapping[str, int]
    """The refreshes that are due now, by data type."""
    calls_a_day: float
    quota: int
    refreshes_a_day: float
    aws_usd_a_month: float
    """What AWS charges at list prices, without the dashboard."""
    aws_usd_a_month_with_free_tier: float
    platforms_a_month: float
    """What the platforms charge, in the currency of the policy's prices."""
    currency: str
    matches_nothing: Sequence[str]
    unkept: Sequence[Unkept]
    waiting_for_people: int
    """Feeds that cannot be read before a person acts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a policy changes about the promises of a fleet."""

    tightened: int
    loosened: int
    otherwise: int
    """Promises that change in something else, such as their deadlines."""
    named: Sequence[str]
    """The first of the feeds, with their promise before and after."""

    @property
    def feeds(self) -> int:
        """Return the number of feeds whose promise changes."""
        return self.tightened + self.loosened + self.otherwise


def plan(fleet: Fleet, policy: Policy, on_day: Callable[[], None] = lambda: None) -> Plan:
    """Return what a policy would do to a fleet. `on_day` is called after each of the two simulated days."""
    refreshable = _refreshable(fleet, policy)
    sample, scale = _sampled(refreshable)
    companies = {each.company.company_id for each in refreshable}
    sampled = len({each.company.company_id for each in sample})
    quota = fleet.limits.daily_quota or 1000 * (1 + len(companies))
    report = run(sample, policy, fleet.at, 1, on_day=on_day, quota=max(1, round(quota / scale)))
    calls, total = sum(report.calls.values()), report.total
    known = [company for company in fleet.companies if company.deleted_at is None]
    # A company is polled once a day while nothing of it is read.
    polled = sum(company.was_linked for company in known if company.company_id not in companies)
    parts = bill.parts(scale * total.refreshes * bill.DAYS_A_MONTH, len(known))
    return Plan(
        companies=len(known),
        feeds=sum(not _promise(policy, each).off for each in refreshable),
        queued_now=_queued_now(fleet, policy),
        calls_a_day=calls_of_lists(len(known)) + polled + scale * (calls - calls_of_lists(sampled)),
        quota=quota,
        refreshes_a_day=scale * total.refreshes,
        aws_usd_a_month=bill.total(parts),
        aws_usd_a_month_with_free_tier=bill.with_free_tier(parts),
        platforms_a_month=scale * total.cost * bill.DAYS_A_MONTH,
        currency=next((price.currency for price in policy.prices.values()), ""),
        matches_nothing=tuple(unmatched(policy, fleet.companies)),
        unkept=tuple(
            Unkept(rule=rule, feeds=round(scale * feeds), why=why) for (rule, why), feeds in report.unkept.most_common()
        ),
        waiting_for_people=_waiting_for_people(fleet),
    )


def effect(fleet: Fleet, before: Policy, after: Policy) -> Effect:
    """Return which promises change when the policy `after` replaces `before`."""
    changes: Counter[str] = Counter()
    named: list[str] = []
    for each in _refreshable(fleet, before):
        old, new = _promise(before, each), _promise(after, each)
        if _terms(old) == _terms(new):
            continue
        was, is_now = _length(old), _length(new)
        changes["tightened" if is_now < was else "loosened" if is_now > was else "otherwise"] += 1
        if len(named) < NAMED:
            named.append(f"{each.feed.data_type} of {each.company.name}: {_text(old)} → {_text(new)}")
    return Effect(
        tightened=changes["tightened"], loosened=changes["loosened"], otherwise=changes["otherwise"], named=named
    )


def _refreshable(fleet: Fleet, policy: Policy) -> list[SimulatedFeed]:
    """Return the feeds that can be refreshed: their connection is linked, nobody must act first, and nothing is paused.

    The change rate of each is estimated from its syncs, and taken as its true rate.
    """
    of_company: defaultdict[str, list[Feed]] = defaultdict(list)
    for feed in fleet.feeds:
        of_company[feed.company_id].append(feed)
    return [
        _simulated(feed, company, policy)
        for company in fleet.companies
        if not company.deleted_at and not in_force(company.pause, fleet.at)
        for feed in of_company[company.company_id]
        if _can_be_refreshed(feed, company)
    ]


def _can_be_refreshed(feed: Feed, company: Company) -> bool:
    connection = company.connections.get(feed.connection_id)
    if connection is None or not connection.is_linked or connection.suffices(feed.succeeded_at):
        return False
    return not feed.is_unsupported and not feed.is_blocked(connection)


def _simulated(feed: Feed, company: Company, policy: Policy) -> SimulatedFeed:
    connection = company.connections[feed.connection_id]
    promise = policy.promise(feed.data_type, company, connection)
    return SimulatedFeed(
        feed=feed,
        company=company,
        connection=connection,
        changes_per_day=change_rate(feed.history.observations(), promise.expected_changes_per_day),
        sync_time=feed.usual_sync_time,
        measured=Measured(since=BEGINNING),
    )


def _sampled(fleet: list[SimulatedFeed]) -> tuple[list[SimulatedFeed], float]:
    """Return the feeds of some companies, spread over the fleet, and how many feeds each of them stands for."""
    every = -(-len(fleet) // MOST_SIMULATED)
    if every <= 1:
        return fleet, 1.0
    ids = sorted({each.company.company_id for each in fleet})[::every]
    chosen = set(ids)
    sample = [each for each in fleet if each.company.company_id in chosen]
    return sample, len(fleet) / len(sample)


def _queued_now(fleet: Fleet, policy: Policy) -> dict[str, int]:
    companies = {company.company_id: company for company in fleet.companies}
    decisions = decide(fleet.feeds, companies, policy, fleet.at)
    return dict(Counter(each.feed.data_type for each in decisions if each.action is Action.QUEUE).most_common())


def _waiting_for_people(fleet: Fleet) -> int:
    companies = {company.company_id: company for company in fleet.companies}
    return sum(
        not feed.is_unsupported and feed.is_blocked(connection)
        for feed in fleet.feeds
        if (company := companies.get(feed.company_id))
        and (connection := company.connections.get(feed.connection_id))
        and not connection.is_over
    )


def _promise(policy: Policy, simulated: SimulatedFeed) -> Promise:
    return policy.promise(simulated.feed.data_type, simulated.company, simulated.connection)


def _terms(promise: Promise) -> tuple[object, ...]:
    """Return the terms of a promise, without where the policy sets them: promises of the same have equal terms."""
    base = replace(promise, source="", group=_ANY, time_of_day=None)
    clock = promise.time_of_day
    if clock is None:
        return (base,)
    terms = (replace(each, source="") for each in clock.terms)
    deadlines = (replace(each, source="") for each in clock.deadlines)
    return base, *terms, *deadlines


def _length(promise: Promise) -> timedelta:
    return timedelta.max if promise.off else promise.fresh_within


def _text(promise: Promise) -> str:
    return "off" if promise.off else duration(promise.fresh_within)
