"""Decides what a tick does about each feed that is due, and why.

Pure and deterministic: the same feeds, policy, allowance and time give the same decisions. `make simulate` and the
benchmarks run this very code.

A decision is stored only where a feed is written for it, since a write for each feed and tick would be expensive. To
know what applies now, call `decide` again.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

from freshness.domain import schedule, windows
from freshness.domain.change_rate import value_of_refreshing
from freshness.domain.company import Company, Connection
from freshness.domain.dataset import Trigger
from freshness.domain.feed import DAY, Feed
from freshness.domain.promise import Promise
from freshness.policy.policy import Policy


class Action(StrEnum):
    """What a tick does about a feed."""

    QUEUE = "queue"
    """Queue a refresh."""
    WAIT = "wait"
    """Do nothing: the next tick decides again."""
    CHECK = "check"
    """Make its company due for a check."""
    HIDE = "hide"
    """Remove it from the due index until its company is resumed."""
    RESCHEDULE = "reschedule"
    """Make it due at another time, or never."""


class Reason(StrEnum):
    """Why a tick does it."""

    DUE = "due"
    REQUESTED = "requested by an operator"
    KEEP_ALIVE = "keeping its connection alive"
    ON_DEMAND = "needed on demand"
    DUE_WITH_SET = "due with its set"
    NOT_YET = "not yet due"
    IN_FLIGHT = "in flight"
    LATE = "in flight for longer than usual"
    OUTSIDE_WINDOW = "outside the window"
    OVER_BUDGET = "over budget"
    OVER_SHARE = "over its connection's share of the day"
    WAITING_FOR_SET = "waiting for its set"
    PAUSED = "paused"
    BLOCKED = "blocked"
    UNSUPPORTED = "unsupported"
    OFF = "off"
    NO_CONNECTION = "connection unknown"


class Decision(NamedTuple):
    """What to do about one feed, and why. `until` is when it is due again, or may be queued, if known.

    This is a named tuple, and so is `_Candidate`, because creating a frozen dataclass takes five times as long.
    """

    feed: Feed
    company: Company
    action: Action
    reason: Reason
    until: datetime | None = None


class _Candidate(NamedTuple):
    """A feed that may be queued now: by itself if it `is_due`, else with its set. The lowest `rank` comes first."""

    feed: Feed
    company: Company
    connection: Connection
    due_at: datetime
    is_due: bool
    breaks_at: datetime | None
    rank: tuple[int, float, str, str, str]
    is_promised: bool = True
    """Whether it would be due even if nobody waited for it."""

    @property
    def queued(self) -> Decision:
        """Return the decision to queue it."""
        reason = Reason.DUE if self.is_due else Reason.DUE_WITH_SET
        if self.feed.refresh_requested_at:
            is_keep_alive = self.feed.refresh_requested_by is Trigger.KEEP_ALIVE
            reason = Reason.KEEP_ALIVE if is_keep_alive else Reason.REQUESTED
        elif self.feed.wanted:
            reason = Reason.ON_DEMAND
        return Decision(feed=self.feed, company=self.company, action=Action.QUEUE, reason=reason)

    def waits(self, reason: Reason) -> Decision:
        """Return the decision to leave it to the next tick."""
        return Decision(feed=self.feed, company=self.company, action=Action.WAIT, reason=reason)

    def rescheduled(self, reason: Reason, until: datetime) -> Decision:
        """Return the decision to make it due at another time."""
        return _rescheduled(self.feed, self.company, reason, until, self.breaks_at)


def decide(
    feeds: Iterable[Feed],
    companies: Mapping[str, Company],
    policy: Policy,
    now: datetime,
    *,
    paused: bool = False,
    allowance: float = math.inf,
    on_demand_allowance: float = math.inf,
) -> list[Decision]:
    """Return a decision about every feed: those to be queued come last, the most urgent of them first.

    All feeds of a company must be given if `needs_all_feeds` is true for one of them. `allowance` is how many refreshes
    may be queued now, and `on_demand_allowance` how many of those that callers wait for. While everything is `paused`,
    none is queued.
    """
    given = list(feeds)
    decisions: list[Decision] = []
    candidates: list[_Candidate] = []
    for feed in given:
        company = companies.get(feed.company_id) or Company(company_id=feed.company_id)
        decided = _decide_alone(feed, company, policy, now)
        if isinstance(decided, Decision):
            decisions.append(decided)
        else:
            candidates.append(decided)
    if paused:
        return [*decisions, *(candidate.waits(Reason.PAUSED) for candidate in candidates)]
    units, others = _units(candidates, policy, now)
    queued, left = _allotted(units, _Shares(policy, given, now), allowance, on_demand_allowance)
    not_yet = [candidate.rescheduled(Reason.NOT_YET, candidate.due_at) for candidate in others]
    return decisions + not_yet + left + queued


def needs_all_feeds(feed: Feed, company: Company, policy: Policy) -> bool:
    """Return whether the decision about a feed depends on its company's other feeds: on a set, or on a share."""
    connection = company.connections.get(feed.connection_id)
    if connection is None:
        return False
    return bool(policy.set_of(feed.data_type, company) or policy.refreshes_a_day(connection))


