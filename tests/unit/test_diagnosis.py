"""Why a feed is not fresh, and whose turn it is; how values are written for people, and durations read."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from freshness.app.reading.text import changed, changes, duration, read_times
from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.company import REFUSED_AGAIN_AFTER, Company, Connection, ConnectionStatus, ReadOnce
from freshness.domain.companies.pause import Pause
from freshness.domain.datasets.dataset import IN_FLIGHT, Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End, Request, State
from freshness.domain.promises.promise import Promise
from freshness.planning.decision import Reason
from freshness.policy.file.values import LONGEST_DURATION, parse_duration
from tests.builders import DAY, HOUR, MINUTE, NOON, a_connection
from tests.builders import NEW as NEVER_READ

DESKTOP = a_connection("connection", NOON - timedelta(days=30), platform="QuickBooks Desktop")
XERO = replace(DESKTOP, platform="Xero")
READING = NEVER_READ.requested(Request(at=NOON, trigger=Trigger.PROMISE, dataset_id="dataset"))
AUDIT = Pause(until=NOON + HOUR, reason="audit")


def said(feed: Feed, state: State, at: datetime = NOON, **given: Any) -> Diagnosis | None:
    """Return what is said of a feed whose promise is broken, except for what is given."""
    usual: dict[str, Any] = {
        "company": Company(company_id="company"),
        "connection": DESKTOP,
        "promise": Promise(fresh_within=DAY),
        "is_broken": True,
        "misses_at": None,
        "reason": Reason.DUE,
    }
    return diagnose(Subject(feed=feed, state=state, **usual | given), Conditions(at=at, limits=ApiLimits(), pause=None))


def obstacle(state: State, connection: Connection, feed: Feed, now: datetime) -> str:
    """Return why a feed cannot be fresh, empty if nothing says so."""
    found = said(feed, state, now, connection=connection, is_broken=False, reason=Reason.NOT_YET)
    assert found is None or found.is_obstacle
    return found.why if found else ""


@pytest.mark.parametrize(
    ("state", "end", "turn"),
    [
        (State.BLOCKED, "AuthError", Turn.CUSTOMER),
        (State.BLOCKED, "PermissionsError", Turn.CUSTOMER),
        (State.FAILING, "FetchError", Turn.PLATFORM),
        (State.FAILING, "AuthError", Turn.PLATFORM),
        (State.FAILING, "MapError", Turn.CODAT),
        (State.STALE, "Complete", Turn.US),
    ],
)
def test_it_is_somebodys_turn(state: State, end: str, turn: Turn) -> None:
    found = said(NEVER_READ.ended(End(at=NOON, state=end)), state, connection=XERO)
    assert found and found.turn is turn
    assert found.why and found.next_action


@pytest.mark.parametrize(
    ("given", "why", "next_action"),
    [
        ({"reason": Reason.OVER_SPENDING}, "over the cap on spending for Xero", "raise budget.spending"),
        (
            {"is_broken": False, "misses_at": NOON + HOUR},
            "it is expected to miss the deadline at 13:00 UTC",
            "Resume what is paused, or raise share_of_quota",
        ),
        (
            {"reason": Reason.PAUSED, "company": Company(company_id="company", pause=AUDIT)},
            "the company is paused until 2026-11-23 13:00 UTC (audit)",
            "Wait until then, or run ./freshness resume company.",
        ),
    ],
)
def test_why_a_feed_is_late_names_the_cap_the_deadline_or_the_pause_with_its_end_and_its_reason(
    given: dict[str, Any], why: str, next_action: str
) -> None:
    found = said(NEVER_READ, State.STALE, connection=XERO, **given)
    assert found and found.why == why
    assert next_action in found.next_action


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


def test_a_read_that_the_platform_pauses_waits_for_it_and_not_for_a_machine_or_codat() -> None:
    paused = replace(READING, running_description="Paused until 2026-11-23T14:00:00Z", seen_running_at=NOON)
    assert obstacle(State.REFRESHING, DESKTOP, paused, NOON + HOUR) == ""
    assert "machine with QuickBooks Desktop" in obstacle(State.REFRESHING, DESKTOP, paused, NOON + 3 * HOUR)
    found = (said(paused, State.REFRESHING, NOON + hours * HOUR, connection=XERO) for hours in (1, 3))
    assert [each.turn for each in found if each] == [Turn.PLATFORM, Turn.CODAT]


def test_only_a_read_from_a_machine_waits_for_one() -> None:
    assert obstacle(State.REFRESHING, XERO, READING, NOON + OFFLINE_AFTER) == ""
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
    lapsed = replace(DESKTOP, status=ConnectionStatus.DEAUTHORIZED)
    assert "has lapsed" in obstacle(State.BLOCKED, lapsed, NEVER_READ, NOON)
    assert "lack of permissions" in obstacle(State.BLOCKED, DESKTOP, NEVER_READ, NOON)


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


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (None, "never"),
        (-MINUTE, "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (MINUTE, "1 min"),
        (HOUR - timedelta(seconds=1), "59 min"),
        (HOUR, "1 h"),
        (2 * HOUR - timedelta(seconds=1), "1 h 59 min"),
        (DAY - MINUTE, "23 h 59 min"),
        (DAY + 59 * MINUTE, "1 d"),
        (2 * DAY - MINUTE, "1 d 23 h"),
        (90 * DAY, "90 d"),
    ],
)
def test_a_duration_has_its_hours_and_minutes_or_its_days_and_hours(length: timedelta | None, text: str) -> None:
    assert duration(length) == text


def test_when_a_copy_was_read_is_said_with_the_time_from_which_its_age_counts() -> None:
    end = datetime(2026, 11, 23, 12, tzinfo=UTC)
    said = "ended 2026-11-23 12:00:00 UTC, from when its age counts"
    assert read_times(end, end - 2 * HOUR, False) == f"requested 2026-11-23 10:00:00, {said}"
    assert read_times(end, end - HOUR / 2, True) == f"{said}; when it began is not known"


def test_a_rate_of_change_that_is_assumed_is_not_said_to_be_learned() -> None:
    assert changes(4, True) == "about 4 times a day, as learned from its syncs"
    assert changes(0.999, True) == "about once a day, as learned from its syncs"
    assert changes(4, False) == "about 4 times a day, assumed until its own syncs show it"


def test_whether_a_dataset_found_changes_is_said_with_from_when_on_they_are() -> None:
    since = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert changed(True, since) == "yes, from 2026-11-23 12:00:00 on"
    assert [changed(True, None), changed(False, since), changed(None, None)] == ["yes", "no", "-"]


@pytest.mark.parametrize(
    ("texts", "duration"),
    [
        (("90 seconds", "90s", "90 s", "PT90S", "PT1M30S"), timedelta(seconds=90)),
        (("30 minutes", "30m", "30 min", "PT30M"), timedelta(minutes=30)),
        (("1 hour", "1h", "PT1H", "60 minutes", "PT60M"), timedelta(hours=1)),
        (("1 day", "1d", "P1D", "24h", "PT24H"), timedelta(days=1)),
        (("2 weeks", "2w", "P2W", "P14D"), timedelta(weeks=2)),
        (("P1DT12H",), timedelta(days=1.5)),
        (("366 days", "P366D"), LONGEST_DURATION),
    ],
)
def test_a_duration_is_the_same_in_all_notations(texts: tuple[str, ...], duration: timedelta) -> None:
    assert {parse_duration(text) for text in texts} == {duration}


@pytest.mark.parametrize(
    "text",
    ["", "soon", "1", "-1h", "0h", "P", "PT", "P1DT", "P1M", "P1Y", "1.5h", "1 h 30 m", "367 days", "9" * 9999],
)
def test_what_is_no_duration_is_refused_in_a_short_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration") as raised:
        parse_duration(text)
    assert len(str(raised.value)) < 200


@given(st.text() | st.integers() | st.floats() | st.none() | st.lists(st.text()))
def test_any_value_is_a_duration_or_refused(value: object) -> None:
    try:
        duration = parse_duration(value)
    except ValueError:
        return
    assert timedelta() < duration <= LONGEST_DURATION
