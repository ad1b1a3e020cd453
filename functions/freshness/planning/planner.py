"""What to do about each feed that a tick looks at, and why.

Pure and deterministic: the same feeds, policy, allowance and time give the same decisions. `make simulate` and the
benchmark run this very code.

The decisions are not stored for their own sake, which would cost a write for each feed and tick: a feed keeps the one
after which it was last written, and whoever wants to know of any other has it worked out anew by `decide`.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

from freshness.domain import windows
from freshness.domain.change_rate import value_of_refreshing
from freshness.domain.company import Company, Connection
from freshness.domain.feed import DAY, Feed
from freshness.domain.promise import Promise
from freshness.policy.policy import Policy


class Action(StrEnum):
    """What a tick does about a feed."""

    QUEUE = "queue"
    """Queue a refresh."""
    WAIT = "wait"
    """Nothing: the next tick decides anew."""
    CHECK = "check"
    """Have its company checked."""
    HIDE = "leave"
    """Take it out of sight until its company is resumed and checked."""
    RESCHEDULE = "plan anew"
    """Have it come into sight at another time than it did, or never."""


class Reason(StrEnum):
    """Why."""

    DUE = "due"
    REQUESTED = "requested by an operator"
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
    """What to do about one feed, and why. `until` is when it comes into sight again, or may be queued, if known.

    A named tuple, as a candidate is, since there is one for every feed: a frozen dataclass takes five times as long.
    """

    feed: Feed
    company: Company
    action: Action
    reason: Reason
    until: datetime | None = None


class _Candidate(NamedTuple):
    """A feed that may be queued now, alone if it `is_due`, else only with its set. The lowest `rank` comes first."""

    feed: Feed
    company: Company
    connection: Connection
    due_at: datetime
    is_due: bool
    news_at: datetime | None
    rank: tuple[int, float, str, str, str]

    @property
    def queued(self) -> Decision:
        """The decision to queue it."""
        reason = Reason.DUE if self.is_due else Reason.DUE_WITH_SET
        if self.feed.refresh_requested_at:
            reason = Reason.REQUESTED
        return Decision(feed=self.feed, company=self.company, action=Action.QUEUE, reason=reason)

    def waits(self, reason: Reason) -> Decision:
        """The decision to have it wait for the next tick."""
        return Decision(feed=self.feed, company=self.company, action=Action.WAIT, reason=reason)

    def comes_back(self, reason: Reason, until: datetime) -> Decision:
        """The decision to have it out of sight for a time."""
        return _planned(self.feed, self.company, reason, until, self.news_at)


def decide(
    feeds: Iterable[Feed],
    companies: Mapping[str, Company],
    policy: Policy,
    now: datetime,
    *,
    paused: bool = False,
    allowance: float = math.inf,
) -> list[Decision]:
    """Decide about every feed, those to be queued last, the most urgent of them first.

    Of a company that `needs_all_feeds`, all feeds must be given. `allowance` is how many refreshes may be queued now.
    While all is `paused`, none is.
    """
    given = list(feeds)
    decisions: list[Decision] = []
    candidates: list[_Candidate] = []
    for feed in given:
        company = companies.get(feed.company_id) or Company(company_id=feed.company_id)
        looked_at = _look(feed, company, policy, now)
        if isinstance(looked_at, Decision):
            decisions.append(looked_at)
        else:
            candidates.append(looked_at)
    if paused:
        return [*decisions, *(candidate.waits(Reason.PAUSED) for candidate in candidates)]
    units, others = _units(candidates, policy, now)
    queued, left = _allotted(units, _Shares(policy, given, now), allowance)
    not_yet = [candidate.comes_back(Reason.NOT_YET, candidate.due_at) for candidate in others]
    return decisions + not_yet + left + queued


def needs_all_feeds(feed: Feed, company: Company, policy: Policy) -> bool:
    """Return whether the decision about a feed depends on its company's other feeds: on a set, or on a share."""
    connection = company.connections.get(feed.connection_id)
    if connection is None:
        return False
    return bool(policy.set_of(feed.data_type, company) or policy.refreshes_a_day(connection))