def _decide_alone(feed: Feed, company: Company, policy: Policy, now: datetime) -> Decision | _Candidate:
    """Return the decision about a feed that depends on no other; a candidate if it may be queued."""
    connection = company.connections.get(feed.connection_id)
    if connection is None:
        return Decision(feed=feed, company=company, action=Action.CHECK, reason=Reason.NO_CONNECTION)
    promise = policy.promise(feed.data_type, company, connection)
    due = schedule.due_at(feed, promise, connection)
    breaks_at = schedule.promise_event_at(feed, promise, connection)
    # A promise that broke by now was published by this tick.
    breaks_at = breaks_at if breaks_at and breaks_at > now else None
    if due is None:
        return _rescheduled(feed, company, _why_never(feed, promise, connection), None, breaks_at)
    if feed.in_flight and feed.late_at:
        late = feed.late_at <= now
        action, reason = (Action.CHECK, Reason.LATE) if late else (Action.WAIT, Reason.IN_FLIGHT)
        return Decision(feed=feed, company=company, action=action, reason=reason, until=feed.late_at)
    is_due = due <= now
    if not is_due and (feed.is_failing or policy.set_of(feed.data_type, company) is None):
        return _rescheduled(feed, company, Reason.NOT_YET, due, breaks_at)
    if company.paused:
        return Decision(feed=feed, company=company, action=Action.HIDE, reason=Reason.PAUSED, until=breaks_at)
    is_requested = feed.refresh_requested_at and feed.refresh_requested_by is not Trigger.KEEP_ALIVE
    ignores_windows = is_requested or (feed.wanted and feed.wanted.at_any_time)
    is_open = windows.allowed(promise.windows, now)
    if not ignores_windows and not is_open:
        if not is_due:
            return _rescheduled(feed, company, Reason.NOT_YET, due, breaks_at)
        return _rescheduled(feed, company, Reason.OUTSIDE_WINDOW, windows.next_allowed(promise.windows, now), breaks_at)
    is_promised = not feed.wanted or (is_open and _is_due_anyway(feed, promise, connection, now))
    return _Candidate(feed, company, connection, due, is_due, breaks_at, _rank(feed, promise, now), is_promised)


def _is_due_anyway(feed: Feed, promise: Promise, connection: Connection, now: datetime) -> bool:
    due = schedule.due_at(replace(feed, wanted=None), promise, connection)
    return due is not None and due <= now


def _rescheduled(
    feed: Feed, company: Company, reason: Reason, until: datetime | None, breaks_at: datetime | None
) -> Decision:
    until = min(filter(None, (until, breaks_at)), default=None)
    action = Action.WAIT if feed.due_at == until else Action.RESCHEDULE
    return Decision(feed=feed, company=company, action=action, reason=reason, until=until)


def _why_never(feed: Feed, promise: Promise, connection: Connection) -> Reason:
    if promise.off:
        return Reason.OFF
    if feed.is_unsupported:
        return Reason.UNSUPPORTED
    return Reason.BLOCKED if feed.is_blocked(connection) else Reason.OUTSIDE_WINDOW


