"""What the tables tell of every company and data type, as a person wants to see it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from freshness.aws.store import Store
from freshness.domain import windows
from freshness.domain.company import Company, Connection
from freshness.domain.dataset import DatasetState
from freshness.domain.feed import End, Feed, FeedKey, Request, State
from freshness.domain.promise import Promise
from freshness.domain.times import BEGINNING
from freshness.planning.allowance import allowance
from freshness.planning.planner import Decision, Reason, decide
from freshness.policy.policy import Policy

ON_PREMISE = ("QuickBooks Desktop", "Sage 50")
"""Platforms that Codat reads only while the customer's own machine is online."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One data type of a company, from one connection. `obstacle` says why it cannot be fresh, if it cannot."""

    company_id: str
    company_name: str
    data_type: str
    connection_id: str
    platform: str
    state: State
    age: timedelta | None
    promise: timedelta
    keeps_promise: bool
    is_due: bool
    due_at: datetime | None
    dataset_id: str
    moved_at: datetime
    obstacle: str
    rule: str
    """What of the policy promises it."""
    why: str
    """What was decided of it last, or would be now."""

    @property
    def key(self) -> FeedKey:
        """What tells this line from the others."""
        return self.company_id, self.data_type, self.connection_id

    @property
    def is_overdue(self) -> bool:
        """Whether it could be fresh and is not."""
        return not self.keeps_promise and not self.obstacle

    @property
    def is_hindered(self) -> bool:
        """Whether it is to be fresh, and cannot be now."""
        return self.is_promised and not self.keeps_promise and bool(self.obstacle)

    @property
    def is_promised(self) -> bool:
        """Whether the policy has it refreshed at all."""
        return self.state is not State.OFF


@dataclass(frozen=True, slots=True)
class Fleet:
    """All lines at one moment, by company and data type."""

    lines: tuple[Line, ...]

    @property
    def states(self) -> Counter[State]:
        """How many lines are in each state."""
        return Counter(line.state for line in self.lines)

    @property
    def overdue(self) -> tuple[Line, ...]:
        """The lines that could be fresh and are not."""
        return tuple(line for line in self.lines if line.is_overdue)

    @property
    def hindered(self) -> tuple[Line, ...]:
        """The lines that cannot be fresh now."""
        return tuple(line for line in self.lines if line.is_hindered)


def read_fleet(store: Store, policy: Policy, now: datetime) -> Fleet:
    """The whole fleet, which reads both tables whole."""
    feeds: dict[str, list[Feed]] = defaultdict(list)
    for feed in store.every_feed():
        feeds[feed.company_id].append(feed)
    companies = sorted(store.every_company(), key=lambda company: (company.name, company.company_id))
    every_feed = [feed for company in companies for feed in feeds[company.company_id]]
    decisions = decisions_on(every_feed, companies, store, policy, now)
    return Fleet(
        tuple(
            line
            for company in companies
            for line in lines_of(company, feeds[company.company_id], decisions, store, policy, now)
        )
    )


def decisions_on(
    feeds: Iterable[Feed], companies: Iterable[Company], store: Store, policy: Policy, now: datetime
) -> dict[FeedKey, Decision]:
    """What the next tick would decide, given all feeds of the companies: of a feed's set, the other feeds tell."""
    known = {company.company_id: company for company in companies}
    allowed = allowance(policy.budget, store.quota(), now)
    decisions = decide(feeds, known, policy, now, paused=store.is_paused(), allowance=allowed)
    return {decision.feed.key: decision for decision in decisions}


def company_lines(company: Company, store: Store, policy: Policy, now: datetime) -> tuple[Line, ...]:
    """A line for each feed of one company."""
    feeds = store.feeds(company.company_id)
    decisions = decisions_on(feeds, [company], store, policy, now)
    return tuple(lines_of(company, feeds, decisions, store, policy, now))


