"""When a feed is read next whose refresh waits for something else."""

from datetime import datetime

import pytest

from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed import Feed
from freshness.planning.decision import Action, Reason, rescheduled
from tests.builders import HOUR, NOON

COMPANY = Company(company_id="company")
FEED = Feed(company_id="company", data_type="invoices", connection_id="connection", due_at=NOON)


@pytest.mark.parametrize(
    ("until", "breaks_at", "read_at"),
    [
        (NOON + 3 * HOUR, NOON + HOUR, NOON + HOUR),
        (NOON + HOUR, NOON + 3 * HOUR, NOON + HOUR),
        (None, NOON + HOUR, NOON + HOUR),
        (NOON + HOUR, None, NOON + HOUR),
    ],
)
def test_a_feed_that_waits_is_read_again_when_its_promise_breaks_so_that_this_is_published(
    until: datetime | None, breaks_at: datetime | None, read_at: datetime
) -> None:
    decision = rescheduled(FEED, COMPANY, Reason.NOT_YET, until, breaks_at)

    assert (decision.action, decision.until) == (Action.RESCHEDULE, read_at)


def test_a_feed_that_is_due_at_the_same_time_as_before_is_not_written() -> None:
    assert rescheduled(FEED, COMPANY, Reason.NOT_YET, NOON, NOON + HOUR).action is Action.WAIT


def test_a_feed_that_nothing_makes_due_is_never_read_again() -> None:
    decision = rescheduled(FEED, COMPANY, Reason.OFF, None, None)

    assert (decision.action, decision.until) == (Action.RESCHEDULE, None)
