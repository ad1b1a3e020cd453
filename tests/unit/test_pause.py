"""What a tick does while refreshes are paused."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import typer

from cli import arguments
from freshness.app.reading.diagnosis import Conditions, Subject, diagnose
from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import Pause
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import Request, State
from freshness.domain.promises.promise import Promise
from freshness.planning.decision import Action, Reason
from freshness.planning.planner import decide
from tests.builders import NOON, a_connection, a_policy

POLICY = a_policy()
LINKED = a_connection("connection", NOON)
COMPANY = Company(company_id="company", connections={"connection": LINKED})
DUE = Feed(company_id="company", data_type="invoices", connection_id="connection", due_at=NOON)


def action(feed: Feed, company: Company, *, paused: bool = False) -> Action:
    [decision] = decide([feed], {"company": company}, POLICY, NOON, paused=paused)
    return decision.action


def test_a_due_feed_of_a_paused_company_is_removed_from_the_index() -> None:
    assert action(DUE, COMPANY) is Action.QUEUE
    assert action(DUE, replace(COMPANY, pause=Pause())) is Action.HIDE


def test_while_everything_is_paused_due_feeds_stay_in_the_index() -> None:
    assert action(DUE, COMPANY, paused=True) is Action.WAIT


def test_a_late_dataset_is_checked_even_during_a_pause() -> None:
    late = DUE.requested(Request(at=NOON.replace(hour=1), trigger=Trigger.PROMISE))

    assert action(late, replace(COMPANY, pause=Pause()), paused=True) is Action.CHECK


@pytest.mark.parametrize(
    ("given", "until"),
    [
        ("2026-12-24 18:00", "2026-12-24T18:00+00:00"),
        ("2026-12-24", "2026-12-24T00:00+00:00"),
        ("2026-12-24T18:00:00+02:00", "2026-12-24T16:00+00:00"),
        ("2026-12-24 18:00 America/New_York", "2026-12-24T23:00+00:00"),
        ("2h", "2026-11-23T14:00+00:00"),
        ("P1D", "2026-11-24T12:00+00:00"),
    ],
)
def test_the_end_of_a_pause_is_a_time_in_any_zone_or_a_duration(
    given: str, until: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arguments, "clock", lambda: NOON)

    assert arguments.coming_time(given) == datetime.fromisoformat(until)


@pytest.mark.parametrize("given", ["yesterday", "", "18:00", "2026-12-24 18:00 Narnia", "2026-11-23 12:00", "0h"])
def test_what_is_no_coming_time_is_refused_with_an_example(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "clock", lambda: NOON)

    with pytest.raises(typer.BadParameter, match="expected a time"):
        arguments.coming_time(given)


def test_a_pause_says_until_when_and_why_and_ends_then() -> None:
    pause = Pause(until=NOON, reason="year-end close")
    paused = replace(COMPANY, pause=pause)

    assert str(pause) == "paused until 2026-11-23 12:00 UTC (year-end close)"
    assert action(DUE, paused) is Action.QUEUE
    assert action(DUE, replace(paused, pause=Pause(until=NOON.replace(hour=13)))) is Action.HIDE


def test_why_a_feed_is_late_names_the_pause_its_end_and_its_reason() -> None:
    subject = Subject(
        feed=DUE,
        company=replace(COMPANY, pause=Pause(until=NOON.replace(hour=13), reason="audit")),
        connection=LINKED,
        promise=Promise(fresh_within=timedelta(days=1)),
        state=State.STALE,
        is_broken=True,
        misses_at=None,
        reason=Reason.PAUSED,
    )

    said = diagnose(subject, Conditions(at=NOON, limits=ApiLimits(), pause=None))

    assert said
    assert (said.why, said.next_action) == (
        "the company is paused until 2026-11-23 13:00 UTC (audit)",
        "Wait until then, or run ./freshness resume company.",
    )
