"""The charges of AWS in a month for 1,000 companies with ten data types each, refreshed four times a day.

Everything that AWS charges for is counted: also what the stack reads without a refresh, the alarms, and the dashboard
with whoever looks at it. Each line says what its units are, and has a floor: what it costs with the fewest units that
keep what the stack guarantees, and why they cannot be fewer. The total is
given for a webhook for each read, which is the most expensive case, and for one for all data types of a company; also
with AWS's monthly free tier, which has no end; for a stack that has nothing to do; and for a hand-written alternative.
Prices that are not in `estimate.prices` are list prices of the same region and month.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aws_cdk import App

from bench import write_units
from bench.figures import Figure, Topic, show
from estimate import prices
from estimate.prices import MILLION
from freshness.app.checking.check_freshness import LIST_EVERY
from freshness.aws.dynamodb.item_codec import DATASETS_KEPT
from freshness.domain.feeds.feed import DAY
from infra.freshness_stack import FreshnessStack
from infra.settings import Deployment
from infra.webhook_intake import BATCHING_WINDOW
from local.settings import ROOT

MONTH = 30.4
"""Days."""
COMPANIES = 1_000
REFRESHES = COMPANIES * 10 * 4 * MONTH
QUEUE_TICKS = 24 * 60 * MONTH
CHECK_TICKS = 24 * 12 * MONTH
AT_MOST_IDLE = 1.0
"""USD."""

DATASET_BYTES = 450
"""The size of a dataset's record, with the overhead of DynamoDB for each item."""
TICK_LOG_BYTES, BATCH_LOG_BYTES, ACCESS_LOG_BYTES = 900, 500, 270
"""The log records of a tick with its metrics, of a batch of webhooks, and of a request to API Gateway."""
IN_FLIGHT_READ_UNITS = 2.0
"""Read units of one refresh in the ticks while it is in flight, and as many of its company: a feed stays due."""
SECRET_READS = 2 * 12 * 24 * MONTH + 12 * 24 * MONTH
"""Each of three functions reads its secret every five minutes."""
REQUEST_BYTES, RESPONSE_BYTES = 1000, 460
"""What leaves AWS for a refresh, and for a webhook, with the headers of HTTP and TLS."""
POLLERS, LONG_POLL = 5, 20.0
"""Lambda's pollers of a queue, and the seconds for which each waits for a message."""
WEBHOOK_GB_SECONDS, READ_GB_SECONDS = 0.07 * 0.25, 0.012 * 0.25
"""Lambda time to apply a webhook, and for each read that it reports: 25 with ten reads each take 4.7 s."""
A_SECRET, KMS_CALL = 0.40, 0.03 / 10_000
A_METRIC, AN_ALARM_METRIC = 0.30, 0.10
LOOKS = 22 * 60
"""How often the dashboard is shown in a month: on working days, every minute of an hour."""
PAGE_GB_SECONDS, PAGE_READ_UNITS = 0.5 * 0.5, 250.0
"""For the page that the dashboard shows, measured for 10,000 companies of which a hundredth are late."""
LOG_QUERIES = 0.005
"""Per GB scanned by Logs Insights."""
DASHBOARD = "CloudWatch dashboard"
TYPES = 10
"""The data types of a company. Codat sends one webhook for those that it fetched together."""
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
    floor: str = ""
    """Why there cannot be fewer."""

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
        if self.because:
            text += f": {self.because}"
        if self.floor:
            text += f". Floor {self.at_least.cost:.2f}: {self.floor}"
        return text


@cache
def template() -> dict[str, Any]:
    """Return the template of the stack with the settings of `deployment.toml`, and the dashboard."""
    with TemporaryDirectory() as folder:
        app = App(outdir=folder)
        bundle = Path(folder, "bundle")
        bundle.mkdir()
        deployment = Deployment.read(ROOT / "deployment.toml", {"dashboard": "true"})
        FreshnessStack(app, deployment, bundle)
        body: dict[str, Any] = app.synth().get_stack_by_name(deployment.name).template
    return body