def lines_of(
    company: Company,
    feeds: Iterable[Feed],
    decisions: Mapping[FeedKey, Decision],
    store: Store,
    policy: Policy,
    now: datetime,
) -> Iterator[Line]:
    """A line for each of a company's feeds, on which `decisions` were taken."""
    for feed in sorted(feeds, key=lambda feed: (feed.data_type, feed.connection_id)):
        if connection := company.connections.get(feed.connection_id):
            waits = connection.platform.startswith(ON_PREMISE) and _waits(feed, store)
            yield _line(decisions[feed.key], connection, policy, now, waits)


def _line(decision: Decision, connection: Connection, policy: Policy, now: datetime, waits_for_machine: bool) -> Line:
    feed, company = decision.feed, decision.company
    promise = policy.promise(feed.data_type, company, connection)
    state = feed.state(promise, connection, now)
    known: tuple[Request | End | None, ...] = feed.request, feed.end
    moves = sorted((move for move in known if move), key=lambda move: move.at, reverse=True)
    return Line(
        company_id=company.company_id,
        company_name=company.name,
        data_type=feed.data_type,
        connection_id=feed.connection_id,
        platform=connection.platform,
        state=state,
        age=feed.age(now),
        promise=promise.fresh_within,
        keeps_promise=feed.keeps(promise, now),
        is_due=feed.in_flight is None and feed.due_at is not None and feed.due_at <= now,
        due_at=feed.due_at,
        # A webhook does not say which dataset ended: it is the one that was asked for last.
        dataset_id=next((move.dataset_id for move in moves if move.dataset_id), ""),
        moved_at=moves[0].at if moves else BEGINNING,
        obstacle=_obstacle(state, connection, feed, waits_for_machine) or _shut(state, promise, now),
        rule=promise.place,
        why=reason_with_names(feed.decided.reason if feed.decided else decision.reason, decision, policy),
    )


def reason_with_names(reason: str, decision: Decision, policy: Policy) -> str:
    """Why something was decided of a feed, with the names of its set or its windows where it was because of them."""
    feed, company = decision.feed, decision.company
    names: list[str] = []
    if reason in (Reason.DUE_WITH_SET, Reason.WAITING_FOR_SET):
        together = policy.set_of(feed.data_type, company)
        names = [together.name] if together else []
    elif reason == Reason.OUTSIDE_WINDOW:
        promise = policy.promise(feed.data_type, company, company.connections[feed.connection_id])
        names = [window.name for window in promise.windows]
    return " ".join([reason, ", ".join(f'"{name}"' for name in names)]).rstrip()


def _waits(feed: Feed, store: Store) -> bool:
    """Whether the dataset in flight has not even begun."""
    if feed.in_flight is None or not feed.in_flight.dataset_id:
        return False
    dataset = store.dataset(feed.company_id, feed.in_flight.dataset_id)
    return dataset is not None and dataset.state == DatasetState.QUEUED


def _shut(state: State, promise: Promise, now: datetime) -> str:
    if state is not State.STALE or windows.allowed(promise.windows, now):
        return ""
    opens_at = windows.next_allowed(promise.windows, now)
    return f"the policy's window opens at {opens_at:%H:%M} UTC" if opens_at else "the policy's windows never open"


def _obstacle(state: State, connection: Connection, feed: Feed, waits_for_machine: bool) -> str:
    match state:
        case State.OFF:
            return "the policy has it off"
        case State.UNSUPPORTED:
            return f"{connection.platform} has no such data type"
        case State.BLOCKED if not connection.is_linked:
            return f"the customer must relink {connection.platform}: {connection.link_url}"
        case State.BLOCKED:
            end = feed.end.state if feed.end else ""
            return f"the customer must give {connection.platform} its permissions back ({end}): {connection.link_url}"
        case State.REFRESHING if waits_for_machine:
            return f"the customer's machine with {connection.platform} is offline"
        case _:
            return ""
