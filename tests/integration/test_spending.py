"""What was spent on a platform: counted where a refresh was recorded, and read by the next tick."""

from datetime import timedelta

from freshness.app.queueing.decide_now import spend_left_now
from freshness.app.reading.queries import Queries
from freshness.aws.dynamodb.tables import Tables
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.facts import DatasetRequested
from freshness.domain.feeds.feed import Feed
from tests.builders import NOON, a_connection, a_policy
from tests.services import services_of

POLICY = a_policy("6 hours", prices={"Xero": "0.50 USD per refresh"}, budget={"spending": {"Xero": "30 USD a month"}})


def test_refreshes_of_ours_are_counted_once_by_month_and_platform(tables: Tables) -> None:
    services = services_of(tables, POLICY, clock=lambda: NOON)
    recorder = services.recorder
    before = spend_left_now(services, NOON)["Xero"]
    for platform in ("Xero", "Stripe"):
        connection = a_connection(platform, NOON - timedelta(days=1), platform=platform)
        company = Company(company_id="c", connections={platform: connection})
        feed = Feed(company_id="c", data_type="invoices", connection_id=platform)
        for number, trigger in enumerate((Trigger.PROMISE, Trigger.PROMISE, Trigger.EXTERNAL)):
            at = NOON + timedelta(hours=number)
            fact = DatasetRequested(at=at, trigger=trigger, dataset_id=f"{platform} {number}")
            for _ in range(2):
                recorder.record_feed(tables.feeds.get(*feed.key, consistent=True), company, fact)
    recorder.write_collected()
    recorder.write_collected()

    assert tables.spending.refreshes(NOON) == {"Xero": 2}
    assert spend_left_now(services, NOON) == {"Xero": before - 2}
    [view] = Queries(services=services).spending(NOON)
    assert (view.platform, view.spent, view.cap, view.currency) == ("Xero", 1.0, 30.0, "USD")
    assert tables.spending.refreshes(NOON + timedelta(days=10)) == {}
