"""Slots of calls when Codat makes this stack stop."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from freshness.codat.errors import RateLimited
from freshness.codat.rate_limiter import RateLimiter
from freshness.domain.api_limits import ApiLimits
from simulate.clock import SimulatedLoop, simulate
from tests.builders import HOUR, SECOND


class Limits:
    """The limits of an account, in memory."""

    known = ApiLimits()

    def api_limits(self) -> ApiLimits:
        return self.known

    def update_api_limits(self, _known: ApiLimits, compute: Callable[[ApiLimits], ApiLimits]) -> ApiLimits:
        self.known = compute(self.known)
        return self.known


@pytest.mark.parametrize(
    ("stop", "calls_made"), [(HOUR, 6), (3 * SECOND, 20)], ids=["a long stop", "one that is waited for"]
)
def test_calls_whose_slots_were_handed_out_stop_too(stop: timedelta, calls_made: int) -> None:
    """At two calls a second, twenty ask for slots; after two and a half seconds, Codat says to stop."""

    async def scenario(loop: SimulatedLoop) -> None:
        limiter = RateLimiter(Limits(), clock=loop.clock, until=loop.clock() + HOUR, calls_per_minute=120)
        sent = []

        async def call() -> None:
            await limiter.wait()
            sent.append(loop.clock())

        calls = [asyncio.create_task(call()) for _ in range(20)]
        await asyncio.sleep(2.6)
        stopped_at = loop.clock()
        await limiter.stop(stopped_at + stop, stopped_at)
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert not [at for at in sent if stopped_at < at < stopped_at + stop]
        assert len(sent) == calls_made
        assert {type(end) for end in ends if end} <= {RateLimited}

    simulate(scenario)


def test_a_run_that_made_no_call_writes_only_that_codat_is_down() -> None:
    written: list[bool] = []

    class Recording(Limits):
        def update_api_limits(self, known: ApiLimits, compute: Callable[[ApiLimits], ApiLimits]) -> ApiLimits:
            limits = super().update_api_limits(known, compute)
            written.append(limits.down_since is not None)
            return limits

    async def scenario(loop: SimulatedLoop) -> None:
        limits = Recording()
        for is_down in (False, None, True):
            limiter = RateLimiter(limits, clock=loop.clock, until=loop.clock() + HOUR, calls_per_minute=120)
            await limiter.finish(is_down=is_down)

    simulate(scenario)

    assert written == [True]


def test_a_call_with_a_free_slot_is_sent_at_once_and_the_quota_that_its_response_reports_is_written() -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        limits, started_at = Limits(), loop.clock()
        limiter = RateLimiter(limits, clock=loop.clock, until=started_at + HOUR, calls_per_minute=120)
        await limiter.wait()
        assert loop.clock() == started_at
        limiter.report(1000, 990, started_at)
        await limiter.finish()
        assert (limits.known.daily_quota, limits.known.remaining) == (1000, 990)

    simulate(scenario)
