"""Why a feed is not fresh, and whose turn it is."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from freshness.app.reading.diagnosis import (
    OFFLINE_AFTER,
    WAITS_AFTER,
    Conditions,
    Diagnosis,
    Subject,
    Turn,
    diagnose,
    parties,
)
from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.company import REFUSED_AGAIN_AFTER, Company, Connection, ConnectionStatus, ReadOnce
from freshness.domain.datasets.dataset import IN_FLIGHT, Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import Request, State
from freshness.domain.promises.promise import Promise
from freshness.planning.decision import Reason
from tests.builders import NOON, a_connection

DESKTOP = a_connection("connection", NOON - timedelta(days=30), platform="QuickBooks Desktop")
READING = Feed(company_id="company", data_type="invoices", connection_id="connection").requested(
    Request(at=NOON, trigger=Trigger.PROMISE, dataset_id="dataset")
)


def obstacle(state: State, connection: Connection, feed: Feed, now: datetime) -> str:
    """Return why a feed cannot be fresh, empty if nothing says so."""
    subject = Subject(
        feed=feed,
        company=Company(company_id="company"),
        connection=connection,
        promise=Promise(fresh_within=timedelta(days=1)),
        state=state,
        is_broken=False,
        misses_at=None,
        reason=Reason.NOT_YET,
    )
    said = diagnose(subject, Conditions(at=now, limits=ApiLimits(), pause=None))
    assert said is None or said.is_obstacle
    return said.why if said else ""


@pytest.mark.parametrize("state", ["", "SomethingNew", *IN_FLIGHT])
def test_a_read_from_a_machine_waits_for_it_whatever_its_state_once_it_takes_longer_than_usual(state: str) -> None:
    def found(waited: timedelta, platform_sync_time: timedelta | None = None) -> str:
        feed = replace(READING, running_state=state, platform_sync_time=platform_sync_time)
        return obstacle(State.REFRESHING, DESKTOP, feed, NOON + waited)

    assert found(timedelta(seconds=29)) == ""
    assert found(timedelta(seconds=30)) == "it waits until the customer's machine with QuickBooks Desktop is online"
    assert found(OFFLINE_AFTER) == "the customer's machine with QuickBooks Desktop is offline"
    assert found(WAITS_AFTER - timedelta(seconds=1), timedelta(hours=9)) == ""
    assert found(WAITS_AFTER, timedelta(hours=9)) != ""


def test_a_read_from_a_machine_that_the_platform_pauses_does_not_wait_for_the_machine() -> None:
    paused = replace(READING, running_description="Paused until 2026-11-23T14:00:00Z", seen_running_at=NOON)
    hour = timedelta(hours=1)

    assert obstacle(State.REFRESHING, DESKTOP, paused, NOON + hour) == ""
    assert "machine with QuickBooks Desktop" in obstacle(State.REFRESHING, DESKTOP, paused, NOON + 3 * hour)


def test_only_a_read_from_a_machine_waits_for_one() -> None:
    online = replace(DESKTOP, platform="Xero")

    assert obstacle(State.REFRESHING, online, READING, NOON + OFFLINE_AFTER) == ""
    assert obstacle(State.FRESH, DESKTOP, READING, NOON + OFFLINE_AFTER) == ""


@pytest.mark.parametrize(
    ("connection", "state", "why"),
    [
        (replace(DESKTOP, status=ConnectionStatus.UNLINKED), State.OFF, "you unlinked it at Codat"),
        (
            replace(DESKTOP, status="Deauthorized", read_once=ReadOnce.INFERRED, first_read_at=NOON),
            State.OFF,
            "it was read once: QuickBooks Desktop was disconnected within an hour, as one-time links are",
        ),
        (
            replace(DESKTOP, status="Deauthorized", read_once=ReadOnce.POLICY, first_read_at=NOON),
            State.OFF,
            "it was read once, as the policy says",
        ),
        (DESKTOP, State.OFF, "the policy turns it off"),
        (
            replace(DESKTOP, status="Deauthorized", read_once=ReadOnce.UNDECIDED),
            State.BLOCKED,
            "the link to QuickBooks Desktop has lapsed, and perhaps it was for one read",
        ),
        (replace(DESKTOP, status="Deauthorized"), State.BLOCKED, "the link to QuickBooks Desktop has lapsed"),
        (
            replace(DESKTOP, refusals=(NOON - REFUSED_AGAIN_AFTER, NOON)),
            State.BLOCKED,
            "the link to QuickBooks Desktop has lapsed",
        ),
    ],
)
def test_the_reason_says_who_ended_a_connection_and_why(connection: Connection, state: State, why: str) -> None:
    assert obstacle(state, connection, READING, NOON) == why


def test_a_feed_that_was_never_read_and_whose_link_lapsed_waits_for_the_customer() -> None:
    never_read = Feed(company_id="company", data_type="invoices", connection_id="connection")
    lapsed = replace(DESKTOP, status=ConnectionStatus.DEAUTHORIZED)

    assert "has lapsed" in obstacle(State.BLOCKED, lapsed, never_read, NOON)
    assert "lack of permissions" in obstacle(State.BLOCKED, DESKTOP, never_read, NOON)


def test_platforms_that_feeds_wait_for_are_named_the_most_waited_for_first() -> None:
    def limited(platform: str) -> Diagnosis:
        return Diagnosis(Turn.PLATFORM, "limited", "Wait.", platform=platform)

    lapsed = Diagnosis(Turn.CUSTOMER, "lapsed", "Send the link.")

    assert parties([(lapsed, 3), (limited("Xero"), 5)]) == (
        (Turn.PLATFORM, "Xero", 5),
        (Turn.CUSTOMER, "a customer", 3),
    )
    assert [each.name for each in parties([(limited("Xero"), 5), (limited("MYOB"), 6)])] == [
        "MYOB and 1 other platform"
    ]
    assert [each.name for each in parties([(limited(name), 1) for name in "abc"])] == ["a and 2 other platforms"]
    assert parties([(lapsed, 0)]) == ()
