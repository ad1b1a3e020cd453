"""The units that DynamoDB charges: for a refresh, and for a tick among few and among many feeds.

A refresh is queued by a tick, and its end is reported by a webhook.
"""

from collections.abc import Iterator
from datetime import timedelta

import httpx

from bench import fleet
from bench.figures import Figure, Topic, show
from bench.fleet import NOW
from bench.parts import example_policy, run_refresh_tick, services
from bench.tables import Item, LocalAws, Meter, Usage, running_aws, write
from estimate import prices
from freshness.app.webhooks import WebhookApplier
from freshness.aws.dynamodb.item_codec import shard, sort_key
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.metrics import Metric
from freshness.domain.times import sortable

DUE_COMPANIES = 40
DUE = DUE_COMPANIES * len(fleet.DATA_TYPES)
REPORTED = 200
"""The refreshes whose webhooks are applied."""
FEW, MANY = 10_000, 100_000
WRITE_UNIT = 1024
"""The bytes that one write unit covers."""
FLOOR = 4
"""Write units of one refresh without an index: the feed and its dataset, when it is queued and at the end."""


def measure() -> list[Figure]:
    """Measure a tick with the same feeds due among few and among many, and then the webhooks of its refreshes."""
    with running_aws() as aws:
        _, _, few = _tick(aws, FEW)
        tables, meter, tick = _tick(aws, MANY)
        _apply_webhooks(aws, tables)
        webhooks = meter.take()
    write_units = tick.write_units / DUE + webhooks.write_units / REPORTED
    return [
        Figure(
            what="write units of one refresh, with its webhook and indexes",
            value=write_units,
            unit="units",
            against="the feed and its dataset, when queued and at the end, without an index",
            floor=FLOOR,
            at_most=3,
        ),
        Figure(
            what="write units of one refresh, with its webhook and indexes",
            value=write_units,
            unit="units",
            against="`WRITE_UNITS` of the bill",
            floor=prices.WRITE_UNITS,
            at_most=1.05,
        ),
        Figure(
            what="read units of one refresh, with its webhook",
            value=tick.read_units / DUE + webhooks.read_units / REPORTED,
            unit="units",
            against="`READ_UNITS` of the bill",
            floor=prices.READ_UNITS,
            at_most=1.05,
        ),
        Figure(
            what="largest item written for a refresh",
            value=max(tick.largest_item, webhooks.largest_item),
            unit="bytes",
            against="a write unit covers 1,024",
            at_most=WRITE_UNIT,
        ),
        Figure(
            what=f"read units of a tick with {DUE:,} feeds due among {MANY:,}",
            topic=Topic.SCALE,
            value=tick.read_units,
            unit="units",
            against=f"the same feeds due among {FEW:,}",
            floor=few.read_units,
            at_most=1.05,
        ),
    ]


def _tick(aws: LocalAws, total: int) -> tuple[Tables, Meter, Usage]:
    """Run a tick over `total` feeds. `DUE` of them are due. Return the tables, their meter, and what the tick used."""
    policy = example_policy()
    names = aws.create_tables()
    tables, meter = aws.open_tables(names)
    for number in range(DUE_COMPANIES):
        company = tables.companies.put(fleet.company(number))
        for feed in fleet.due_feeds(company, policy):
            tables.feeds.put(feed)
    write(aws, names.feeds, _later(total - DUE))
    meter.take()
    measured = run_refresh_tick(tables, httpx.MockTransport(fleet.queued_response), aws.event_bus(), policy)
    if measured[Metric.REFRESHES_QUEUED] != DUE:
        raise RuntimeError(f"expected {DUE} refreshes to be queued, got {dict(measured)}")
    return tables, meter, meter.take()


def _later(count: int) -> Iterator[Item]:
    """Yield the items of feeds that are due later, with their keys only."""
    for number in range(count):
        company_id = fleet.company_id(DUE_COMPANIES + number // len(fleet.DATA_TYPES))
        data_type = fleet.DATA_TYPES[number % len(fleet.DATA_TYPES)]
        yield {
            "company_id": {"S": company_id},
            "feed": {"S": sort_key(data_type, company_id)},
            "shard": {"S": shard(company_id)},
            "due_at": {"S": sortable(NOW + timedelta(seconds=1 + number))},
        }


def _apply_webhooks(aws: LocalAws, tables: Tables) -> None:
    """Apply the webhooks of refreshes that the tick queued."""
    ended_at = NOW + fleet.SYNC_TIME
    recorder = services(tables, aws.event_bus(), example_policy(), lambda: ended_at).recorder
    applier = WebhookApplier(tables=tables, recorder=recorder, clock=lambda: ended_at)
    for number in range(REPORTED // len(fleet.DATA_TYPES)):
        for data_type in fleet.DATA_TYPES:
            applier.record(applier.parse(fleet.read_completed(fleet.company(number), data_type, ended_at)))


if __name__ == "__main__":
    show("Units", measure())
