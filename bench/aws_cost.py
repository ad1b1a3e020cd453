"""The charges of AWS in a month for 1,000 companies with ten data types each, refreshed four times a day.

Everything that AWS charges for is counted: also what the stack reads without a refresh, the alarms and the dashboard.
Each line has a floor: what it costs with the fewest units that keep what the stack guarantees. The total is also given
with AWS's monthly free tier, which has no end; for a stack that has nothing to do; and for a hand-written alternative.
Prices that are not in `simulate.prices` are list prices of the same region and month.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aws_cdk import App

from bench import write_units
from bench.figures import Figure, show
from check_freshness import LIST_EVERY
from freshness.aws.item_codec import DATASETS_KEPT
from freshness.domain.feed import DAY
from infra.settings import Settings
from infra.stack import CodatFreshness
from infra.webhook_intake import BATCHING_WINDOW
from local.settings import ROOT
from simulate import prices
from simulate.prices import MILLION

MONTH = 30.4
"""Days."""
COMPANIES = 1_000
REFRESHES = COMPANIES * 10 * 4 * MONTH
QUEUE_TICKS = 24 * 60 * MONTH
CHECK_TICKS = 24 * 12 * MONTH
AT_MOST = 10.0
AT_MOST_WITH_FREE_TIER = 5.0
AT_MOST_IDLE = 1.0
"""USD."""

DATASET_BYTES = 600
"""The size of a dataset's record, with the overhead of DynamoDB for each item, rounded up."""
TICK_LOG_BYTES, BATCH_LOG_BYTES, ACCESS_LOG_BYTES = 1200, 450, 250
"""The log records of a tick with its metrics, of a batch of webhooks, and of a request to API Gateway."""
IN_FLIGHT_READ_UNITS = 2.0
"""Read units of one refresh in the ticks while it is in flight: a feed is due until it was seen running."""
SECRET_READS = 2 * 12 * 24 * MONTH + 12 * 24 * MONTH
"""Each of three functions reads its secret every five minutes."""
IDLE_POLLS = 5 * 3 * 60 * 24 * MONTH
"""Requests to an empty queue: five of Lambda's pollers wait for 20 seconds each."""
A_SECRET, KMS_CALL = 0.40, 0.03 / 10_000
A_METRIC, AN_ALARM_METRIC = 0.30, 0.10
DASHBOARD = "CloudWatch dashboard"
ATTAINMENT_READ_UNITS = 40.0
"""Read units of a check tick for the burn rate: the records of up to 73 hours, and the index of broken promises."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the bill: units at a price each in USD, of which `free_units` are free of charge."""

    name: str
    of: str
    units: float
    price: float
    free_units: float = 0.0
    least: float | None = None
    """The fewest units that keep the guarantees; `None` if these are."""
    because: str = ""
    """What these units are."""

    @property
    def cost(self) -> float:
        """The cost at list price."""
        return self.units * self.price

    @property
    def with_free_tier(self) -> float:
        """The cost of the units that are not free of charge."""
        return max(0.0, self.units - self.free_units) * self.price

    @property
    def at_least(self) -> "Part":
        """The part with the fewest units that keep the guarantees."""
        return self if self.least is None else replace(self, units=self.least)

    @property
    def shown(self) -> str:
        """The units and their price, the floor if it is lower, and what it consists of."""
        text = f"{self.units:,.3g} x {self.price:.2g} per {self.of}"
        if self.least is not None:
            text += f"; at least {self.at_least.cost:.2g}"
        return f"{text}: {self.because}" if self.because else text


@cache
def template() -> dict[str, Any]:
    """Return the template of the stack with the settings of `deployment.toml`."""
    with TemporaryDirectory() as folder:
        app = App(outdir=folder)
        bundle = Path(folder, "bundle")
        bundle.mkdir()
        settings = Settings.from_context(app.node, ROOT / "deployment.toml")
        CodatFreshness(app, settings, bundle, has_deadlines=False)
        body: dict[str, Any] = app.synth().get_stack_by_name(settings.name).template
    return body


def _resources(kind: str) -> list[dict[str, Any]]:
    return [each["Properties"] for each in template()["Resources"].values() if each["Type"] == kind]


