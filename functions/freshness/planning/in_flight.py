"""The feeds in flight that a process has queued or read, so that its next ticks need not read them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from freshness.domain.companies.company import Company
from freshness.domain.feeds import schedule
from freshness.domain.feeds.feed import Feed, FeedKey
from freshness.planning.decision import Action, Decision, Reason
from freshness.planning.planner import needs_all_feeds
from freshness.policy.policy import Policy

KEPT = timedelta(minutes=5)
"""How long a feed is not read again, at most: others may change it without making it due at another time."""
MOST = 20_000
"""How many feeds are kept."""


class _Known(NamedTuple):
    decision: Decision
    until: datetime
    """When something may follow for the feed."""


class InFlight:
    """Decisions to wait for datasets in flight, each until the dataset is late or the promise breaks.

    A feed stays due while it is in flight. One whose dataset has ended is due at another time, and is read again.
    """

    def __init__(self) -> None:
        self._known: dict[FeedKey, _Known] = {}

    def remember(self, decisions: Iterable[Decision], policy: Policy, now: datetime) -> None:
        """Keep those of the decisions after which nothing follows by itself for a while."""
        for decision in decisions:
            until = _waits_until(decision, policy)
            if until and len(self._known) < MOST:
                self._known[decision.feed.key] = _Known(decision, min(until, now + KEPT))

    def remember_queued(self, feed: Feed, company: Company, policy: Policy, now: datetime) -> None:
        """Keep what a tick would decide about a feed that was queued now."""
        if feed.in_flight:
            decision = Decision(feed, company, Action.WAIT, Reason.IN_FLIGHT, feed.late_at)
            self.remember([decision], policy, now)

    def forget(self, now: datetime) -> None:
        """Forget the feeds for which something may follow by now."""
        self._known = {key: known for key, known in self._known.items() if now < known.until}

    def decision(self, key: FeedKey, due_at: datetime, now: datetime) -> Decision | None:
        """Return the decision about a feed that is due since `due_at`; `None` if it must be read."""
        known = self._known.get(key)
        if known is None or known.until <= now or known.decision.feed.due_at != due_at:
            return None
        return known.decision


def _waits_until(decision: Decision, policy: Policy) -> datetime | None:
    feed, company = decision.feed, decision.company
    connection = company.connections.get(feed.connection_id)
    if decision.reason is not Reason.IN_FLIGHT or connection is None or needs_all_feeds(feed, company, policy):
        return None
    breaks_at = schedule.breaks_at(feed, policy.promise(feed.data_type, company, connection), connection)
    if breaks_at is None or breaks_at == feed.broken_at:
        return decision.until
    return min(filter(None, (decision.until, breaks_at)))
