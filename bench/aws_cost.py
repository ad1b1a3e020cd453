"""The charges of AWS in a month for 1,000 companies with ten data types each, refreshed four times a day.

Everything that AWS charges for is counted: also what the stack reads without a refresh, the alarms and the dashboard.
The total is also given with AWS's monthly free tier, which has no end; for a stack that has nothing to do; and for a
hand-written alternative. Prices that are not in `simulate.prices` are list prices of the same region and month.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aws_cdk import App

from bench import write_units
from bench.figures import Figure, show
from check_freshness import LIST_EVERY
from freshness.aws.item_codec import DATASETS_KEPT
from freshness.aws.metrics import Metric
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
A_SECRET, SECRET_READ, KMS_CALL = 0.40, 0.05 / 10_000, 0.03 / 10_000
A_METRIC, AN_ALARM_METRIC, A_DASHBOARD = 0.30, 0.10, 3.00
ORDINARY_METRICS = (Metric.FEEDS_UNATTENDED,)
"""The metrics that are emitted in an ordinary hour: a metric is charged for the hours in which it is emitted."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the bill: units at a price each in USD, of which `free_units` are free of charge."""

    name: str
    of: str
    units: float
    price: float
    free_units: float = 0.0

    @property
    def cost(self) -> float:
        """The cost at list price."""
        return self.units * self.price

    @property
    def free(self) -> float:
        """The part of the cost that is free of charge."""
        return min(self.units, self.free_units) * self.price


