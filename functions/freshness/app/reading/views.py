"""What people and programs see of feeds: plain values that `freshness.app.reading.queries` returns."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from freshness.app.reading.diagnosis import GOES_ON, Diagnosis, Party, Turn, ending_consent
from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import Pause
from freshness.domain.datasets.dataset import Dataset
from freshness.domain.datasets.sync_history import Sync
from freshness.domain.feeds.feed import FeedKey
from freshness.domain.feeds.feed_values import Decided, State
from freshness.domain.promises.promise import Promise
from freshness.domain.slo.attainment import Attained, Breakdown
from freshness.planning.decision import Action, Reason
from freshness.planning.forecast import AtRisk


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedView:
    """One feed with its promise and what a tick would do about it now."""

    company_id: str
    company_name: str
    data_type: str
    connection_id: str
    platform: str
    state: State
    age: timedelta | None
    """The time since `succeeded_at`."""
    succeeded_at: datetime | None
    """When the read of Codat's copy ended."""
    as_of: datetime | None
    """When that read was requested."""
    as_of_is_estimated: bool
    """Whether `as_of` is only estimated, because Codat did not report it."""
    probability_up_to_date: float | None
    """The probability that nothing changed at the source since then."""
    quiet_since: datetime | None = None
    """Since when nothing has changed at the source, if that is `quiet_after` or longer."""
    promise: timedelta
    breaks_at: datetime | None
    """When the copy becomes, or became, older than promised; `None` where nothing is promised."""
    is_broken: bool
    """Whether the promise is broken: the copy is older than promised, or none was made in that time."""
    misses_at: datetime | None = None
    """The next deadline that the feed is expected to miss, if any."""
    keeps_promise: bool
    is_due: bool
    due_at: datetime | None
    dataset_id: str
    changed_at: datetime
    """When its latest dataset was requested or ended."""
    diagnosis: Diagnosis | None
    """Why it is not fresh, whose turn it is, and what to do next; `None` if it is as promised."""
    codat_says: str = ""
    """Why it is in its state, in Codat's own words; empty if Codat gives no reason."""
    rule: str
    """The part of the policy that promises it."""
    reason: str
    """The decision that last changed it, or the one that applies now if there was none."""
    next_reason: Reason
    """The reason for what a tick would do about the feed now."""

    @property
    def key(self) -> FeedKey:
        """Return the key of the feed: its company, data type and connection."""
        return self.company_id, self.data_type, self.connection_id

    @property
    def turn(self) -> Diagnosis:
        """Return whose turn it is. If the feed is as promised, that is nobody's."""
        return self.diagnosis or GOES_ON

    @property
    def obstacle(self) -> str:
        """Return why the feed cannot be fresh; empty if it can."""
        return self.diagnosis.why if self.diagnosis and self.diagnosis.is_obstacle else ""

    @property
    def is_obstructed(self) -> bool:
        """Return whether the promise is not kept, and cannot be now."""
        return self.is_promised and not self.keeps_promise and bool(self.obstacle)

    @property
    def shown_state(self) -> State:
        """Return the state to show. A refresh that cannot end before a person acts counts as blocked."""
        return State.BLOCKED if self.state is State.REFRESHING and self.is_obstructed else self.state

    @property
    def is_promised(self) -> bool:
        """Return whether anything is promised of the feed."""
        return self.breaks_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentView:
    """A connection to which the customer's consent ends soon."""

    company_id: str
    company_name: str
    connection_id: str
    platform: str
    ends_at: datetime
    diagnosis: Diagnosis

    @classmethod
    def all_of(cls, companies: Iterable[Company]) -> "tuple[ConsentView, ...]":
        """Return the connections to which consent ends soon, the earliest end first."""
        found = [
            cls(
                company_id=company.company_id,
                company_name=company.name,
                connection_id=connection.connection_id,
                platform=connection.platform,
                ends_at=ends_at,
                diagnosis=ending_consent(connection, ends_at),
            )
            for company in companies
            for connection in company.connections.values()
            if (ends_at := connection.consent_ends_at) and not company.deleted_at
        ]
        return tuple(sorted(found, key=lambda each: (each.ends_at, each.company_id, each.connection_id)))


