"""The pace at which one tick calls Codat, so that all functions together stay within what it allows.

Slots are reserved in `control` about a second's worth at a time: one write for some ten calls, which also carries
what Codat last told of the quota, and finds out whether another function was told to stop.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from freshness.aws.store import Store
from freshness.codat.errors import RateLimited
from freshness.domain.api_limits import GRACE, ApiLimits, interval

LONGEST_WAIT = timedelta(seconds=5)
"""A stop that ends this soon is waited for; a longer one is left to a later tick."""


class RateLimiter:
    """The pace of one tick. Calls wait for their slots, but not far beyond `until`, when it is to end."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], datetime],
        until: datetime,
        calls_per_minute: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._clock = clock
        self._until = until
        self._calls_per_minute = calls_per_minute
        self._sleep = sleep
        self._quota = ApiLimits()
        self._told = ApiLimits()
        self._made = 0
        self._slots: deque[datetime] = deque()
        self._one_at_a_time = asyncio.Lock()

    async def wait(self) -> None:
        """Return when the next call may be sent.

        Raises:
            RateLimited: no call may be sent for longer than is worth waiting.
        """
        async with self._one_at_a_time:
            slot = await self._next_slot()
        if slot > self._until + LONGEST_WAIT:
            raise self._no_call_before(slot)
        self._made += 1
        await self._sleep_until(slot)

    def told(self, limit: int, remaining: int, at: datetime) -> None:
        """Note what Codat told of the quota; it is written with the next slots, or at the end."""
        self._told = self._told.told(limit, remaining, at)

    async def stop(self, until: datetime) -> None:
        """Have all functions make no call before `until`."""
        at = self._clock()
        self._slots.clear()
        await self._change(lambda quota: quota.stopped(until, at))

    async def finish(self) -> None:
        """Write what was told, and how many calls were made, since the last slots were reserved."""
        if self._told.told_at or self._made:
            await self._change(lambda quota: quota)

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

        def reserve(quota: ApiLimits) -> ApiLimits:
            return quota if quota.no_call_before(now) else quota.reserved(calls, self._calls_per_minute, now)

        quota = await self._change(reserve)
        if stop := quota.no_call_before(now):
            await self._wait_for_end_of(stop)
        elif quota.next_slot:
            gap = interval(self._calls_per_minute)
            self._slots.extend(quota.next_slot - number * gap for number in range(calls, 0, -1))

    async def _wait_for_end_of(self, stop: datetime) -> None:
        if stop > min(self._clock() + LONGEST_WAIT, self._until):
            raise self._no_call_before(stop)
        await self._sleep_until(stop)

    async def _sleep_until(self, time: datetime) -> None:
        await self._sleep(max(0.0, (time - self._clock()).total_seconds()))

    def _no_call_before(self, time: datetime) -> RateLimited:
        error = RateLimited("no call was made", f"none may be before {time.isoformat()}", at=self._clock())
        error.until = time
        return error

    async def _change(self, change: Callable[[ApiLimits], ApiLimits]) -> ApiLimits:
        told, made, now = self._told, self._made, self._clock()

        def with_what_was_told(quota: ApiLimits) -> ApiLimits:
            if told.told_at and told.limit is not None and told.remaining is not None:
                quota = quota.told(told.limit, told.remaining, told.told_at)
            return change(quota.made(made, now))

        if not self._quota.version:
            self._quota = await asyncio.to_thread(self._store.quota)
        self._quota = await asyncio.to_thread(self._store.change_quota, self._quota, with_what_was_told)
        self._made -= made
        return self._quota
