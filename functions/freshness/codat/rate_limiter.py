"""Limits how fast one tick calls Codat: all functions together stay within what Codat allows.

A tick reserves slots for about a second of calls at a time: one write for some ten calls. For callers who wait, it
reserves no more slots than there are calls to make: the slots of many callers at the same moment then follow each other
closely. The write also stores the quota that Codat last reported, and shows whether Codat made another function stop.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from freshness.codat.errors import RateLimited
from freshness.domain.api_limits import GRACE, ApiLimits, interval

LONGEST_WAIT = timedelta(seconds=5)
"""A stop that ends within this time is waited for; a longer one is left to a later tick."""


class LimitsRepository(Protocol):
    """The store through which all functions share the account's limits."""

    def api_limits(self) -> ApiLimits:
        """Return the limits."""

    def update_api_limits(self, known: ApiLimits, compute: Callable[[ApiLimits], ApiLimits]) -> ApiLimits:
        """Write what `compute` returns for the stored limits, and return it. `known` are the limits as last read."""


class RateLimiter:
    """A limiter: each call of one tick waits for its slot, but not far beyond `until`, when the tick should end.

    `on_demand` is whether the calls are made for callers who wait for fresh data. `known` are the limits if they were
    read a moment ago.
    """

    def __init__(
        self,
        repository: LimitsRepository,
        *,
        clock: Callable[[], datetime],
        until: datetime,
        calls_per_minute: int,
        on_demand: bool = False,
        known: ApiLimits | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._until = until
        self._calls_per_minute = calls_per_minute
        self._on_demand = on_demand
        self._sleep = sleep
        self._limits = known or ApiLimits()
        self._reported = ApiLimits()
        self._made = 0
        self._made_on_demand = 0
        self._waiting = 0
        self._slots: deque[datetime] = deque()
        self._lock = asyncio.Lock()

    async def wait(self, *, on_demand: bool = False) -> None:
        """Wait until the next call may be sent. `on_demand` is whether this call is made for callers who wait.

        Raises:
            RateLimited: the wait would be too long.
        """
        while True:
            self._waiting += 1
            try:
                # Slots are reserved together for calls that come at the same moment.
                await self._sleep(0)
                async with self._lock:
                    slot = await self._next_slot()
            finally:
                self._waiting -= 1
            if slot > self._until + LONGEST_WAIT:
                raise self._no_call_before(slot)
            await self._sleep_until(slot)
            # Codat may have refused another call while this one waited for its slot.
            if self._limits.stopped_before(self._clock()) is None:
                break
        self._made += 1
        self._made_on_demand += on_demand or self._on_demand

    def report(self, daily_quota: int, remaining: int, at: datetime) -> None:
        """Take note of the quota in a response. It is written when slots are next reserved, or at the end."""
        self._reported = self._reported.with_quota(daily_quota, remaining, at)

    async def stop(self, until: datetime, at: datetime) -> None:
        """Make all functions send no call before `until`, as Codat said at `at` by its own clock."""
        self._slots.clear()
        await self._update(lambda limits: limits.with_stop(until, at))

    async def finish(self, *, is_down: bool | None = None) -> None:
        """Write the quota last reported, how many calls were made, and whether Codat is down.

        `is_down` is `None` if no call showed that.
        """
        is_known = is_down is None or is_down == (self._limits.down_since is not None)
        if self._reported.reported_at or self._made or not is_known:
            now = self._clock()
            await self._update(lambda limits: limits if is_down is None else limits.with_outage(now, is_down=is_down))

    async def _next_slot(self) -> datetime:
        while True:
            while self._slots:
                slot = self._slots.popleft()
                if slot + GRACE > self._clock():
                    return slot
            await self._reserve()

    async def _reserve(self) -> None:
        now = self._clock()
        calls = max(1, round(self._calls_per_minute / 60))
        if self._on_demand:
            calls = min(calls, self._waiting)

        def reserve(limits: ApiLimits) -> ApiLimits:
            if limits.stopped_before(now):
                return limits
            return limits.with_slots_reserved(calls, self._calls_per_minute, now)

        limits = await self._update(reserve)
        if stop := limits.stopped_before(now):
            await self._wait_for_end_of(stop)
        elif limits.next_slot:
            gap = interval(self._calls_per_minute)
            self._slots.extend(limits.next_slot - number * gap for number in range(calls, 0, -1))

    async def _wait_for_end_of(self, stop: datetime) -> None:
        if stop > min(self._clock() + LONGEST_WAIT, self._until):
            raise self._no_call_before(stop)
        await self._sleep_until(stop)

    async def _sleep_until(self, time: datetime) -> None:
        await self._sleep(max(0.0, (time - self._clock()).total_seconds()))

    def _no_call_before(self, time: datetime) -> RateLimited:
        error = RateLimited("no call was made", f"none may be made before {time.isoformat()}", at=self._clock())
        error.until = time
        return error

    async def _update(self, compute: Callable[[ApiLimits], ApiLimits]) -> ApiLimits:
        reported, made, on_demand = self._reported, self._made, self._made_on_demand
        now = self._clock()

        def with_report(limits: ApiLimits) -> ApiLimits:
            if reported.reported_at and reported.daily_quota is not None and reported.remaining is not None:
                limits = limits.with_quota(reported.daily_quota, reported.remaining, reported.reported_at)
            return compute(limits.with_calls(made, now, on_demand=on_demand))

        if not self._limits.version:
            self._limits = await asyncio.to_thread(self._repository.api_limits)
        self._limits = await asyncio.to_thread(self._repository.update_api_limits, self._limits, with_report)
        self._made -= made
        self._made_on_demand -= on_demand
        return self._limits
