"""What AWS charges in a month for a fleet: everything but the dashboard, which is optional.

Each part says what its units are, and has a floor: what it costs with the fewest units that keep what the stack
guarantees, and why they cannot be fewer. A webhook for each read is the most expensive case, and is assumed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from estimate import prices
from estimate.prices import MILLION, Price
from freshness.app.checking.check_freshness import LIST_EVERY
from freshness.aws.dynamodb.item_codec import DATASETS_KEPT
from freshness.domain.feeds.feed import DAY

DAYS_A_MONTH = 30.4
QUEUE_TICKS = 24 * 60 * DAYS_A_MONTH
CHECK_TICKS = 24 * 12 * DAYS_A_MONTH

DATASET_BYTES = 450
"""The size of a dataset's record, with the overhead of DynamoDB for each item."""
TICK_LOG_BYTES, BATCH_LOG_BYTES, ACCESS_LOG_BYTES = 900, 500, 230
"""The bytes logged by a tick with its metrics, by a batch of webhooks, and by a request to API Gateway."""
IN_FLIGHT_READ_UNITS = 0.2
"""Read units that ticks spend on a feed in flight. They spend as many on its company, for all its feeds together."""
SECRET_READS = 2 * 12 * 24 * DAYS_A_MONTH + 12 * 24 * DAYS_A_MONTH
"""Each of three functions reads its secret every five minutes."""
REQUEST_BYTES, RESPONSE_BYTES = 1000, 460
"""The bytes that leave AWS for a refresh, and for a webhook, with the headers of HTTP and TLS."""
POLLERS, LONG_POLL = 5, 20.0
"""Lambda's pollers of a queue, and the seconds for which each waits for a message."""
BATCHING_SECONDS = 15
"""How long the first webhook of a batch waits for others, as in the template."""
WEBHOOK_GB_SECONDS, READ_GB_SECONDS = 0.07 * 0.25, 0.012 * 0.25
"""Lambda time to apply a webhook, and for each read that it reports: 25 with ten reads each take 4.7 s."""
ALARM_METRICS = 14
"""How many metrics the template's alarms watch."""
ATTAINMENT_READ_UNITS = 40.0
"""Read units of a check tick for the burn rate: the records of up to 73 hours, and the index of broken promises."""


@dataclass(frozen=True, slots=True)
class Part:
    """A line of the bill: a number of units, and the price of one."""

    name: str
    units: float
    price: Price
    least: float | None = None
    """The fewest units that keep the guarantees; `None` if that is `units`."""
    because: str = ""
    """What the units are."""
    floor: str = ""
    """Why fewer units cannot keep the guarantees."""

    @property
    def cost(self) -> float:
        return self.units * self.price.usd

    @property
    def with_free_tier(self) -> float:
        """Return the cost of the units that are not free of charge."""
        return max(0.0, self.units - self.price.free) * self.price.usd

    @property
    def at_least(self) -> "Part":
        """Return the part with the fewest units that keep the guarantees."""
        return self if self.least is None else replace(self, units=self.least)

    @property
    def shown(self) -> str:
        """Return the units, their price, what they are, and the floor with its reason, as text."""
        text = f"{self.units:,.3g} x {self.price.usd:.2g} per {self.price.of}"
        if self.because:
            text += f": {self.because}"
        if self.floor:
            text += f". Floor {self.at_least.cost:.2f}: {self.floor}"
        return text


