"""The limits on this account's calls to Codat: its daily quota, its stops and its pace. All functions share them."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from math import ceil

from freshness.domain.times import midnight

GRACE = timedelta(seconds=1)
"""How long after its slot a call may still be sent."""
FURTHEST_SLOT = timedelta(minutes=5)
"""A `next_slot` further ahead than this is cut to it: a wrong clock wrote it."""
LONGEST_STOP = timedelta(days=1)
"""A stop longer than this is cut to it: Codat's longest limit is its daily quota."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiLimits:
    """The limits of one account. `daily_quota` and `remaining` were reported at `reported_at`, by Codat's clock."""

    daily_quota: int | None = None
    remaining: int | None = None
    """Calls left until the next 00:00 UTC."""
    reported_at: datetime | None = None
    stopped_at: datetime | None = None
    """When Codat last refused calls for a limit, by its own clock."""
    stopped_until: datetime | None = None
    """When calls may be made again, as Codat said at `stopped_at`."""
    reset_at: datetime | None = None
    """When Codat last reported that it accepts calls again, by its own clock."""
    down_since: datetime | None = None
    """When calls about several companies first showed that Codat is down; `None` while it is not."""
    next_slot: datetime | None = None
    """The first slot that is not reserved yet."""
    calls: int = 0
    """Calls made by this stack on the day of `called_at`, in UTC."""
    on_demand_calls: int = 0
    """The part of `calls` that was made for callers who wait for fresh data."""
    called_at: datetime | None = None
    """When this stack made its last call."""
    version: int = 0

    def with_calls(self, calls: int, at: datetime, *, on_demand: int = 0) -> "ApiLimits":
        """Return the limits after this stack made `calls` calls at `at`, `on_demand` of them for callers who wait."""
        if not calls:
            return self
        on_demand_calls = self.on_demand_calls_on(at.date()) + on_demand
        return replace(self, calls=self.calls_on(at.date()) + calls, on_demand_calls=on_demand_calls, called_at=at)

    def on_demand_calls_on(self, day: date) -> int:
        """Return how many calls this stack made on a day for callers who wait. The day is as in `calls_on`."""
        return self.on_demand_calls if self.calls_on(day) else 0

    def calls_on(self, day: date) -> int:
        """Return how many calls this stack made on a day in UTC. The day must not be before that of its last call."""
        return self.calls if self.called_at and self.called_at.date() == day else 0

    def with_quota(self, daily_quota: int, remaining: int, at: datetime) -> "ApiLimits":
        """Return the limits after Codat reported its quota at `at`; unchanged if the known report is later.

        Of two reports at the same time, the one with fewer calls left counts as later.
        """
        if self.reported_at and (self.reported_at, -(self.remaining or 0)) >= (at, -remaining):
            return self
        return replace(self, daily_quota=daily_quota, remaining=remaining, reported_at=at)

    def with_stop(self, until: datetime, at: datetime) -> "ApiLimits":
        """Return the limits after Codat said, at `at`, that no call may be made before `until`."""
        until = min(until, at + LONGEST_STOP)
        if self._is_stopped and self.stopped_at and self.stopped_until:
            at, until = max(at, self.stopped_at), max(until, self.stopped_until)
        elif self.stopped_at and self.stopped_at >= at:
            return self
        return replace(self, stopped_at=at, stopped_until=until)

    def with_reset(self, at: datetime) -> "ApiLimits":
        """Return the limits after Codat reported, at `at`, that it accepts calls again."""
        return replace(self, reset_at=max(filter(None, (self.reset_at, at))))

    def stopped_before(self, now: datetime) -> datetime | None:
        """Return when calls may be made again; `None` if they may be made now."""
        stops = []
        if self._is_stopped and self.stopped_until:
            stops.append(self.stopped_until)
        if self.remaining == 0 and self.reported_at and (self.reset_at is None or self.reset_at < self.reported_at):
            stops.append(midnight(self.reported_at) + timedelta(days=1))
        return max((stop for stop in stops if stop > now), default=None)

    def with_outage(self, at: datetime, *, is_down: bool) -> "ApiLimits":
        """Return the limits after calls showed, at `at`, whether Codat is down."""
        return replace(self, down_since=(self.down_since or at) if is_down else None)

    def share_left(self, now: datetime) -> float | None:
        """Return the share of today's quota that is left, from 0 to 1; `None` if Codat never reported the quota."""
        if self.remaining is None or not self.daily_quota or self.reported_at is None:
            return None
        return self.remaining / self.daily_quota if self.reported_at.date() == now.date() else 1.0

    @property
    def _is_stopped(self) -> bool:
        return self.stopped_at is not None and (self.reset_at is None or self.reset_at < self.stopped_at)

    def with_slots_reserved(self, calls: int, calls_per_minute: int, now: datetime) -> "ApiLimits":
        """Return the limits after reserving evenly spaced slots for `calls` calls. `next_slot` is then after these."""
        first = min(max(now, self.next_slot or now), now + FURTHEST_SLOT)
        return replace(self, next_slot=first + calls * interval(calls_per_minute))


def interval(calls_per_minute: int) -> timedelta:
    """Return the time between two slots: 61 seconds, a minute and `GRACE`, divided by `calls_per_minute`.

    Even if calls are sent up to `GRACE` late, no minute has more of them than allowed.
    """
    return timedelta(microseconds=ceil((timedelta(minutes=1) + GRACE) / timedelta(microseconds=1) / calls_per_minute))