def _rank(feed: Feed, promise: Promise, now: datetime) -> tuple[int, float, str, str, str]:
    """Return what orders candidates: requested ones, then those that their bound makes due, then the others.

    Bounds are ordered by age relative to the promise, and the others, which confidence alone makes due, by the value
    of a refresh now.
    """
    age = feed.age(now)
    if feed.refresh_requested_at:
        kind, urgency = 0, -feed.refresh_requested_at.timestamp()
    elif feed.wanted:
        kind, urgency = 0, -feed.wanted.deadline.timestamp()
    elif age is None:
        kind, urgency = 1, math.inf
    elif schedule.is_bound(feed, promise, now):
        kind, urgency = 1, promise.weight * (age / promise.fresh_within)
    else:
        kind, urgency = 2, value_of_refreshing(promise.weight, feed.rate(promise), age / DAY)
    return kind, -urgency, *feed.key


def _units(
    candidates: list[_Candidate], policy: Policy, now: datetime
) -> tuple[list[list[_Candidate]], list[_Candidate]]:
    """Return the groups that are queued together or not at all, the most urgent first, and the other candidates.

    A set is as urgent as the most urgent of its feeds that are due; if none is due, the set is not queued. Feeds of the
    set that were synced recently enough to agree with the others are not refreshed again.
    """
    units: list[list[_Candidate]] = []
    others: list[_Candidate] = []
    sets: dict[tuple[str, str], list[_Candidate]] = defaultdict(list)
    due: set[tuple[str, str]] = set()
    for candidate in sorted(candidates, key=attrgetter("rank")):
        together = policy.set_of(candidate.feed.data_type, candidate.company)
        if together is None:
            units.append([candidate])
            continue
        key = candidate.feed.company_id, together.name
        age = candidate.feed.age(now)
        if candidate.is_due and key not in due:
            due.add(key)
            units.append(sets[key])
        if candidate.is_due or age is None or age > together.within:
            sets[key].append(candidate)
        else:
            others.append(candidate)
    return units, others + [candidate for key, members in sets.items() if key not in due for candidate in members]


class _Shares:
    """How many more refreshes of each connection the policy allows today."""

    def __init__(self, policy: Policy, feeds: list[Feed], now: datetime) -> None:
        self._policy = policy
        self._queued: Counter[tuple[str, str]] = Counter()
        self.renewed_at = datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
        if policy.budget.refreshes_per_connection:
            for feed in feeds:
                self._queued[feed.company_id, feed.connection_id] += feed.requests_on(now.date())

    def take(self, candidate: _Candidate) -> bool:
        """Take a refresh from its connection's share. Return whether there was one left."""
        share = self._policy.refreshes_a_day(candidate.connection)
        if share is None:
            return True
        key = candidate.feed.company_id, candidate.feed.connection_id
        if self._queued[key] >= share:
            return False
        self._queued[key] += 1
        return True


def _allotted(
    units: list[list[_Candidate]], shares: _Shares, allowance: float, on_demand_allowance: float
) -> tuple[list[Decision], list[Decision]]:
    """Return the decisions to queue candidates, and those to leave them.

    Once a group does not fit in the rest of the allowance, no later one is queued either, so that less urgent ones do
    not spend what it waits for. A feed without a share of its connection left does not hold back the rest of its set.
    What callers wait for is queued from an allowance of its own, and from the other only if it is due anyway.
    """
    queued: list[Decision] = []
    left: list[Decision] = []
    on_demand = 0
    for unit in units:
        if unit[0].feed.wanted and len(unit) <= on_demand_allowance:
            before = len(queued)
            _queue(unit, shares, queued, left)
            on_demand_allowance -= len(queued) - before
            on_demand += len(queued) - before
            continue
        if not any(candidate.is_promised for candidate in unit):
            left += (candidate.waits(Reason.OVER_BUDGET) for candidate in unit)
            continue
        remaining = allowance - (len(queued) - on_demand)
        if len(unit) > remaining:
            reason = Reason.WAITING_FOR_SET if remaining >= 1 and len(unit) > 1 else Reason.OVER_BUDGET
            left += (candidate.waits(reason) for candidate in unit)
            allowance = 0
            continue
        _queue(unit, shares, queued, left)
    return queued, left


def _queue(unit: list[_Candidate], shares: _Shares, queued: list[Decision], left: list[Decision]) -> None:
    for candidate in unit:
        if shares.take(candidate):
            queued.append(candidate.queued)
        else:
            left.append(candidate.rescheduled(Reason.OVER_SHARE, shares.renewed_at))