def parts(refreshes: float, companies: int, types_in_a_webhook: int = 1) -> list[Part]:
    """Return the lines of the bill for a month. Each webhook reports the ends of `types_in_a_webhook` refreshes.

    The Lambda time of ticks includes the wait for slots at 600 calls a minute.
    """
    ticks, webhooks = QUEUE_TICKS + CHECK_TICKS, refreshes / types_in_a_webhook
    # Webhooks that are evenly spread are the most expensive. The first of a batch waits for others.
    batches = webhooks / (1 + webhooks / (DAYS_A_MONTH * DAY.total_seconds()) * BATCHING_SECONDS)
    gb_seconds = (
        QUEUE_TICKS * prices.QUEUE_TICK_GB_SECONDS
        + CHECK_TICKS * prices.CHECK_TICK_GB_SECONDS
        + refreshes * (prices.QUEUED_GB_SECONDS + READ_GB_SECONDS)
        + webhooks * (prices.RECEIVED_GB_SECONDS + WEBHOOK_GB_SECONDS)
    )
    return [
        *_dynamodb(refreshes, ticks, companies, types_in_a_webhook),
        *_webhooks(webhooks, batches),
        Part(
            "Lambda time",
            gb_seconds,
            prices.LAMBDA_GB_SECOND,
            because="with 256 MB, ticks 0.5 and 2 s, 0.1 s to queue a refresh at Codat's pace, 0.11 s for its webhook",
            floor="less memory is a slower processor, and takes as many GB-seconds",
        ),
        Part(
            "Lambda requests",
            (ticks + webhooks + batches) / MILLION,
            prices.LAMBDA_REQUESTS,
            least=(ticks + 1.1 * webhooks) / MILLION,
            because="one to receive each webhook, one to apply a batch, and the ticks",
            floor="batches of ten",
        ),
        Part(
            "EventBridge events",
            refreshes / MILLION,
            prices.EVENTBRIDGE_EVENTS,
            because="an event for each refresh",
            floor="also of one that found no change: where the webhook of an earlier read by others was lost, no other "
            "event shows the change. Events are charged one by one, also those sent together",
        ),
        Part(
            "EventBridge Scheduler",
            ticks / MILLION,
            prices.SCHEDULER_INVOCATIONS,
            because="a tick to queue every minute, and one to check every five",
            floor="a less frequent tick would start refreshes later",
        ),
        Part(
            "KMS calls to read secrets",
            SECRET_READS,
            prices.KMS_CALL,
            because="three functions read theirs every five minutes",
            floor="a secret that was rotated must be used within minutes",
        ),
        Part(
            "data out",
            (refreshes * REQUEST_BYTES + webhooks * RESPONSE_BYTES) / 1e9,
            prices.DATA_OUT,
            because="a request to Codat for each refresh, and a response to each webhook",
        ),
        Part(
            "CloudWatch logs",
            (ticks * TICK_LOG_BYTES + batches * BATCH_LOG_BYTES) / 1e9,
            prices.LOGS,
            because="a record of each tick, and of each batch of webhooks",
        ),
        Part(
            "CloudWatch logs of requests",
            webhooks * ACCESS_LOG_BYTES / 1e9,
            prices.ACCESS_LOGS,
            because="a record of each request to API Gateway, in the class for infrequent access",
            floor="it shows who sent forged webhooks",
        ),
        Part(
            "CloudWatch alarms",
            ALARM_METRICS,
            prices.ALARM_METRIC,
            because="the metrics that alarms watch",
            floor="each calls for another remedy",
        ),
    ]


def usd_a_month(refreshes_a_day: float, companies: int) -> float:
    return total(parts(DAYS_A_MONTH * refreshes_a_day, companies))


def total(bill: Iterable[Part]) -> float:
    return sum(part.cost for part in bill)


def with_free_tier(bill: Iterable[Part]) -> float:
    """Return what the parts cost beyond AWS's monthly free tier, which does not expire."""
    return sum(part.with_free_tier for part in bill)


def _webhooks(webhooks: float, batches: float) -> list[Part]:
    """Return the parts for webhooks until they are applied, apart from Lambda."""
    return [
        Part(
            "API Gateway",
            webhooks / MILLION,
            prices.HTTP_API_REQUESTS,
            because="a request for each webhook",
            floor="a function URL is free of charge, but has no throttle except reserved concurrency, and a new "
            "account cannot reserve any",
        ),
        Part(
            "SQS messages",
            (webhooks + batches) / MILLION,
            prices.SQS_MESSAGES,
            because="a message for each webhook, deleted in batches",
            floor="Lambda's own queue for asynchronous invocation is free of charge, but tries for hours only, and one "
            "by one",
        ),
        Part(
            "SQS polling",
            _polls(webhooks) / MILLION,
            prices.SQS_POLLS,
            because="Lambda has five pollers. Each waits up to 20 seconds for a message",
            floor="Lambda has no setting for fewer",
        ),
    ]