def _resources(kind: str) -> list[dict[str, Any]]:
    return [each["Properties"] for each in template()["Resources"].values() if each["Type"] == kind]


def _alarm_metrics() -> int:
    """Return the number of metrics that alarms watch, each of which is charged."""
    return sum(
        sum("MetricStat" in metric for metric in alarm.get("Metrics", ())) or 1
        for alarm in _resources("AWS::CloudWatch::Alarm")
    )


def parts(refreshes: float = REFRESHES, companies: int = COMPANIES, types_in_a_webhook: int = 1) -> list[Part]:
    """Return the parts of the bill, if so many data types share a webhook.

    The Lambda time of ticks includes the wait for slots at 600 calls a minute.
    """
    used = write_units.use()
    writes = (used.tick.write_units + used.webhooks.write_units) / write_units.REFRESHES * refreshes
    reads = (used.tick.read_units + used.webhooks.read_units) / write_units.REFRESHES * refreshes
    ticks, webhooks = QUEUE_TICKS + CHECK_TICKS, refreshes / types_in_a_webhook
    # Webhooks that are evenly spread are the most expensive. The first of a batch waits for others.
    batches = webhooks / (1 + webhooks / (MONTH * DAY.total_seconds()) * BATCHING_WINDOW.to_seconds())
    gb_seconds = (
        QUEUE_TICKS * prices.QUEUE_TICK_GB_SECONDS
        + CHECK_TICKS * prices.CHECK_TICK_GB_SECONDS
        + refreshes * (prices.QUEUED_GB_SECONDS + READ_GB_SECONDS)
        + webhooks * (prices.RECEIVED_GB_SECONDS + WEBHOOK_GB_SECONDS)
    )
    log_bytes = ticks * TICK_LOG_BYTES + batches * BATCH_LOG_BYTES + webhooks * ACCESS_LOG_BYTES
    return [
        *_dynamodb(refreshes, ticks, writes, reads, companies, types_in_a_webhook),
        *_webhooks(webhooks, batches),
        Part(
            "Lambda time",
            "GB-second",
            gb_seconds,
            prices.LAMBDA_GB_SECOND,
            free_units=400_000,
            because="with 256 MB, ticks 0.5 and 2 s, 0.1 s to queue a refresh at Codat's pace, 0.11 s for its webhook",
            floor="less memory is a slower processor, and takes as many GB-seconds",
        ),
        Part(
            "Lambda requests",
            "1M",
            (ticks + webhooks + batches) / MILLION,
            prices.LAMBDA_REQUESTS,
            free_units=1,
            least=(ticks + 1.1 * webhooks) / MILLION,
            because="one to receive each webhook, one to apply a batch, and the ticks",
            floor="batches of ten",
        ),
        Part(
            "EventBridge events",
            "1M",
            refreshes / MILLION,
            prices.EVENTBRIDGE_EVENTS,
            because="an event for each refresh",
            floor="also of one that found no change: where the webhook of an earlier read by others was lost, no other "
            "event shows the change. Events are charged one by one, also those sent together",
        ),
        Part(
            "EventBridge Scheduler",
            "1M",
            ticks / MILLION,
            prices.SCHEDULER_INVOCATIONS,
            free_units=14,
            because="a tick to queue every minute, and one to check every five",
            floor="a less frequent tick would start refreshes later",
        ),
        Part(
            "KMS calls to read secrets",
            "call",
            SECRET_READS,
            KMS_CALL,
            free_units=20_000,
            because="three functions read theirs every five minutes",
            floor="a secret that was rotated must be used within minutes",
        ),
        Part(
            "data out",
            "GB",
            (refreshes * REQUEST_BYTES + webhooks * RESPONSE_BYTES) / 1e9,
            0.09,
            free_units=100,
            because="a request to Codat for each refresh, and a response to each webhook",
        ),
        Part(
            "CloudWatch logs",
            "GB",
            log_bytes / 1e9,
            0.50,
            free_units=5,
            because="a record of each tick, of each batch of webhooks, and of each request to API Gateway",
            floor="the record of a request shows who sent forged webhooks",
        ),
        Part(
            "CloudWatch alarms",
            "metric",
            _alarm_metrics(),
            AN_ALARM_METRIC,
            free_units=10,
            because="the metrics that alarms watch",
            floor="each calls for another remedy",
        ),
    ]


