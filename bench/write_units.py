"""The units that DynamoDB charges for a refresh: for queueing it, and for applying the webhook that reports its end."""

import asyncio
from dataclasses import dataclass
from functools import cache

import httpx

from bench import fleet
from bench.figures import Figure, show
from bench.fleet import NOW
from bench.parts import example_policy, recorder, run_refresh_tick
from bench.tables import Usage, running_aws
from freshness.app.apply_webhook import WebhookApplier
from freshness.aws.metrics import Metric
from simulate import prices

COMPANIES = 20
REFRESHES = COMPANIES * len(fleet.DATA_TYPES)
WRITE_UNIT = 1024
"""The bytes that one write unit covers."""
FLOOR = 3
"""Write units of one refresh without an index: the feed when it is queued, and the feed and its dataset at the end."""


@dataclass(frozen=True, slots=True)
class Used:
    """The units of a tick that queues `REFRESHES`, of their webhooks, one each, and of the same webhooks again."""

    tick: Usage
    webhooks: Usage
    repeats: Usage
    fullest_feed: int
    """The bytes of a feed with every attribute set."""


@cache
def use() -> Used:
    """Queue refreshes and apply their webhooks in a local AWS."""
    with running_aws() as aws:
        tables, meter = aws.open_tables()
        policy, bus = example_policy(), aws.event_bus()
        companies = [fleet.company(number) for number in range(COMPANIES)]
        for company in companies:
            tables.companies.put(company)
            for feed in fleet.due_feeds(company, policy):
                tables.feeds.put(feed)
        meter.take()
        codat = httpx.MockTransport(fleet.queued_response)
        queueing = asyncio.run(run_refresh_tick(tables, codat, bus, policy))
        if queueing.tally[Metric.REFRESHES_QUEUED] != REFRESHES:
            raise RuntimeError(f"expected {REFRESHES} refreshes to be queued, got {dict(queueing.tally)}")
        tick = meter.take()
        ended_at = NOW + fleet.SYNC_TIME
        recording = recorder(tables, bus, policy, lambda: ended_at)
        applier = WebhookApplier(tables=tables, recorder=recording, clock=lambda: ended_at)
        bodies = [
            fleet.read_completed(company, data_type, ended_at)
            for company in companies
            for data_type in fleet.DATA_TYPES
        ]
        for body in bodies:
            applier.apply(body)
        webhooks = meter.take()
        for body in bodies:
            applier.apply(body)
        repeats = meter.take()
        tables.feeds.put(fleet.fullest_feed())
        return Used(tick, webhooks, repeats, meter.take().largest_item)


def measure() -> list[Figure]:
    """Measure the units of one refresh."""
    used = use()
    write_units = (used.tick.write_units + used.webhooks.write_units) / REFRESHES
    read_units = (used.tick.read_units + used.webhooks.read_units) / REFRESHES
    return [
        Figure(
            what="write units of one refresh, with its webhook and indexes",
            value=write_units,
            unit="units",
            against="the feed when queued, and the feed and its dataset at the end, without an index",
            floor=FLOOR,
            at_most=3,
        ),
        Figure(
            what="write units of one refresh, with its webhook and indexes",
            value=write_units,
            unit="units",
            against="`WRITE_UNITS` of `make simulate`",
            floor=prices.WRITE_UNITS,
            at_most=1.05,
        ),
        Figure(
            what="write units of a tick, for each refresh queued",
            value=used.tick.write_units / REFRESHES,
            unit="units",
        ),
        Figure(
            what="write units of a webhook with one read",
            value=used.webhooks.write_units / REFRESHES,
            unit="units",
            against="the feed 1, its index 2, the dataset 1",
        ),
        Figure(
            what="write units of a webhook that is delivered again",
            value=used.repeats.write_units / REFRESHES,
            unit="units",
            at_most=0,
        ),
        Figure(
            what="read units of one refresh, with its webhook",
            value=read_units,
            unit="units",
            against="`READ_UNITS` of `make simulate`",
            floor=prices.READ_UNITS,
            at_most=1.05,
        ),
        Figure(
            what="largest item written for a refresh",
            value=max(used.tick.largest_item, used.webhooks.largest_item),
            unit="bytes",
            against="a write unit covers 1,024",
            at_most=WRITE_UNIT,
        ),
        Figure(
            what="largest possible item of a feed",
            value=used.fullest_feed,
            unit="bytes",
            against="every attribute set, so that a write takes two units",
        ),
    ]


if __name__ == "__main__":
    show("Units", measure())
