"""Forecasts which deadlines will be missed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import Pause, in_force
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.schedule import counts_from, longest_sync_time
from freshness.domain.promises.terms import Moment
from freshness.planning.budgets import call_budget
from freshness.policy.file.schema import Budget
from freshness.policy.policy import Policy

LOOK_AHEAD = timedelta(hours=2)
"""How far ahead deadlines are looked at."""
_STEP = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AtRisk:
    """A feed that will miss a deadline. `expected_at` is when its refresh ends; `None` if that cannot be foreseen."""

    feed: Feed
    company: Company
    moment: Moment
    expected_at: datetime | None


def at_risk(
    feeds: Iterable[Feed],
    companies: Mapping[str, Company],
    policy: Policy,
    limits: ApiLimits,
    now: datetime,
    *,
    pause: Pause | None = None,
    spend_left: Mapping[str, float] = MappingProxyType({}),
) -> Iterator[AtRisk]:
    """Yield the feeds that will miss a deadline in the next `LOOK_AHEAD`.

    `feeds` are those that are due by then, the longest due first. A refresh starts once its feed is due, those before
    it have started at the allowed pace, and the day's quota suffices for it. Of a platform with a cap on spending, no
    more than `spend_left` start. Feeds about which a person must act first are left out.
    """
    starts, left = _Starts(policy.budget, limits, now), dict(spend_left)
    for feed in feeds:
        company = companies.get(feed.company_id)
        connection = company.connections.get(feed.connection_id) if company else None
        if company is None or connection is None or feed.is_blocked(connection) or feed.is_unsupported:
            continue
        promise = policy.promise(feed.data_type, company, connection)
        capped = policy.capped_as(connection) or ""
        due_at = max(feed.due_at or now, pause.until if pause and pause.until else now)
        held = any(in_force(each, due_at) for each in (pause, company.pause)) or left.get(capped, 1.0) < 1
        if capped in left and not held and not feed.in_flight:
            left[capped] -= 1
        starts_at = feed.in_flight.at if feed.in_flight else None if held else starts.take(due_at)
        expected_at = max(now, starts_at + longest_sync_time(feed)) if starts_at else None
        copied_at = counts_from(feed, connection)
        timed = promise.time_of_day
        moment = timed.first_missed(copied_at, now + LOOK_AHEAD, since=now) if timed else None
        if moment and (expected_at is None or expected_at > moment.at):
            yield AtRisk(feed=feed, company=company, moment=moment, expected_at=expected_at)


class _Starts:
    """The times at which further refreshes may start, one after another."""

    def __init__(self, budget: Budget, limits: ApiLimits, now: datetime) -> None:
        self._budget = budget
        self._limits = limits
        self._at = now
        self._until = now + LOOK_AHEAD
        self._taken = 0

    def take(self, due_at: datetime) -> datetime | None:
        """Return when the refresh of a feed due at `due_at` starts; `None` if that is later than `LOOK_AHEAD`."""
        self._at = max(self._at, due_at)
        while self._at <= self._until:
            if call_budget(self._budget, self._limits, self._at) > self._taken:
                starts_at = self._at
                self._taken += 1
                self._at += _STEP / self._budget.calls_per_minute
                return starts_at
            self._at += _STEP
        return None
