"""What may be spent: of Codat's daily quota, of caps on money, and of calls a minute."""

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.codat.errors import RateLimited
from freshness.codat.rate_limiter import RateLimiter
from freshness.domain.api_limits import FURTHEST_SLOT, GRACE, ApiLimits, interval
from freshness.domain.companies.company import Company, Connection
from freshness.domain.feeds.feed import Feed
from freshness.planning.budgets import call_budget, month_of, on_demand_call_budget, renewed_at, spend_left
from freshness.planning.decision import Action, Reason
from freshness.planning.planner import decide
from freshness.policy.file.schema import Budget
from freshness.policy.policy import Policy
from simulate.clock import SimulatedLoop, simulate
from tests.builders import HOUR, MINUTE, SECOND, a_connection

MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)
HALF = Budget(share_of_quota=0.5, on_demand_share=0)
SPLIT = Budget(share_of_quota=0.5, on_demand_share=0.2)


def reported(daily_quota: int, remaining: int, at: datetime = MIDNIGHT) -> ApiLimits:
    return ApiLimits().with_quota(daily_quota, remaining, at)


def test_the_share_is_spread_over_the_day_a_quarter_of_it_ahead() -> None:
    at_hours = [call_budget(HALF, reported(1000, 1000), MIDNIGHT + hours * HOUR) for hours in (0, 6, 12, 18, 23)]
    assert at_hours == [125, 250, 375, 500, 500]


def test_what_was_spent_today_counts_and_what_was_spent_yesterday_does_not() -> None:
    limits = (
        reported(1000, 1000)
        .with_calls(100, MIDNIGHT - HOUR)
        .with_calls(50, MIDNIGHT + HOUR)
        .with_calls(20, MIDNIGHT + 2 * HOUR)
    )

    assert call_budget(HALF, limits, MIDNIGHT + 6 * HOUR) == 250 - 70
    assert call_budget(HALF, limits, MIDNIGHT + 24 * HOUR) == 125


@pytest.mark.parametrize("allowed", [call_budget, on_demand_call_budget])
def test_no_more_is_allowed_than_others_left_of_todays_quota_once_codat_has_reported_it(
    allowed: Callable[[Budget, ApiLimits, datetime], float],
) -> None:
    assert allowed(SPLIT, ApiLimits(), MIDNIGHT) == math.inf
    assert allowed(SPLIT, reported(1000, 7, MIDNIGHT + HOUR), MIDNIGHT + 2 * HOUR) == 7
    assert allowed(SPLIT, reported(1000, 7, MIDNIGHT - HOUR), MIDNIGHT) == 100


@given(
    minutes=st.lists(st.integers(0, 24 * 60 - 1), max_size=30),
    share=st.floats(0.01, 1),
    wanted=st.integers(1, 200),
)
def test_whoever_spends_what_is_allowed_stays_within_the_share_of_the_day(
    minutes: list[int], share: float, wanted: int
) -> None:
    limits = reported(1000, 1000)
    for minute in sorted(minutes):
        now = MIDNIGHT + timedelta(minutes=minute)
        limits = limits.with_calls(
            int(min(wanted, call_budget(Budget(share_of_quota=share, on_demand_share=0), limits, now))), now
        )

    assert limits.calls_on(MIDNIGHT.date()) <= share * 1000


def test_what_is_reserved_for_callers_is_not_spread_over_the_day_and_not_spent_by_promises() -> None:
    limits = reported(1000, 1000)
    assert [on_demand_call_budget(SPLIT, limits, MIDNIGHT + hours * HOUR) for hours in (0, 12, 23)] == [100, 100, 100]
    assert [call_budget(SPLIT, limits, MIDNIGHT + hours * HOUR) for hours in (0, 6, 12, 18)] == [100, 200, 300, 400]


def test_callers_and_promises_spend_only_their_own_share() -> None:
    limits = reported(1000, 1000).with_calls(70, MIDNIGHT + HOUR, on_demand=70).with_calls(30, MIDNIGHT + HOUR)
    assert on_demand_call_budget(SPLIT, limits, MIDNIGHT + 2 * HOUR) == 100 - 70
    assert call_budget(SPLIT, limits, MIDNIGHT + 18 * HOUR) == 400 - 30
    assert on_demand_call_budget(SPLIT, limits, renewed_at(MIDNIGHT + 2 * HOUR)) == 100
    assert limits.with_calls(5, MIDNIGHT + 25 * HOUR).on_demand_calls_on((MIDNIGHT + 25 * HOUR).date()) == 0


MID_MONTH = datetime(2026, 11, 16, 12, tzinfo=UTC)
POLICY = Policy.model_validate(
    {
        "default": {"fresh_within": "6 hours"},
        "prices": {"Xero": "0.10 USD per refresh", "Sage 50": "2 USD per GB, 5 MB a refresh"},
        "budget": {"spending": {"Xero": "30 USD a month", "Sage 50": "10 USD a month"}},
    }
)


def connection(platform: str) -> Connection:
    return a_connection(platform, MID_MONTH - 100 * HOUR, platform=platform)


def feeds(platform: str, number: int) -> tuple[dict[str, Company], list[Feed]]:
    linked = connection(platform)
    companies = {f"{n}": Company(company_id=f"{n}", connections={platform: linked}) for n in range(number)}
    return companies, [
        Feed(company_id=name, data_type="invoices", connection_id=platform, succeeded_at=MID_MONTH - (7 + n) * HOUR)
        for n, name in enumerate(companies)
    ]