def _polls(webhooks: float) -> float:
    """Return how often Lambda polls the queue in a month, if webhooks are evenly spread over its pollers."""
    seconds = DAYS_A_MONTH * DAY.total_seconds()
    rate = webhooks / seconds / POLLERS
    wait = -math.expm1(-rate * LONG_POLL) / rate if rate else LONG_POLL
    return POLLERS * seconds / wait


def _dynamodb(refreshes: float, ticks: float, companies: int, read_together: int) -> list[Part]:
    """Return the parts of DynamoDB: units of refreshes and ticks, storage, and backups.

    `read_together` is how many data types of a company are in flight together.
    """
    gb_stored = refreshes / DAYS_A_MONTH * (DATASETS_KEPT / DAY) * DATASET_BYTES / 1e9
    return [
        Part(
            "DynamoDB writes of refreshes",
            prices.WRITE_UNITS * refreshes / MILLION,
            prices.DYNAMODB_WRITES,
            because="the feed when queued and at the end 2, its move in the due index 2, the dataset 2",
            floor="a crash must lose neither what was queued nor what ended; a move in an index deletes and puts. With "
            "one entry for each company, ten webhooks at once would compete for one item, and where its data types "
            "are due apart, a refresh would take a unit more",
        ),
        Part(
            "DynamoDB writes of ticks",
            prices.TICK_WRITE_UNITS * ticks / MILLION,
            prices.DYNAMODB_WRITES,
            least=2 * ticks / MILLION,
            because="a lease and what was learned",
            floor="a lease is taken and given back",
        ),
        Part(
            "DynamoDB reads of refreshes",
            prices.READ_UNITS * refreshes / MILLION,
            prices.DYNAMODB_READS,
            least=2 * refreshes / MILLION,
            because="the feed for the tick, and the company, the feed and the dataset for the webhook",
            floor="the feed for the tick 0.5; the company 0.5, and the feed consistently 1, for the webhook",
        ),
        Part(
            "DynamoDB reads of feeds in flight",
            IN_FLIGHT_READ_UNITS * (1 + 1 / read_together) * refreshes / MILLION,
            prices.DYNAMODB_READS,
            because="a feed is due until its read has ended; ticks remember it, and read it and its company again "
            "after five minutes, or when the read is late or the promise breaks",
            floor="others may have changed it",
        ),
        Part(
            "DynamoDB reads of ticks",
            (prices.TICK_READ_UNITS * ticks + ATTAINMENT_READ_UNITS * CHECK_TICKS + 24 * DAYS_A_MONTH) / MILLION,
            prices.DYNAMODB_READS,
            because="the due index's shards, the account's limits, the rates; the burn rate of error budgets",
            floor="each tick decides from what is so now",
        ),
        Part(
            "DynamoDB reads of listed companies",
            companies * 0.5 * (DAY / LIST_EVERY) * DAYS_A_MONTH / MILLION,
            prices.DYNAMODB_READS,
            because=f"each company every {LIST_EVERY.total_seconds() / 60:.0f} minutes",
            floor="without webhooks, a lost connection is found by the list alone",
        ),
        Part(
            "DynamoDB storage",
            gb_stored,
            prices.DYNAMODB_STORAGE,
            because="30 days of datasets",
            floor="the history that is promised",
        ),
        Part(
            "DynamoDB point-in-time recovery",
            gb_stored,
            prices.DYNAMODB_BACKUPS,
            because="backups of the tables",
            floor="only the tables record what is due",
        ),
    ]
