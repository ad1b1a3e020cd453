"""What a month costs at AWS: 1,000 companies, ten data types each, four refreshes of each a day.

What AWS gives free of charge each month, to old accounts too, is taken off in a line of its own. Prices that are not in
`simulate.prices` are of the same kind and time.
"""

from dataclasses import dataclass

from bench import write_units
from bench.figures import Figure, show
from freshness.aws.store import DATASETS_KEPT
from freshness.domain.feed import DAY
from infra.webhook_intake import BATCHING_WINDOW
from simulate import prices
from simulate.prices import MILLION

MONTH = 30.4
"""Days."""
REFRESHES = 1_000 * 10 * 4 * MONTH
QUEUE_TICKS = 24 * 60 * MONTH
CHECK_TICKS = 24 * 12 * MONTH
AT_MOST = 10.0

DATASET_BYTES = 600
"""A dataset with what DynamoDB adds to each item, rounded up."""
GB_STORED = REFRESHES / MONTH * (DATASETS_KEPT / DAY) * DATASET_BYTES / 1e9
BATCHES = REFRESHES / (1 + REFRESHES / (MONTH * DAY.total_seconds()) * BATCHING_WINDOW.to_seconds())
"""Of webhooks that come evenly spread, the dearest case: the first of a batch waits for others."""

SECRETS, A_SECRET = 2, 0.40
ALARMS = 22
METRICS = (
    # queue_refreshes
    "Ticks CodatCalls QuotaLeft RowsStale RowsRefreshing RowsFailing RowsToWarnOf RowsUnattended "
    "OldestAgeAgainstPromise RefreshesQueued "
    # check_freshness
    "Ticks CodatCalls CompaniesChecked "
    # apply_webhook
    "WebhooksApplied ReadsCompleted"
).split()
"""Those that are told in an ordinary hour: a metric is paid for by the hours in which it is told."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the bill: so many units at a price each, and how much of it AWS gives free of charge."""

    name: str
    of: str
    units: float
    price: float
    free_units: float = 0.0

    @property
    def cost(self) -> float:
        """At list price."""
        return self.units * self.price

    @property
    def free(self) -> float:
        """What of the cost falls away."""
        return min(self.units, self.free_units) * self.price


def parts() -> list[Part]:
    """The whole bill. Of Lambda's seconds, those of ticks are what pacing takes at 600 calls a minute, and start-up."""
    used = write_units.use()
    writes = (used.tick.write_units + used.messages.write_units) / write_units.REFRESHES * REFRESHES
    reads = (used.tick.read_units + used.messages.read_units) / write_units.REFRESHES * REFRESHES
    ticks = QUEUE_TICKS + CHECK_TICKS
    tick_writes, tick_reads = prices.TICK_WRITE_UNITS * ticks, prices.TICK_READ_UNITS * ticks
    gb_seconds = {
        "queue_refreshes": QUEUE_TICKS * prices.QUEUE_TICK_GB_SECONDS + REFRESHES * prices.QUEUED_GB_SECONDS,
        "check_freshness": CHECK_TICKS * prices.CHECK_TICK_GB_SECONDS,
        "receive_webhook": REFRESHES * prices.RECEIVED_GB_SECONDS,
        "apply_webhook": REFRESHES * prices.APPLIED_GB_SECONDS,
    }
    invocations = ticks + REFRESHES + BATCHES
    polls = 5 * 3 * 60 * 24 * MONTH
    log_bytes = invocations * 500 + REFRESHES * 250
    return [
        Part("DynamoDB writes", "1M units", (writes + tick_writes) / MILLION, prices.DYNAMODB_WRITES),
        Part("DynamoDB reads", "1M units", (reads + tick_reads) / MILLION, prices.DYNAMODB_READS),
        Part("DynamoDB storage", "GB", GB_STORED, 0.25, free_units=25),
        Part("DynamoDB point-in-time recovery", "GB", GB_STORED, 0.20),
        Part("API Gateway", "1M requests", REFRESHES / MILLION, prices.HTTP_API_REQUESTS),
        Part(
            "SQS, idle polling included",
            "1M requests",
            (REFRESHES + 2 * BATCHES + polls) / MILLION,
            prices.SQS_REQUESTS,
            free_units=1,
        ),
        Part("Lambda time", "GB-second", sum(gb_seconds.values()), prices.LAMBDA_GB_SECOND, free_units=400_000),
        Part("Lambda requests", "1M", invocations / MILLION, prices.LAMBDA_REQUESTS, free_units=1),
        Part("EventBridge events", "1M", REFRESHES / MILLION, prices.EVENTBRIDGE_EVENTS),
        Part(
            "EventBridge Scheduler",
            "1M",
            ticks / MILLION,
            prices.SCHEDULER_INVOCATIONS,
            free_units=14,
        ),
        Part("Secrets Manager", "secret", SECRETS, A_SECRET),
        Part("CloudWatch logs", "GB", log_bytes / 1e9, 0.50, free_units=5),
        Part("CloudWatch metrics", "metric", len(METRICS), 0.30, free_units=10),
        Part("CloudWatch alarms", "alarm", ALARMS, 0.10, free_units=10),
        Part("CloudWatch dashboard", "dashboard", 1, 3.00, free_units=3),
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
    + SECRETS * A_SECRET
)
"""Two secrets; for each refresh four bare writes, a request each to API Gateway, Lambda and SQS, and an event."""


def measure() -> list[Figure]:
    """Each part, and all of it."""
    bill = parts()
    total, free = sum(part.cost for part in bill), sum(part.free for part in bill)
    watched = sum(part.cost for part in bill if part.name in ("CloudWatch alarms", "CloudWatch dashboard"))
    return [
        *(
            Figure(
                what=f"AWS a month: {part.name}",
                value=part.cost,
                unit="USD",
                against=f"{part.units:,.3g} x {part.price:g} per {part.of}",
            )
            for part in bill
        ),
        Figure(
            what="AWS a month: all of it, 1,000 companies x 10 types x 4 refreshes a day, list prices",
            value=total,
            unit="USD",
            against=f"us-east-1, November 2026; bare refreshes are {FLOOR:.2f}, alarms and dashboard {watched:.2f}",
            at_most=AT_MOST,
        ),
        Figure(
            what="the same, less what AWS gives free of charge each month",
            value=total - free,
            unit="USD",
            against=f"bare refreshes are {FLOOR:.2f}",
            at_most=AT_MOST,
        ),
    ]


if __name__ == "__main__":
    show("AWS a month", measure())