def _alarm_metrics() -> int:
    """Return the number of metrics that alarms watch, each of which is charged."""
    return sum(
        sum("MetricStat" in metric for metric in alarm.get("Metrics", ())) or 1
        for alarm in _resources("AWS::CloudWatch::Alarm")
    )


def parts(refreshes: float = REFRESHES, companies: int = COMPANIES) -> list[Part]:
    """Return the parts of the bill. The Lambda time of ticks includes the wait for slots at 600 calls a minute."""
    used = write_units.use()
    writes = (used.tick.write_units + used.webhooks.write_units) / write_units.REFRESHES * refreshes
    reads = (used.tick.read_units + used.webhooks.read_units) / write_units.REFRESHES * refreshes
    ticks = QUEUE_TICKS + CHECK_TICKS
    # Webhooks that are evenly spread are the most expensive. The first of a batch waits for others.
    batches = refreshes / (1 + refreshes / (MONTH * DAY.total_seconds()) * BATCHING_WINDOW.to_seconds())
    gb_seconds = (
        QUEUE_TICKS * prices.QUEUE_TICK_GB_SECONDS
        + CHECK_TICKS * prices.CHECK_TICK_GB_SECONDS
        + refreshes * (prices.QUEUED_GB_SECONDS + prices.RECEIVED_GB_SECONDS + prices.APPLIED_GB_SECONDS)
    )
    invocations = ticks + refreshes + batches
    log_bytes = ticks * TICK_LOG_BYTES + batches * BATCH_LOG_BYTES + refreshes * ACCESS_LOG_BYTES
    millions = refreshes / MILLION
    return [
        *_dynamodb(refreshes, ticks, writes, reads, companies),
        Part("API Gateway", "1M requests", millions, prices.HTTP_API_REQUESTS, because="a webhook for each read"),
        Part(
            "SQS messages",
            "1M requests",
            (refreshes + 2 * batches) / MILLION,
            prices.SQS_REQUESTS,
            free_units=0.34,
            least=1.2 * millions,
            because="a message for each webhook, received and deleted by tens",
        ),
        Part("SQS idle polling", "1M requests", IDLE_POLLS / MILLION, prices.SQS_REQUESTS, free_units=0.66),
        Part("Lambda time", "GB-second", gb_seconds, prices.LAMBDA_GB_SECOND, free_units=400_000),
        Part(
            "Lambda requests",
            "1M",
            invocations / MILLION,
            prices.LAMBDA_REQUESTS,
            free_units=1,
            least=(ticks + 1.1 * refreshes) / MILLION,
            because="one to receive each webhook, one to apply ten, and the ticks",
        ),
        Part("EventBridge events", "1M", millions, prices.EVENTBRIDGE_EVENTS, because="an event for each refresh"),
        Part("EventBridge Scheduler", "1M", ticks / MILLION, prices.SCHEDULER_INVOCATIONS, free_units=14),
        Part("KMS calls to read secrets", "call", SECRET_READS, KMS_CALL, free_units=20_000),
        Part("CloudWatch logs", "GB", log_bytes / 1e9, 0.50, free_units=5),
        Part("CloudWatch alarms", "metric", _alarm_metrics(), AN_ALARM_METRIC, free_units=10),
        Part(DASHBOARD, "dashboard", len(_resources("AWS::CloudWatch::Dashboard")), 3.00, free_units=3, least=0),
    ]