def _look(feed: Feed, company: Company, policy: Policy, now: datetime) -> Decision | _Candidate:
    """What is to be done about a feed, looked at alone; a candidate if it may be queued, by itself or with its set."""
    connection = company.connections.get(feed.connection_id)
    if connection is None:
        return Decision(feed=feed, company=company, action=Action.CHECK, reason=Reason.NO_CONNECTION)
    promise = policy.promise(feed.data_type, company, connection)
    due = feed.due(promise, connection)
    news_at = feed.news_at(promise, connection)
    # What there is to tell by now, this tick has told.
    news_at = news_at if news_at and news_at > now else None
    if due is None:
        return _planned(feed, company, _why_never(feed, promise, connection), None, news_at)
    if feed.in_flight and feed.late_at:
        late = feed.late_at <= now
        action, reason = (Action.CHECK, Reason.LATE) if late else (Action.WAIT, Reason.IN_FLIGHT)
        return Decision(feed=feed, company=company, action=action, reason=reason, until=feed.late_at)
    is_due = due <= now
    if not is_due and (feed.is_failing or policy.set_of(feed.data_type, company) is None):
        return _planned(feed, company, Reason.NOT_YET, due, news_at)
    if company.paused:
        return Decision(feed=feed, company=company, action=Action.HIDE, reason=Reason.PAUSED)
    if not feed.refresh_requested_at and not windows.allowed(promise.windows, now):
        if not is_due:
            return _planned(feed, company, Reason.NOT_YET, due, news_at)
        return _planned(feed, company, Reason.OUTSIDE_WINDOW, windows.next_allowed(promise.windows, now), news_at)
    return _Candidate(feed, company, connection, due, is_due, news_at, _rank(feed, promise, now))


def _planned(
    feed: Feed, company: Company, reason: Reason, until: datetime | None, news_at: datetime | None
) -> Decision:
    until = min(filter(None, (until, news_at)), default=None)
    action = Action.WAIT if feed.due_at == until else Action.RESCHEDULE
    return Decision(feed=feed, company=company, action=action, reason=reason, until=until)


def _why_never(feed: Feed, promise: Promise, connection: Connection) -> Reason:
    if promise.off:
        return Reason.OFF
    if feed.is_unsupported:
        return Reason.UNSUPPORTED
    return Reason.BLOCKED if feed.is_blocked(connection) else Reason.OUTSIDE_WINDOW


def _rank(feed: Feed, promise: Promise, now: datetime) -> tuple[int, float, str, str, str]:
    """What a person asked for first; then what its bound asks for, by how near it or past it a feed is; then the rest.

    The rest, which confidence alone asks for, comes by what a refresh is worth now.
    """
    age = feed.age(now)
    if feed.refresh_requested_at:
        kind, urgency = 0, -feed.refresh_requested_at.timestamp()
    elif age is None:
        kind, urgency = 1, math.inf
    elif feed.is_bound(promise, now):
        kind, urgency = 1, promise.weight * (age / promise.fresh_within)
    else:
        kind, urgency = 2, value_of_refreshing(promise.weight, feed.rate(promise), age / DAY)
    return kind, -urgency, *feed.key


def _units(
    candidates: list[_Candidate], policy: Policy, now: datetime
) -> tuple[list[list[_Candidate]], list[_Candidate]]:
    """What is queued together or not at all, the most urgent first, and the candidates that are not to be queued.

    A set is as urgent as the most urgent of its feeds that are due; if none is, it is not to be queued. Those of its
    feeds that were synced so lately that they fit are left as they are.
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
    """How many more refreshes each connection may get today."""

    def __init__(self, policy: Policy, feeds: list[Feed], now: datetime) -> None:
        self._policy = policy
        self._queued: Counter[tuple[str, str]] = Counter()
        self.renewed_at = datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
        if policy.budget.refreshes_per_connection:
            for feed in feeds:
                self._queued[feed.company_id, feed.connection_id] += feed.requests_on(now.date())

    def take(self, candidate: _Candidate) -> bool:
        """Take one, if there is one left."""
        share = self._policy.refreshes_a_day(candidate.connection)
        if share is None:
            return True
        key = candidate.feed.company_id, candidate.feed.connection_id
        if self._queued[key] >= share:
            return False
        self._queued[key] += 1
        return True


def _allotted(
    units: list[list[_Candidate]], shares: _Shares, allowance: float
) -> tuple[list[Decision], list[Decision]]:
    """The candidates to queue, and those to leave.

    Once a unit does not fit in what remains of the allowance, no later one is queued either: what it waits for must
    not be spent before it. A feed that its connection's share has no room for does not hold back the rest of its set.
    """
    queued: list[Decision] = []
    left: list[Decision] = []
    for unit in units:
        if len(unit) > allowance - len(queued):
            reason = Reason.WAITING_FOR_SET if allowance - len(queued) >= 1 and len(unit) > 1 else Reason.OVER_BUDGET
            left += (candidate.waits(reason) for candidate in unit)
            allowance = 0
            continue
        for candidate in unit:
            if shares.take(candidate):
                queued.append(candidate.queued)
            else:
                left.append(candidate.comes_back(Reason.OVER_SHARE, shares.renewed_at))
    return queued, left