def dashboard() -> list[Part]:
    """Return what the dashboard adds to the bill, which `dashboard = false` leaves out."""
    log = (QUEUE_TICKS + CHECK_TICKS) / MONTH * TICK_LOG_BYTES
    widgets = _resources("AWS::CloudWatch::Dashboard")
    sources = sum(json.dumps(each["DashboardBody"]).count("SOURCE") for each in widgets)
    return [
        Part(DASHBOARD, "dashboard", len(widgets), 3.00, free_units=3, least=0, because="the graphs"),
        Part("Lambda time to show the page", "GB-second", LOOKS * PAGE_GB_SECONDS, prices.LAMBDA_GB_SECOND, LOOKS),
        Part("DynamoDB reads to show the page", "1M units", LOOKS * PAGE_READ_UNITS / MILLION, prices.DYNAMODB_READS),
        Part(
            "Logs Insights queries to show the graphs",
            "GB",
            LOOKS * sources * log / 1e9,
            LOG_QUERIES,
            because=f"the records of a day are read {sources} times; each of their numbers would cost 0.30 as a metric",
        ),
    ]


def _webhooks(webhooks: float, batches: float) -> list[Part]:
    """Return what is charged for webhooks until they are applied, apart from Lambda."""
    return [
        Part(
            "API Gateway",
            "1M requests",
            webhooks / MILLION,
            prices.HTTP_API_REQUESTS,
            because="a request for each webhook",
            floor="a function URL is free of charge, but only reserved concurrency limits how much someone can send "
            "there, of which a new account has none",
        ),
        Part(
            "SQS messages",
            "1M requests",
            (webhooks + batches) / MILLION,
            prices.SQS_REQUESTS,
            free_units=0.34,
            because="a message for each webhook, deleted in batches",
            floor="Lambda's own queue for asynchronous invocation is free of charge, but tries for hours only, and one "
            "by one",
        ),
        Part(
            "SQS polling",
            "1M requests",
            _polls(webhooks) / MILLION,
            prices.SQS_REQUESTS,
            free_units=0.66,
            because="five of Lambda's pollers, each of which waits for 20 seconds or until a message comes",
            floor="Lambda has no setting for fewer",
        ),
    ]


def _polls(webhooks: float) -> float:
    """Return how often Lambda polls the queue in a month, if webhooks are evenly spread over its pollers."""
    seconds = MONTH * DAY.total_seconds()
    rate = webhooks / seconds / POLLERS
    wait = -math.expm1(-rate * LONG_POLL) / rate if rate else LONG_POLL
    return POLLERS * seconds / wait