@pytest.mark.parametrize(
    ("day", "hour", "used", "left"),
    [(1, 0, 0, 10), (1, 0, 4, 6), (1, 0, 10, 0), (1, 1, 0, 10), (16, 0, 0, 160), (30, 23, 0, 300)],
)
def test_a_cap_is_spread_over_the_month_and_a_day_ahead(day: int, hour: int, used: int, left: int) -> None:
    found = spend_left(POLICY, {"Xero": used}, datetime(2026, 11, day, hour, tzinfo=UTC))
    assert int(found["Xero"]) == left
    assert day < 30 or found["Sage 50"] == 1000


@given(st.integers(0, 800 * 24), st.integers(0, 10_000))
def test_no_more_is_ever_spent_than_the_cap(hours: int, used: int) -> None:
    now = MID_MONTH + hours * HOUR
    left = spend_left(POLICY, {"Xero": used}, now)["Xero"]
    assert left >= 0
    assert left == 0 or (used + left) * 0.10 <= 30 + 1e-9
    assert month_of(now) == f"{now:%Y-%m}"


def test_what_a_cap_leaves_goes_to_the_most_urgent_and_the_others_wait_an_hour() -> None:
    companies, due = feeds("Xero", 5)
    decisions = decide(due, companies, POLICY, MID_MONTH, spend_left={"Xero": 2.0})
    queued = [decision.feed.company_id for decision in decisions if decision.action is Action.QUEUE]
    assert queued == ["4", "3"]
    left = [decision for decision in decisions if decision.action is not Action.QUEUE]
    assert {(decision.reason, decision.until) for decision in left} == {(Reason.OVER_SPENDING, MID_MONTH + HOUR)}


def test_a_platform_without_a_cap_is_not_held_back() -> None:
    companies, due = feeds("QuickBooks Online", 3)
    decisions = decide(due, companies, POLICY, MID_MONTH, spend_left={"Xero": 0.0})
    assert [decision.action for decision in decisions] == [Action.QUEUE] * 3


NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)
TOMORROW = NINE + 15 * HOUR


@given(
    calls_per_minute=st.integers(60, 1000),
    reservations=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 20)), max_size=15),
)
def test_no_minute_has_more_calls_than_allowed_however_late_each_uses_its_slot(
    calls_per_minute: int, reservations: list[tuple[float, int]]
) -> None:
    limits, now, slots = ApiLimits(), NINE, []
    for pause, calls in reservations:
        now += timedelta(seconds=pause)
        limits = limits.with_slots_reserved(calls, calls_per_minute, now)
        assert limits.next_slot
        slots += [limits.next_slot - number * interval(calls_per_minute) for number in range(calls, 0, -1)]

    for slot in slots:
        # The worst minute begins as the grace of its first slot ends.
        assert sum(slot <= other < slot + GRACE + MINUTE for other in slots) <= calls_per_minute


def test_a_slot_reserved_by_a_clock_that_is_far_ahead_does_not_hold_up_the_others_for_long() -> None:
    limits = ApiLimits().with_slots_reserved(1, 600, NINE + HOUR).with_slots_reserved(1, 600, NINE)
    assert limits.next_slot
    assert limits.next_slot <= NINE + FURTHEST_SLOT + SECOND


def test_the_latest_report_of_the_quota_counts() -> None:
    reports = [(1000, 10, NINE), (1000, 9, NINE), (2000, 1500, NINE + SECOND)]
    for order in permutations(reports):
        limits = ApiLimits()
        for limit, remaining, at in order:
            limits = limits.with_quota(limit, remaining, at)
        assert (limits.daily_quota, limits.remaining) == (2000, 1500)


@pytest.mark.parametrize(
    ("limits", "until"),
    [
        pytest.param(ApiLimits().with_stop(NINE + MINUTE, NINE), NINE + MINUTE, id="a stop"),
        pytest.param(ApiLimits().with_stop(NINE + 9999 * HOUR, NINE), NINE + 24 * HOUR, id="one beyond any limit"),
        pytest.param(
            ApiLimits().with_stop(TOMORROW, NINE).with_stop(NINE + MINUTE, NINE + SECOND), TOMORROW, id="two stops"
        ),
        pytest.param(ApiLimits().with_quota(1000, 0, NINE), TOMORROW, id="a quota that is used up"),
    ],
)
def test_a_stop_holds_until_its_time(limits: ApiLimits, until: datetime) -> None:
    assert limits.stopped_before(until - SECOND) == until
    assert limits.stopped_before(until) is None


def test_only_a_later_reset_ends_a_stop() -> None:
    for order in permutations(["stop", "reset"]):
        limits = ApiLimits()
        for kind in order:
            limits = limits.with_stop(TOMORROW, NINE) if kind == "stop" else limits.with_reset(NINE + MINUTE)
        assert limits.stopped_before(NINE + HOUR) is None
    assert limits.with_stop(TOMORROW, NINE + 2 * MINUTE).stopped_before(NINE + HOUR) == TOMORROW
    used_up = ApiLimits().with_quota(1000, 0, NINE)
    assert used_up.with_reset(NINE + MINUTE).stopped_before(NINE + HOUR) is None


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