@cache
def template() -> dict[str, Any]:
    """Return the template of the stack with the settings of `deployment.toml`."""
    with TemporaryDirectory() as folder:
        app = App(outdir=folder)
        bundle = Path(folder, "bundle")
        bundle.mkdir()
        settings = Settings.from_context(app.node, ROOT / "deployment.toml")
        CodatFreshness(app, settings, bundle)
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
    listing = companies * 0.5 * (DAY / LIST_EVERY) * MONTH
    gb_stored = refreshes / MONTH * (DATASETS_KEPT / DAY) * DATASET_BYTES / 1e9
    # Webhooks that are evenly spread are the most expensive. The first of a batch waits for others.
    batches = refreshes / (1 + refreshes / (MONTH * DAY.total_seconds()) * BATCHING_WINDOW.to_seconds())
    gb_seconds = (
        QUEUE_TICKS * prices.QUEUE_TICK_GB_SECONDS
        + CHECK_TICKS * prices.CHECK_TICK_GB_SECONDS
        + refreshes * (prices.QUEUED_GB_SECONDS + prices.RECEIVED_GB_SECONDS + prices.APPLIED_GB_SECONDS)
    )
    invocations = ticks + refreshes + batches
    log_bytes = ticks * TICK_LOG_BYTES + batches * BATCH_LOG_BYTES + refreshes * ACCESS_LOG_BYTES
    secrets = len(_resources("AWS::SecretsManager::Secret"))
    dashboards = len(_resources("AWS::CloudWatch::Dashboard"))
    million_writes, million_reads = prices.DYNAMODB_WRITES, prices.DYNAMODB_READS
    in_flight = IN_FLIGHT_READ_UNITS * refreshes / MILLION
    return [
        Part("DynamoDB writes of refreshes", "1M units", writes / MILLION, million_writes),
        Part("DynamoDB writes of ticks", "1M units", prices.TICK_WRITE_UNITS * ticks / MILLION, million_writes),
        Part("DynamoDB reads of refreshes", "1M units", reads / MILLION, million_reads),
        Part("DynamoDB reads of ticks", "1M units", prices.TICK_READ_UNITS * ticks / MILLION, million_reads),
        Part("DynamoDB reads of feeds in flight", "1M units", in_flight, million_reads),
        Part("DynamoDB reads of listed companies", "1M units", listing / MILLION, million_reads),
        Part("DynamoDB reads of the fleet's rates", "1M units", 24 * MONTH / MILLION, million_reads),
        Part("DynamoDB storage", "GB", gb_stored, 0.25, free_units=25),
        Part("DynamoDB point-in-time recovery", "GB", gb_stored, 0.20),
        Part("API Gateway", "1M requests", refreshes / MILLION, prices.HTTP_API_REQUESTS),
        Part("SQS messages", "1M requests", (refreshes + 2 * batches) / MILLION, prices.SQS_REQUESTS, free_units=0.34),
        Part("SQS idle polling", "1M requests", IDLE_POLLS / MILLION, prices.SQS_REQUESTS, free_units=0.66),
        Part("Lambda time", "GB-second", gb_seconds, prices.LAMBDA_GB_SECOND, free_units=400_000),
        Part("Lambda requests", "1M", invocations / MILLION, prices.LAMBDA_REQUESTS, free_units=1),
        Part("EventBridge events", "1M", refreshes / MILLION, prices.EVENTBRIDGE_EVENTS),
        Part("EventBridge Scheduler", "1M", ticks / MILLION, prices.SCHEDULER_INVOCATIONS, free_units=14),
        Part("Secrets Manager secrets", "secret", secrets, A_SECRET),
        Part("Secrets Manager reads", "call", SECRET_READS, SECRET_READ),
        Part("KMS calls of these reads", "call", SECRET_READS, KMS_CALL, free_units=20_000),
        Part("CloudWatch logs", "GB", log_bytes / 1e9, 0.50, free_units=5),
        Part("CloudWatch metrics", "metric", len(ORDINARY_METRICS), A_METRIC, free_units=10),
        Part("CloudWatch alarms", "metric", _alarm_metrics(), AN_ALARM_METRIC, free_units=10),
        Part("CloudWatch dashboard", "dashboard", dashboards, A_DASHBOARD, free_units=3),
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


FLOOR = (
    REFRESHES
    / MILLION
    * (
        write_units.FLOOR * prices.DYNAMODB_WRITES
        + prices.HTTP_API_REQUESTS
        + prices.SQS_REQUESTS
        + prices.LAMBDA_REQUESTS
        + prices.EVENTBRIDGE_EVENTS
    )
    + 2 * A_SECRET
)
"""Two secrets, and for each refresh its writes without an index, a request to API Gateway, Lambda and SQS, an event."""


def _total(bill: list[Part]) -> float:
    return sum(part.cost for part in bill)


def _with_free_tier(bill: list[Part]) -> float:
    return sum(part.cost - part.free for part in bill)


def measure() -> list[Figure]:
    """Calculate each part, and the totals."""
    bill, idle, other = parts(), parts(refreshes=0, companies=1), alternative()
    dashboard = sum(part.cost for part in bill if part.name == "CloudWatch dashboard")
    return [
        *(
            Figure(
                what=f"AWS a month: {part.name}",
                value=part.cost,
                unit="USD",
                against=f"{part.units:,.3g} x {part.price:.2g} per {part.of}",
            )
            for part in bill
        ),
        Figure(
            what="AWS a month: total, 1,000 companies x 10 types x 4 refreshes a day, list prices",
            value=_total(bill),
            unit="USD",
            against=f"us-east-1, November 2026; refreshes alone are {FLOOR:.2f}, the dashboard {dashboard:.2f}",
            at_most=AT_MOST,
        ),
        Figure(
            what="AWS a month: total without the dashboard",
            value=_total(bill) - dashboard,
            unit="USD",
            against="`dashboard = false` in deployment.toml",
            at_most=AT_MOST,
        ),
        Figure(
            what="AWS a month: total with the free tier",
            value=_with_free_tier(bill),
            unit="USD",
            against=f"refreshes alone are {FLOOR:.2f}",
            at_most=AT_MOST_WITH_FREE_TIER,
        ),
        Figure(
            what="AWS a month: one company and nothing to do, with the free tier",
            value=_with_free_tier(idle),
            unit="USD",
            against=f"at list prices {_total(idle):.2f}",
            at_most=AT_MOST_IDLE,
        ),
        Figure(
            what="AWS a month: a hand-written cron function with one table, list prices",
            value=_total(other),
            unit="USD",
            against=f"with the free tier {_with_free_tier(other):.2f}; no history, events, alarms or webhooks",
        ),
    ]


if __name__ == "__main__":
    show("AWS a month", measure())