def _dynamodb(refreshes: float, ticks: float, writes: float, reads: float, companies: int) -> list[Part]:
    """Return what DynamoDB charges for the units of refreshes, for ticks, and for storage."""
    write, read = prices.DYNAMODB_WRITES, prices.DYNAMODB_READS
    gb_stored = refreshes / MONTH * (DATASETS_KEPT / DAY) * DATASET_BYTES / 1e9
    return [
        Part(
            "DynamoDB writes of refreshes",
            "1M units",
            writes / MILLION,
            write,
            because="the feed when queued and at the end 2, its move in the due index 2, the dataset 1",
        ),
        Part(
            "DynamoDB writes of ticks",
            "1M units",
            prices.TICK_WRITE_UNITS * ticks / MILLION,
            write,
            least=2 * ticks / MILLION,
            because="a lease is taken and given back",
        ),
        Part(
            "DynamoDB reads of refreshes",
            "1M units",
            reads / MILLION,
            read,
            least=2 * refreshes / MILLION,
            because="the feed for the tick 0.5; the company 0.5, and the feed consistently 1, for the webhook",
        ),
        Part(
            "DynamoDB reads of feeds in flight",
            "1M units",
            IN_FLIGHT_READ_UNITS * refreshes / MILLION,
            read,
            least=0,
            because="to hide such feeds from ticks would take writes, which cost more",
        ),
        Part(
            "DynamoDB reads of ticks",
            "1M units",
            (prices.TICK_READ_UNITS * ticks + ATTAINMENT_READ_UNITS * CHECK_TICKS + 24 * MONTH) / MILLION,
            read,
            because="the due index's shards, the account's limits, the rates",
        ),
        Part(
            "DynamoDB reads of listed companies",
            "1M units",
            companies * 0.5 * (DAY / LIST_EVERY) * MONTH / MILLION,
            read,
            because=f"each company every {LIST_EVERY.total_seconds() / 60:.0f} minutes",
        ),
        Part("DynamoDB storage", "GB", gb_stored, 0.25, free_units=25, because="30 days of datasets"),
        Part("DynamoDB point-in-time recovery", "GB", gb_stored, 0.20),
    ]


def alternative() -> list[Part]:
    """Return the bill of a cron function that asks for each company's data status every hour and records ages.

    It has one table without history, events or alarms, and polls instead of receiving webhooks.
    """
    polls = COMPANIES * 24 * MONTH
    return [
        Part("DynamoDB writes", "1M units", REFRESHES / MILLION, prices.DYNAMODB_WRITES),
        Part("DynamoDB reads", "1M units", polls * 10 * 0.5 / MILLION, prices.DYNAMODB_READS),
        Part("Lambda time", "GB-second", (polls + REFRESHES) * 0.1 * 0.25, prices.LAMBDA_GB_SECOND, free_units=400_000),
        Part("Secrets Manager secrets", "secret", 1, A_SECRET),
        Part("CloudWatch logs", "GB", polls * 250 / 1e9, 0.50, free_units=5),
    ]


def _total(bill: Iterable[Part]) -> float:
    return sum(part.cost for part in bill)


def _with_free_tier(bill: Iterable[Part]) -> float:
    return sum(part.with_free_tier for part in bill)


def measure() -> list[Figure]:
    """Calculate each part, and the totals."""
    bill, idle, other = parts(), parts(refreshes=0, companies=1), alternative()
    floor = [part.at_least for part in bill]
    dashboard = sum(part.cost for part in bill if part.name == DASHBOARD)
    return [
        *(Figure(what=f"AWS a month: {part.name}", value=part.cost, unit="USD", against=part.shown) for part in bill),
        Figure(
            what="AWS a month: total, 1,000 companies x 10 types x 4 refreshes a day, list prices",
            value=_total(bill) - dashboard,
            unit="USD",
            against=f"us-east-1, November 2026; the floors of all lines are {_total(floor):.2f}; "
            f"the dashboard, which is optional, adds {dashboard:.2f}",
            at_most=AT_MOST,
        ),
        Figure(
            what="AWS a month: total with the free tier, dashboard included",
            value=_with_free_tier(bill),
            unit="USD",
            against=f"the floors of all lines are {_with_free_tier(floor):.2f}",
            at_most=AT_MOST_WITH_FREE_TIER,
        ),
        Figure(
            what="AWS a month: one company and nothing to do, with the free tier",
            value=_with_free_tier(idle),
            unit="USD",
            against=f"at list prices {_total(idle) - dashboard:.2f}, the dashboard {dashboard:.2f}",
            at_most=AT_MOST_IDLE,
        ),
        *(
            Figure(
                what=f"AWS a month, a hand-written cron function with one table: {part.name}",
                value=part.cost,
                unit="USD",
                against=part.shown,
            )
            for part in other
        ),
        Figure(
            what="AWS a month, a hand-written cron function with one table: total, list prices",
            value=_total(other),
            unit="USD",
            against=f"with the free tier {_with_free_tier(other):.2f}; no history, events, alarms or webhooks",
        ),
    ]


if __name__ == "__main__":
    show("AWS a month", measure())
