"""Codat's API limits: requests a day, requests a minute from one address, and concurrent requests for one company."""

from collections import Counter, deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from codat_sandbox.companies import random_uuid
from codat_sandbox.model import EventType, RateLimitEvent
from codat_sandbox.settings import Settings

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The reason why a request is refused, and the time until one is accepted again."""

    reason: str
    retry_after: timedelta


class Limits:
    """Counters of requests. The time and the settings are passed in with each call."""

    def __init__(self, seed: int, now: datetime) -> None:
        self._random = Random(f"{seed}/limits")
        self._day = now.astimezone(UTC).date()
        self._used = 0
        self._reached = False
        self._by_address: dict[str, deque[datetime]] = {}
        self._concurrent: Counter[str] = Counter()
        self._events: list[RateLimitEvent] = []

    def quota(self, settings: Settings, active_companies: int) -> int:
        """Return the number of requests allowed a day: 1,000 x (1 + active companies), unless the settings name one."""
        return 1000 * (1 + active_companies) if settings.daily_quota is None else settings.daily_quota

    def remaining(self, quota: int, now: datetime) -> int:
        """Return how many requests of `quota` are left today."""
        self._begin_day(quota, now)
        return max(0, quota - self._used)

    def resets_at(self) -> datetime:
        """Return when the daily quota is reset: the next 00:00 UTC."""
        return datetime(self._day.year, self._day.month, self._day.day, tzinfo=UTC) + _DAY

    def enter(
        self, address: str, company_id: str | None, settings: Settings, quota: int, now: datetime
    ) -> Exceeded | None:
        """Count a request, or return why it is refused. A request that is not refused must call `leave` at its end."""
        self._begin_day(quota, now)
        recent = self._by_address.setdefault(address, deque())
        while recent and recent[0] <= now - _MINUTE:
            recent.popleft()
        if len(recent) >= settings.calls_per_minute:
            return Exceeded("Too many requests from this address", recent[0] + _MINUTE - now)
        recent.append(now)
        if self._used >= quota:
            self._add_event(EventType.QUOTA_REACHED, quota, now)
            return Exceeded("The daily quota of requests is used up", self.resets_at() - now)
        if company_id is not None and self._concurrent[company_id] >= settings.concurrent_calls:
            return Exceeded("Too many concurrent requests for this company", timedelta(seconds=1))
        self._used += 1
        if company_id is not None:
            self._concurrent[company_id] += 1
        return None

    def leave(self, company_id: str | None) -> None:
        """Record the end of a request that `enter` accepted."""
        if company_id is not None:
            self._concurrent[company_id] -= 1

    def advance(self, quota: int, now: datetime) -> list[RateLimitEvent]:
        """Return the events about the daily quota since the last call in order."""
        self._begin_day(quota, now)
        events, self._events = self._events, []
        return events

    def _begin_day(self, quota: int, now: datetime) -> None:
        today = now.astimezone(UTC).date()
        if today == self._day:
            return
        self._day = today
        self._used = 0
        if self._reached:
            self._add_event(EventType.QUOTA_RESET, quota, now)

    def _add_event(self, event_type: EventType, quota: int, now: datetime) -> None:
        """Add an event. That the quota was reached is reported only once until the reset."""
        reached = event_type is EventType.QUOTA_REACHED
        if reached and self._reached:
            return
        self._reached = reached
        self._events.append(
            RateLimitEvent(
                random_uuid(self._random),
                now,
                daily_quota=quota,
                quota_remaining=max(0, quota - self._used),
                expiry=self.resets_at(),
                event_type=event_type,
            )
        )
