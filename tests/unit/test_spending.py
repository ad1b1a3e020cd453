"""Caps on spending: how many refreshes they allow, and what becomes of the others."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.companies.company import Company, Connection
from freshness.domain.feeds.feed import Feed
from freshness.planning.budgets import month_of, spend_left
from freshness.planning.decision import Action, Reason
from freshness.planning.planner import decide
from freshness.policy.policy import Policy
from tests.builders import HOUR, a_connection

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)
POLICY = Policy.model_validate(
    {
        "default": {"fresh_within": "6 hours"},
        "prices": {"Xero": "0.10 USD per refresh", "Sage 50": "2 USD per GB, 5 MB a refresh"},
        "budget": {"spending": {"Xero": "30 USD a month", "Sage 50": "10 USD a month"}},
    }
)


def connection(platform: str) -> Connection:
    return a_connection(platform, NOON - 100 * HOUR, platform=platform)


def feeds(platform: str, number: int) -> tuple[dict[str, Company], list[Feed]]:
    linked = connection(platform)
    companies = {f"{n}": Company(company_id=f"{n}", connections={platform: linked}) for n in range(number)}
    return companies, [
        Feed(company_id=name, data_type="invoices", connection_id=platform, succeeded_at=NOON - (7 + n) * HOUR)
        for n, name in enumerate(companies)
    ]


def test_a_cap_is_spread_over_the_month_and_a_day_ahead() -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)

    assert spend_left(POLICY, {}, start)["Xero"] == 300 // 30
    assert spend_left(POLICY, {"Xero": 4}, start)["Xero"] == 300 // 30 - 4
    assert spend_left(POLICY, {}, datetime(2026, 11, 16, tzinfo=UTC))["Xero"] == 300 * 16 // 30
    assert spend_left(POLICY, {}, datetime(2026, 11, 30, 23, tzinfo=UTC)) == {"Xero": 300, "Sage 50": 1000}


@given(st.integers(0, 800 * 24), st.integers(0, 10_000))
def test_no_more_is_ever_spent_than_the_cap(hours: int, used: int) -> None:
    now = NOON + hours * HOUR
    left = spend_left(POLICY, {"Xero": used}, now)["Xero"]

    assert left >= 0
    assert left == 0 or (used + left) * 0.10 <= 30 + 1e-9
    assert month_of(now) == f"{now:%Y-%m}"


def test_what_a_cap_leaves_goes_to_the_most_urgent_and_the_others_wait_an_hour() -> None:
    companies, due = feeds("Xero", 5)

    decisions = decide(due, companies, POLICY, NOON, spend_left={"Xero": 2.0})

    queued = [decision.feed.company_id for decision in decisions if decision.action is Action.QUEUE]
    assert queued == ["4", "3"]
    left = [decision for decision in decisions if decision.action is not Action.QUEUE]
    assert {(decision.reason, decision.until) for decision in left} == {(Reason.OVER_SPENDING, NOON + HOUR)}


def test_a_platform_without_a_cap_is_not_held_back() -> None:
    companies, due = feeds("QuickBooks Online", 3)

    decisions = decide(due, companies, POLICY, NOON, spend_left={"Xero": 0.0})

    assert [decision.action for decision in decisions] == [Action.QUEUE] * 3


def test_in_the_first_hours_of_a_month_a_days_share_of_the_cap_may_be_spent() -> None:
    midnight = datetime(2026, 11, 1, tzinfo=UTC)
    assert spend_left(POLICY, {}, midnight)["Xero"] == 300 // 30
    assert spend_left(POLICY, {}, midnight + HOUR)["Xero"] >= 300 // 30
    assert spend_left(POLICY, {"Xero": 10}, midnight)["Xero"] == 0
