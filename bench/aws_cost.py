"""The charges of AWS in a month for 1,000 companies with ten data types each, refreshed four times a day.

The total is also given without the monthly free tier, which has no end. Prices that are not in `simulate.prices` are
list prices of the same region and month.
"""

from dataclasses import dataclass

from bench import write_units
from bench.figures import Figure, show
from freshness.aws.item_codec import DATASETS_KEPT
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
"""USD."""

DATASET_BYTES = 600
"""The size of a dataset's record, with the overhead of DynamoDB for each item, rounded up."""
GB_STORED = REFRESHES / MONTH * (DATASETS_KEPT / DAY) * DATASET_BYTES / 1e9
BATCHES = REFRESHES / (1 + REFRESHES / (MONTH * DAY.total_seconds()) * BATCHING_WINDOW.to_seconds())
"""Invocations of apply_webhook if webhooks are evenly spread, which is the most expensive case. The first webhook of
a batch waits for others."""

SECRETS, A_SECRET = 2, 0.40
ALARMS = 22
METRICS = (
    # queue_refreshes
    "Ticks CodatCalls QuotaLeft FeedsStale FeedsRefreshing FeedsFailing FeedsUnattended "
    "OldestAgeAgainstPromise RefreshesQueued "
    # check_freshness
    "Ticks CodatCalls CompaniesChecked "
    # apply_webhook
    "WebhooksApplied ReadsCompleted"
).split()
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


def parts() -> list[Part]:
    """Return the parts of the bill. The Lambda time of ticks includes the wait for slots at 600 calls a minute."""
    used = write_units.use()
    writes = (used.tick.write_units + used.webhooks.write_units) / write_units.REFRESHES * REFRESHES
    reads = (used.tick.read_units + used.webhooks.read_units) / write_units.REFRESHES * REFRESHES
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
            "SQS, including idle polling",
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
"""Two secrets, and for each refresh its writes without an index, a request to API Gateway, Lambda and SQS, an event."""


def measure() -> list[Figure]:
    """Calculate each part, and the total."""
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
            what="AWS a month: total, 1,000 companies x 10 types x 4 refreshes a day, list prices",
            value=total,
            unit="USD",
            against=f"us-east-1, November 2026; refreshes alone are {FLOOR:.2f}, alarms and dashboard {watched:.2f}",
            at_most=AT_MOST,
        ),
        Figure(
            what="AWS a month: total without the free tier",
            value=total - free,
            unit="USD",
            against=f"refreshes alone are {FLOOR:.2f}",
            at_most=AT_MOST,
        ),
    ]


if __name__ == "__main__":
    show("AWS a month", measure())
