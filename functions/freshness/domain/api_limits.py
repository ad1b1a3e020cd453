"""What Codat lets this account call, as far as all functions know it together: its quota, its stops, its pace."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from math import ceil

GRACE = timedelta(seconds=1)
"""How long after its slot a call may still be sent."""
FURTHEST_SLOT = timedelta(minutes=5)
"""A next slot further ahead than this is the work of a wrong clock."""

LONGEST_STOP = timedelta(days=1)
"""Codat's longest limit is its daily quota: a stop beyond that is not believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiLimits:
    """One value for the whole account. Codat told of `limit` and `remaining` at `told_at`, by its own clock."""

    limit: int | None = None
    """Calls a day."""
    remaining: int | None = None
    """Calls left until the next 00:00 UTC."""
    told_at: datetime | None = None
    stopped_at: datetime | None = None
    stopped_until: datetime | None = None
    """When calls may be made again, as Codat said at `stopped_at`."""
    resumed_at: datetime | None = None
    """When Codat last said that it takes calls again."""
    next_slot: datetime | None = None
    """When the next call that nobody has reserved yet may be sent."""
    calls: int = 0
    """Calls of ours on the day of `called_at`, in UTC."""
    called_at: datetime | None = None
    """When we called last."""
    version: int = 0

    def made(self, calls: int, at: datetime) -> "ApiLimits":
        """The quota after calls of ours."""
        if not calls:
            return self
        return replace(self, calls=self.calls_on(at.date()) + calls, called_at=at)

    def calls_on(self, day: date) -> int:
        """How many calls we made on a day in UTC, no earlier than that of our last."""
        return self.calls if self.called_at and self.called_at.date() == day else 0

    def told(self, limit: int, remaining: int, at: datetime) -> "ApiLimits":
        """The quota after Codat told of it. Of two answers of the same second, the one with less left came later."""
        if self.told_at and (self.told_at, -(self.remaining or 0)) >= (at, -remaining):
            return self
        return replace(self, limit=limit, remaining=remaining, told_at=at)

    def stopped(self, until: datetime, at: datetime) -> "ApiLimits":
        """The quota after Codat said, at `at`, that no call may be made before `until`."""
        until = min(until, at + LONGEST_STOP)
        if self._stop_stands and self.stopped_at and self.stopped_until:
            at, until = max(at, self.stopped_at), max(until, self.stopped_until)
        elif self.stopped_at and self.stopped_at >= at:
            return self
        return replace(self, stopped_at=at, stopped_until=until)

    def resumed(self, at: datetime) -> "ApiLimits":
        """The quota after Codat said, at `at`, that it takes calls again."""
        return replace(self, resumed_at=max(filter(None, (self.resumed_at, at))))

    def no_call_before(self, now: datetime) -> datetime | None:
        """When calls may be made again; `None` if they may now."""
        stops = []
        if self._stop_stands and self.stopped_until:
            stops.append(self.stopped_until)
        if self.remaining == 0 and self.told_at and (self.resumed_at is None or self.resumed_at < self.told_at):
            stops.append(_next_day(self.told_at))
        return max((stop for stop in stops if stop > now), default=None)

    def left(self, now: datetime) -> float | None:
        """Which share of today's calls is left; `None` if Codat has never told."""
        if self.remaining is None or not self.limit or self.told_at is None:
            return None
        return self.remaining / self.limit if self.told_at.date() == now.date() else 1.0

    @property
    def _stop_stands(self) -> bool:
        return self.stopped_at is not None and (self.resumed_at is None or self.resumed_at < self.stopped_at)

    def reserved(self, calls: int, calls_per_minute: int, now: datetime) -> "ApiLimits":
        """The quota after the next slots for calls were taken, evenly spaced, the last one before `next_slot`."""
        first = min(max(now, self.next_slot or now), now + FURTHEST_SLOT)
        return replace(self, next_slot=first + calls * interval(calls_per_minute))


def interval(calls_per_minute: int) -> timedelta:
    """The time between two slots.

    It is so long that no minute has more calls than it may, however much of its grace each of them uses.
    """
    return timedelta(microseconds=ceil((timedelta(minutes=1) + GRACE) / timedelta(microseconds=1) / calls_per_minute))


def _next_day(time: datetime) -> datetime:
    day = time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=1)