@dataclass(frozen=True, slots=True)
class FleetView:
    """All feeds at one moment, by company and data type."""

    feeds: tuple[FeedView, ...]
    ending_consents: tuple[ConsentView, ...] = ()

    @property
    def states(self) -> Counter[State]:
        """Return how many feeds are in each state."""
        return Counter(feed.state for feed in self.feeds)

    @property
    def promises(self) -> int:
        """Return how many promises there are: one for each feed that the policy promises anything of."""
        return sum(feed.is_promised for feed in self.feeds)

    @property
    def broken(self) -> tuple[FeedView, ...]:
        """Return the feeds whose promise is broken, whoever must act."""
        return tuple(feed for feed in self.feeds if feed.is_broken)

    @property
    def overdue(self) -> tuple[FeedView, ...]:
        """Return the feeds that could be fresh and are not."""
        return tuple(feed for feed in self.feeds if not feed.keeps_promise and not feed.obstacle)

    @property
    def obstructed(self) -> tuple[FeedView, ...]:
        """Return the feeds whose promise is not kept, and cannot be now."""
        return tuple(feed for feed in self.feeds if feed.is_obstructed)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissView:
    """A deadline that a feed is expected to miss."""

    company_id: str
    company_name: str
    data_type: str
    connection_id: str
    deadline: str
    deadline_at: datetime
    expected_at: datetime | None
    """When its refresh is expected to end, if that can be seen."""

    @classmethod
    def of(cls, risk: AtRisk) -> "MissView":
        """Return what people see of a feed that will miss a deadline."""
        return cls(
            company_id=risk.company.company_id,
            company_name=risk.company.name,
            data_type=risk.feed.data_type,
            connection_id=risk.feed.connection_id,
            deadline=risk.moment.deadline.name,
            deadline_at=risk.moment.at,
            expected_at=risk.expected_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendingView:
    """What was spent this month on refreshes of a platform that has a cap."""

    platform: str
    spent: float
    cap: float
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The whole fleet in numbers, with the feeds that are older than promised."""

    at: datetime
    companies: int
    pause: Pause | None
    """The pause of all refreshes, if there is one now."""
    states: Counter[State]
    promises: int
    promises_broken: int
    broken_by_turn: dict[Turn, int]
    """How many broken promises wait for each party."""
    waits_for: tuple[Party, ...]
    """The same with names, the party that most wait for first."""
    oldest_age_against_promise: float | None
    """The greatest age of a feed with a broken promise, as a multiple of the promise."""
    limits: ApiLimits
    not_fresh: tuple[FeedView, ...]
    """The feeds that are older than promised, also where a person must act first. Only the worst, unless `is_whole`."""
    ending_consents: tuple[ConsentView, ...] = ()
    """The connections to which consent ends soon."""
    misses_ahead: tuple[MissView, ...]
    """The deadlines that will be missed."""
    spending: tuple[SpendingView, ...]
    is_whole: bool = True
    """Whether every feed was read. If not, `companies` and `promises` are about right, and `states` is empty."""

    @property
    def how_kept(self) -> str:
        """Return a sentence about how many promises are broken, and how many wait for whom."""
        broken = self.promises_broken
        if not self.promises:
            return "no promise stands yet."
        if not broken:
            return f"all {self.promises} promises are kept."
        verb = "is" if broken == 1 else "are"
        return f"{broken} of {self.promises} promises {verb} broken: {', '.join(map(str, self.waits_for))}."


@dataclass(frozen=True, slots=True, kw_only=True)
class AttainmentView:
    """The attainment of a part of the fleet from `since` on. For the whole fleet, `kind` is `None`."""

    kind: Breakdown | None
    name: str
    times: Attained
    since: datetime
    objective: float | None = None
    """The attainment that the rule aims at, from 0 to 1, if it is a rule that sets one."""

    @property
    def budget_left(self) -> float | None:
        """Return the part of the error budget that is left: 1 if nothing was late, below 0 if it was exceeded."""
        return None if self.objective is None else self.times.budget_left(self.objective)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDataset:
    """A dataset, with its company, data type and connection."""

    dataset: Dataset
    data_type: str
    company_id: str
    company_name: str
    connection_id: str
    platform: str
    """Empty if the company no longer has the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkView:
    """Where the customer authorises a connection again. `url` is empty if Codat never reported one."""

    connection_id: str
    platform: str
    url: str
    read_at: datetime | None
    is_live: bool
    """Whether the link was read for this answer. If not, it may have expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingView:
    """A part of a promise that holds at some times only: during hours, at all other times, or at a deadline."""

    when: str
    fresh_within: timedelta
    rule: str
    """The part of the policy that promises it."""
    next_at: datetime | None = None
    """When the deadline comes next."""

    @classmethod
    def all_of(cls, promise: Promise, now: datetime) -> "Iterator[TimingView]":
        """Yield the age promised in each of a promise's hours and at other times, and its deadlines."""
        if promise.time_of_day is None:
            return
        hours = [(terms, terms.fresh_within) for terms in promise.time_of_day.terms if terms.fresh_within]
        for terms, within in hours:
            yield cls(when=str(terms.hours), fresh_within=within, rule=terms.source)
        if hours:
            yield cls(when="at other times", fresh_within=promise.fresh_within, rule=promise.source)
        for deadline in promise.time_of_day.deadlines:
            next_at = promise.time_of_day.next_moment(deadline, now)
            within, rule = deadline.fresh_within, deadline.source
            yield cls(when=str(deadline), fresh_within=within, rule=rule, next_at=next_at)


STEPS = {
    Action.QUEUE: "queue a refresh",
    Action.WAIT: "wait",
    Action.CHECK: "ask Codat",
    Action.HIDE: "wait",
    Action.RESCHEDULE: "wait",
}
"""What a tick does about a feed, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything known of one feed."""

    feed: FeedView
    action: Action
    """What a tick would do about the feed now."""
    reason: str
    until: datetime | None
    """When the feed is due again, or may be refreshed, if that is known."""
    changes_per_day: float | None
    """How often its data is expected to change at the source, once it was read twice."""
    changes_are_learned: bool
    """Whether that was learned from its own syncs. If not, it is assumed."""
    last_decided: Decided | None
    """The last decision that a tick stored with the feed."""
    datasets: tuple[Dataset, ...]
    """Its datasets, newest first."""
    timing: tuple[TimingView, ...] = ()
    """The parts of its promise that depend on the time."""
    link: LinkView | None = None
    """Where the customer authorises its connection again, if that would help."""

    @property
    def next_step(self) -> str:
        """Return what a tick would do about the feed now, and why."""
        if self.feed.obstacle:
            step = "nothing" if self.feed.turn.turn is Turn.NOBODY else STEPS[self.action]
            return f"{step}, because {self.feed.obstacle}"
        return f"{STEPS[self.action]}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedExport:
    """A feed with all that a simulation or a user's own planner needs."""

    feed: FeedView
    source_type: str
    tags: dict[str, str]
    syncs: tuple[Sync, ...]
    """Its last syncs, oldest first."""
