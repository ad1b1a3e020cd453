"""`warn_after` below `fresh_within`: a warning while the promise is still kept."""

from collections import Counter
from typing import Any

import pytest

from freshness.app.queueing.promise_metrics import PromiseMetrics
from freshness.aws.metrics import Metric
from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.schedule import breaks_at, due_at
from freshness.planning.decision import Action, Decision, Reason
from freshness.policy.policy import Policy
from tests.builders import HOUR, NOON, a_connection

XERO = a_connection("1", NOON - 30 * HOUR)
TOFT = Company(company_id="toft", connections={"1": XERO})
FEED = Feed(company_id="toft", data_type="bills", connection_id="1", succeeded_at=NOON)


def policy(default: dict[str, Any], *rules: dict[str, Any]) -> Policy:
    return Policy.model_validate({"default": default, "rules": rules})


def test_a_refresh_is_queued_early_enough_for_a_warning_before_the_promise_breaks() -> None:
    promise = policy({"fresh_within": "6 hours", "warn_after": "4 hours"}).promise("bills", TOFT, XERO)

    due = due_at(FEED, promise, XERO)

    assert due
    assert NOON + 3.9 * HOUR < due < NOON + 4 * HOUR
    assert breaks_at(FEED, promise, XERO) == NOON + 6 * HOUR


@pytest.mark.parametrize(("age", "warned"), [(3.9, 0), (4.1, 1), (7, 1)])
def test_a_feed_is_warned_of_from_the_age_on_whether_or_not_its_promise_is_kept(age: float, warned: int) -> None:
    rules, now = policy({"fresh_within": "6 hours", "warn_after": "4 hours"}), NOON + age * HOUR
    decision = Decision(feed=FEED, company=TOFT, action=Action.WAIT, reason=Reason.OVER_BUDGET)
    metrics = PromiseMetrics()

    metrics.add([decision], [], rules, now)

    measured = Counter(metrics.measured)
    assert measured[Metric.FEEDS_TO_WARN_OF] == warned
    assert measured[Metric.FEEDS_OVER_PROMISE] == (age > 6)


def test_what_an_earlier_table_warns_of_is_no_early_warning_for_a_later_promise() -> None:
    longer = {"name": "longer", "platforms": ["Xero"], "fresh_within": "3 days"}
    both = longer | {"warn_after": "2 days"}
    nightly = {"name": "nights", "hours": "22:00 to 06:00", "fresh_within": "3 days"}
    default = {"fresh_within": "1 day", "warn_after": "20 hours"}

    assert policy(default).promise("bills", TOFT, XERO).aim == 20 * HOUR
    assert policy(default, longer).promise("bills", TOFT, XERO).aim == 72 * HOUR
    assert policy(default, both).promise("bills", TOFT, XERO).aim == 48 * HOUR
    by_night = policy(default, nightly).promise("bills", TOFT, XERO)
    assert (by_night.at(NOON).aim, by_night.at(NOON + 12 * HOUR).aim) == (20 * HOUR, 72 * HOUR)


def test_a_warning_by_hours_makes_a_refresh_due_early_enough_in_these_hours() -> None:
    rule = {"name": "days", "hours": "08:00 to 18:00", "fresh_within": "6 hours", "warn_after": "4 hours"}
    promise = policy({"fresh_within": "1 day"}, rule).promise("bills", TOFT, XERO)

    due = due_at(FEED, promise, XERO)

    assert due
    assert NOON + 3.9 * HOUR < due < NOON + 4 * HOUR