def _dynamodb(
    refreshes: float, ticks: float, writes: float, reads: float, companies: int, read_together: int
) -> list[Part]:
    """Return what DynamoDB charges for the units of refreshes, for ticks, and for storage.

    `read_together` is how many data types of a company are in flight together.
    """
    write, read = prices.DYNAMODB_WRITES, prices.DYNAMODB_READS
    gb_stored = refreshes / MONTH * (DATASETS_KEPT / DAY) * DATASET_BYTES / 1e9
    return [
        Part(
            "DynamoDB writes of refreshes",
            "1M units",
            writes / MILLION,
            write,
            because="the feed when queued and at the end 2, its move in the due index 2, the dataset 2",
            floor="a crash must lose neither what was queued nor what ended; a move in an index deletes and puts. With "
            "one entry for each company, ten webhooks at once would compete for one item, and where its data types "
            "are due apart, a refresh would take a unit more",
        ),
        Part(
            "DynamoDB writes of ticks",
            "1M units",
            prices.TICK_WRITE_UNITS * ticks / MILLION,
            write,
            least=2 * ticks / MILLION,
            because="a lease and what was learned",
            floor="a lease is taken and given back",
        ),
        Part(
            "DynamoDB reads of refreshes",
            "1M units",
            reads / MILLION,
            read,
            least=2 * refreshes / MILLION,
            because="the feed for the tick, and the company, the feed and the dataset for the webhook",
            floor="the feed for the tick 0.5; the company 0.5, and the feed consistently 1, for the webhook",
        ),
        Part(
            "DynamoDB reads of feeds in flight",
            "1M units",
            IN_FLIGHT_READ_UNITS * (1 + 1 / read_together) * refreshes / MILLION,
            read,
            because="a feed is due until its read has ended, four minutes or ticks, which read it and its company",
            floor="to hide it from ticks would take two write units, which cost five times as much",
        ),
        Part(
            "DynamoDB reads of ticks",
            "1M units",
            (prices.TICK_READ_UNITS * ticks + ATTAINMENT_READ_UNITS * CHECK_TICKS + 24 * MONTH) / MILLION,
            read,
            because="the due index's shards, the account's limits, the rates; the burn rate of error budgets",
            floor="each tick decides from what is so now",
        ),
        Part(
            "DynamoDB reads of listed companies",
            "1M units",
            companies * 0.5 * (DAY / LIST_EVERY) * MONTH / MILLION,
            read,
            because=f"each company every {LIST_EVERY.total_seconds() / 60:.0f} minutes",
            floor="without webhooks, a lost connection is found by the list alone",
        ),
        Part(
            "DynamoDB storage",
            "GB",
            gb_stored,
            0.25,
            free_units=25,
            because="30 days of datasets",
            floor="the history that is promised",
        ),
        Part(
            "DynamoDB point-in-time recovery",
            "GB",
            gb_stored,
            0.20,
            because="backups of the tables",
            floor="the tables are the only record of what is to be done",
        ),
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
    bill, shown, idle, other = parts(), dashboard(), parts(refreshes=0, companies=1), alternative()
    floor = [part.at_least for part in bill]
    together = parts(types_in_a_webhook=TYPES)
    return [
        *(
            Figure(what=f"AWS a month: {part.name}", value=part.cost, unit="USD", against=part.shown)
            for part in bill + shown
        ),
        Figure(
            what="AWS a month: total, 1,000 companies x 10 types x 4 refreshes a day, a webhook each, list prices",
            topic=Topic.MONEY,
            value=_total(bill),
            unit="USD",
            against=f"us-east-1, November 2026; the floors of all lines are {_total(floor):.2f}; "
            f"the dashboard, which is optional, adds {_total(shown):.2f}",
        ),
        Figure(
            what="AWS a month: total, if one webhook reports the data types of a company, list prices",
            topic=Topic.MONEY,
            value=_total(together),
            unit="USD",
            against='Codat sends `read.completed` "when the fetch of data types for a product has completed"; the goal '
            "is 10, and records of datasets while they run, which can be looked up by their ids, cost 0.76",
        ),
        Figure(
            what="AWS a month: total with the free tier, a webhook each, dashboard included",
            topic=Topic.MONEY,
            value=_with_free_tier(bill + shown),
            unit="USD",
            against=f"the floors of all lines are {_with_free_tier(floor):.2f}: it has no requests to API Gateway, no "
            "events, and of DynamoDB only provisioned units, 25 a second, which a tick with much to do exceeds",
        ),
        Figure(
            what="AWS a month: total with the free tier, if one webhook reports the data types of a company",
            value=_with_free_tier(together + shown),
            unit="USD",
            against=f"the floors of all lines are {_with_free_tier(part.at_least for part in together):.2f}",
        ),
        Figure(
            what="AWS a month: one company and nothing to do, with the free tier",
            topic=Topic.MONEY,
            value=_with_free_tier(idle + shown[:1]),
            unit="USD",
            against=f"at list prices {_total(idle):.2f}, the dashboard {shown[0].cost:.2f}",
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
            topic=Topic.MONEY,
            value=_total(other),
            unit="USD",
            against=f"with the free tier {_with_free_tier(other):.2f}; no history, events, alarms or webhooks",
        ),
    ]


if __name__ == "__main__":
    show("AWS a month", measure())
