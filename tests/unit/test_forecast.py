"""Which deadlines will be missed, seen in advance."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from estimate.memory_dynamodb import MemoryDynamoDB, tables_in_memory
from freshness.app import forecast
from freshness.app.forecast import misses_ahead, publish_misses
from freshness.app.reading.queries import Queries
from freshness.app.tick import Failures
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import NotPublished
from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.company import Company, ConnectionStatus
from freshness.domain.companies.pause import Pause
from freshness.domain.datasets.dataset import DatasetState
from freshness.domain.feeds.facts import MissExpected
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End
from freshness.domain.feeds.schedule import reschedule
from freshness.domain.transitions.notifications import Notification
from freshness.domain.transitions.transition import transition
from freshness.planning.forecast import AtRisk, at_risk
from freshness.policy.policy import Policy
from tests.builders import MINUTE, a_connection, a_policy
from tests.integration.recording_bus import RecordingBus
from tests.services import services_of

SEVEN = datetime(2026, 11, 23, 7, tzinfo=UTC)
DEADLINE = {"name": "ready", "by": "08:00", "fresh_within": "2 hours"}
LINKED = a_connection("1", SEVEN - timedelta(days=30))
COMPANIES = {f"{number}": Company(company_id=f"{number}", connections={"1": LINKED}) for number in range(100)}
PLENTY = ApiLimits(daily_quota=100_000)


def policy(calls_per_minute: int = 600) -> Policy:
    budget = {"calls_per_minute": calls_per_minute}
    return a_policy("1 week", deadlines=[DEADLINE], budget=budget)


def feeds(rules: Policy) -> list[Feed]:
    """Return a feed of each company, synced yesterday, the longest due first."""
    synced = [
        Feed(company_id=name, data_type="invoices", connection_id="1", succeeded_at=SEVEN - timedelta(days=1))
        for name in COMPANIES
    ]
    due = [reschedule(feed, rules.promise("invoices", COMPANIES[feed.company_id], LINKED), LINKED) for feed in synced]
    return sorted(due, key=lambda feed: str(feed.due_at))


def risks(rules: Policy, limits: ApiLimits = PLENTY, now: datetime = SEVEN, *, paused: bool = False) -> list[AtRisk]:
    return list(at_risk(feeds(rules), COMPANIES, rules, limits, now, pause=Pause() if paused else None))


def test_the_last_feeds_are_at_risk_if_the_pace_does_not_reach_for_all() -> None:
    late = risks(policy(calls_per_minute=1), now=SEVEN)
    assert 30 < len(late) < 60
    assert {risk.moment.at for risk in late} == {SEVEN + 60 * MINUTE}
    assert all(risk.expected_at is None or risk.expected_at > risk.moment.at for risk in late)


@pytest.mark.parametrize(
    ("limits", "paused", "now", "number"),
    [
        pytest.param(PLENTY, False, SEVEN, 0, id="none while the pace and the quota reach"),
        pytest.param(
            replace(PLENTY, daily_quota=1000, remaining=0, reported_at=SEVEN), False, SEVEN, 100, id="quota spent"
        ),
        pytest.param(PLENTY, True, SEVEN, 100, id="everything is paused"),
        pytest.param(PLENTY, True, SEVEN - 61 * MINUTE, 0, id="the deadline is further ahead"),
    ],
)
def test_all_are_at_risk_once_nothing_can_be_queued_before_a_deadline_within_the_hour(
    limits: ApiLimits, paused: bool, now: datetime, number: int
) -> None:
    assert len(risks(policy(), limits, now, paused=paused)) == number


def test_those_that_a_cap_on_spending_does_not_reach_for_are_at_risk() -> None:
    capped = {"prices": {"Xero": "1 USD per refresh"}, "budget": {"spending": {"Xero": "900 USD a month"}}}
    rules = a_policy("1 week", deadlines=[DEADLINE], **capped)
    late = list(at_risk(feeds(rules), COMPANIES, rules, PLENTY, SEVEN, spend_left={"Xero": 60.0}))
    assert [risk.feed for risk in late] == feeds(rules)[60:]


def test_a_miss_is_published_once_for_each_deadline_and_not_if_the_feed_was_refreshed_since() -> None:
    rules = policy()
    feed = feeds(rules)[0]
    promise = rules.promise("invoices", COMPANIES["0"], LINKED)
    fact = MissExpected(
        deadline="ready", deadline_at=SEVEN + 60 * MINUTE, expected_at=None, succeeded_at=feed.succeeded_at
    )

    first = transition(feed, fact, promise, LINKED, SEVEN)
    again = transition(first.feed, fact, promise, LINKED, SEVEN)
    refreshed = transition(replace(feed, succeeded_at=SEVEN), fact, promise, LINKED, SEVEN)

    assert [notification.detail_type for notification in first.notifications] == ["Deadline at risk"]
    assert again.notifications == refreshed.notifications == ()


def paused_fleet(dynamodb: MemoryDynamoDB, rules: Policy) -> Tables:
    """Return the tables of a fleet whose feeds will all miss a deadline, because everything is paused."""
    tables = tables_in_memory(dynamodb)
    for company in COMPANIES.values():
        tables.companies.put(company)
    for feed in feeds(rules):
        tables.feeds.put(feed)
    tables.control.pause()
    return tables


class BusThatRefusesOnce(RecordingBus):
    """A bus that does not accept the first events."""

    refused = False

    def publish(self, notifications: Sequence[Notification]) -> None:
        if notifications and not self.refused:
            self.refused = True
            raise NotPublished("throttled")
        super().publish(notifications)


def test_a_feed_that_cannot_be_recorded_does_not_keep_others_from_the_forecast() -> None:
    bus, rules = BusThatRefusesOnce(), policy()
    services = services_of(paused_fleet(MemoryDynamoDB(), rules), rules, bus=bus, clock=lambda: SEVEN)
    failures = Failures(services.counts)

    publish_misses(services, failures, SEVEN + timedelta(hours=1))

    assert bus.kinds == ["Deadline at risk"] * (len(COMPANIES) - 1)
    with pytest.raises(NotPublished):
        failures.raise_temporary()
    publish_misses(services, Failures(services.counts), SEVEN + timedelta(hours=1))
    assert bus.kinds == ["Deadline at risk"] * len(COMPANIES)
    for now, misses_at in ((SEVEN, SEVEN + 60 * MINUTE), (SEVEN + 61 * MINUTE, None)):
        assert {feed.misses_at for feed in Queries(services=services).fleet(now).feeds} == {misses_at}


def test_feeds_are_read_batch_by_batch_while_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "BATCH", 10)
    dynamodb, rules = MemoryDynamoDB(), policy()
    tables = paused_fleet(dynamodb, rules)

    def read_for(number: int, checks: int | None = None) -> int:
        """Return how many batches were read for the first so many misses, with time for so many batches."""
        before, left = dynamodb.calls["BatchGetItem"], iter([True] * (len(COMPANIES) if checks is None else checks))
        until = SEVEN + timedelta(hours=1)
        services = services_of(tables, rules, clock=lambda: SEVEN if next(left, False) else until)
        misses = misses_ahead(services, SEVEN, until)
        assert len(list(islice(misses, number))) == min(number, 10 * (number if checks is None else checks))
        return dynamodb.calls["BatchGetItem"] - before

    one_batch = read_for(1)
    assert read_for(100) == 10 * one_batch
    assert read_for(100, checks=3) <= 4 * one_batch


def test_what_a_person_must_act_on_first_or_a_platform_does_not_have_is_no_deadline_at_risk() -> None:
    """Nothing that this system does could meet it, and somebody was told already."""
    slow = policy(calls_per_minute=1)
    lapsed = replace(LINKED, status=ConnectionStatus.DEAUTHORIZED)
    companies = {name: replace(company, connections={"1": lapsed}) for name, company in COMPANIES.items()}
    not_supported = End(at=SEVEN - timedelta(hours=1), state=DatasetState.NOT_SUPPORTED)
    unsupported = [feed.ended(not_supported) for feed in feeds(slow)]

    assert len(risks(slow)) > 0
    assert list(at_risk(feeds(slow), companies, slow, PLENTY, SEVEN)) == []
    assert list(at_risk(unsupported, COMPANIES, slow, PLENTY, SEVEN)) == []
