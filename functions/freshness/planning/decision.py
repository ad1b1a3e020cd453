"""What the planner decides about a feed, and the feeds that it may decide to queue."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from freshness.domain.companies.company import Company, Connection
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.learned.learned_rates import FeedSample, kind_of

MIN_SYNCS = 8
"""The minimum number of syncs in a feed's history for its rate to be reliable enough to learn from."""


class Action(StrEnum):
    QUEUE = "queue"
    """Queue a refresh."""
    WAIT = "wait"
    """Do nothing: the next tick decides again."""
    CHECK = "check"
    """Make the feed's company due for a check."""
    HIDE = "hide"
    """Make the feed due when its promise breaks, or when its company's pause ends: by itself or by `resume`."""
    RESCHEDULE = "reschedule"
    """Make the feed due at another time, or never."""


class Reason(StrEnum):
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
    OVER_QUOTA = "over its connection's quota of the day"
    OVER_SPENDING = "over its platform's spending cap"
    WAITING_FOR_SET = "waiting for its set"
    PAUSED = "paused"
    BLOCKED = "blocked"
    UNSUPPORTED = "unsupported"
    OFF = "off"
    NO_CONNECTION = "connection unknown"


class Decision(NamedTuple):
    """A decision about one feed. `until` is when the feed is due again, or may be queued, if that is known.

    This is a named tuple, and so is `Candidate`, because creating a frozen dataclass takes five times as long.
    """

    feed: Feed
    company: Company
    action: Action
    reason: Reason
    until: datetime | None = None


class Candidate(NamedTuple):
    """A feed that may be queued now: by itself if it `is_due`, else with its set. The lowest `rank` comes first."""

    feed: Feed
    company: Company
    connection: Connection
    due_at: datetime
    is_due: bool
    breaks_at: datetime | None
    rank: tuple[int, float, str, str, str]
    is_promised: bool = True
    """Whether the feed would be due even if nobody waited for it."""

    @property
    def queued(self) -> Decision:
        """Return the decision to queue the feed, with its reason."""
        reason = Reason.DUE if self.is_due else Reason.DUE_WITH_SET
        if self.feed.refresh_requested_at:
            is_keep_alive = self.feed.refresh_requested_by is Trigger.KEEP_ALIVE
            reason = Reason.KEEP_ALIVE if is_keep_alive else Reason.REQUESTED
        elif self.feed.wanted:
            reason = Reason.ON_DEMAND
        return Decision(feed=self.feed, company=self.company, action=Action.QUEUE, reason=reason)

    def waits(self, reason: Reason) -> Decision:
        """Return the decision to leave the feed to the next tick."""
        return Decision(feed=self.feed, company=self.company, action=Action.WAIT, reason=reason)

    def rescheduled(self, reason: Reason, until: datetime) -> Decision:
        """Return the decision to make the feed due at `until`, or when its promise breaks if that is earlier."""
        return rescheduled(self.feed, self.company, reason, until, self.breaks_at)


def rescheduled(
    feed: Feed, company: Company, reason: Reason, until: datetime | None, breaks_at: datetime | None
) -> Decision:
    """Return the decision to make a feed due at `until`, or when its promise breaks if that is earlier."""
    until = min(filter(None, (until, breaks_at)), default=None)
    action = Action.WAIT if feed.due_at == until else Action.RESCHEDULE
    return Decision(feed=feed, company=company, action=action, reason=reason, until=until)


def samples(decisions: Iterable[Decision]) -> list[FeedSample]:
    """Return the change rates of the feeds to be queued, without feeds that are queued again after a failed call."""
    learned = []
    for decision in decisions:
        feed = decision.feed
        if decision.action is not Action.QUEUE or feed.failed_calls or not feed.changes_per_day:
            continue
        if len(feed.history) < MIN_SYNCS:
            continue
        platform = decision.company.connections[feed.connection_id].platform
        learned.append(FeedSample(kind_of(platform, feed.data_type), feed.changes_per_day))
    return learned
