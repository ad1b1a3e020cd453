"""The read units of a tick, which depend on how many feeds are due, and not on how many there are."""

from collections.abc import Iterator
from datetime import timedelta

import httpx

from bench import fleet
from bench.figures import Figure, Topic, show
from bench.fleet import NOW
from bench.parts import example_policy, run_refresh_tick
from bench.tables import Item, LocalAws, running_aws, write
from freshness.aws.dynamodb.item_codec import shard, sort_key
from freshness.aws.metrics import Metric
from freshness.domain.times import sortable

DUE_COMPANIES = 100
DUE = DUE_COMPANIES * len(fleet.DATA_TYPES)
FEW = 10_000
MANY = 1_000_000


def measure() -> list[Figure]:
    """Measure a tick with the same number of feeds due among few and among many."""
    with running_aws() as aws:
        few = _read_units(aws, FEW)
        many = _read_units(aws, MANY)
    return [
        Figure(
            what=f"read units of a tick with {DUE:,} feeds due among {MANY:,}",
            topic=Topic.SCALE,
            value=many,
            unit="units",
            against=f"the same feeds due among {FEW:,}",
            floor=few,
            at_most=1.05,
        )
    ]


def _read_units(aws: LocalAws, total: int) -> float:
    """Return the read units of a tick over `total` feeds, of which `DUE` are due."""
    policy = example_policy()
    names = aws.create_tables()
    tables, meter = aws.open_tables(names)
    for number in range(DUE_COMPANIES):
        company = tables.companies.put(fleet.company(number))
        for feed in fleet.due_feeds(company, policy):
            tables.feeds.put(feed)
    write(aws, names.feeds, _later(total - DUE))
    meter.take()
    codat = httpx.MockTransport(fleet.queued_response)
    measured = run_refresh_tick(tables, codat, aws.event_bus(), policy)
    if measured[Metric.REFRESHES_QUEUED] != DUE:
        raise RuntimeError(f"expected {DUE} refreshes to be queued, got {dict(measured)}")
    return meter.take().read_units


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


if __name__ == "__main__":
    show("Read units", measure())
