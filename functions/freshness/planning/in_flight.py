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
"""The longest time for which a feed is not read again: others may change it, and leave its due time as it is."""
MOST = 20_000
"""The most feeds that are kept."""


class _Known(NamedTuple):
    decision: Decision
    until: datetime
    """When the decision may change."""


class InFlight:
    """Decisions to wait for datasets in flight, each until the dataset is late or the promise breaks.

    A feed stays due while its dataset is in flight. Once the dataset has ended, the feed is due at another time, and is
    read again.
    """

    def __init__(self) -> None:
        self._known: dict[FeedKey, _Known] = {}

    def remember(self, decisions: Iterable[Decision], policy: Policy, now: datetime) -> None:
        """Keep the decisions to wait for a dataset in flight, without those that depend on other feeds."""
        for decision in decisions:
            until = _waits_until(decision, policy)
            if until and len(self._known) < MOST:
                self._known[decision.feed.key] = _Known(decision, min(until, now + KEPT))

    def remember_queued(self, feed: Feed, company: Company, policy: Policy, now: datetime) -> None:
        """Keep the decision to wait for a feed that was queued just now."""
        if feed.in_flight:
            decision = Decision(feed, company, Action.WAIT, Reason.IN_FLIGHT, feed.late_at)
            self.remember([decision], policy, now)

    def forget(self, now: datetime) -> None:
        """Forget the decisions that may have changed by `now`."""
        self._known = {key: known for key, known in self._known.items() if now < known.until}

    def decision(self, key: FeedKey, due_at: datetime, now: datetime) -> Decision | None:
        """Return the kept decision about a feed whose due time is `due_at`; `None` if the feed must be read."""
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
