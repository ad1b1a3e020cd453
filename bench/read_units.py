"""What a tick reads: as much as is due, however much is not."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import httpx

from bench import fleet
from bench.figures import Figure, show
from bench.fleet import NOW
from bench.parts import example_policy, queue_due
from bench.tables import Item, LocalAws, running_aws, write
from freshness.aws.metrics import Metric
from freshness.aws.store import shard, sort_key
from freshness.domain.times import sortable

DUE_COMPANIES = 100
DUE = DUE_COMPANIES * len(fleet.DATA_TYPES)
FEW = 10_000
MANY = 1_000_000


def measure() -> list[Figure]:
    """A tick with the same feeds due among few and among many."""
    with running_aws() as aws:
        few = _read_units(aws, FEW)
        many = _read_units(aws, MANY)
    return [
        Figure(
            what=f"read units of a tick with {DUE:,} feeds due among {MANY:,}",
            value=many,
            unit="units",
            against=f"the same feeds due among {FEW:,}",
            floor=few,
            at_most=1.05,
        )
    ]


def _read_units(aws: LocalAws, total: int) -> float:
    """The read units of a tick over `total` feeds, of which `DUE` are due."""
    policy = example_policy()
    names = aws.tables()
    store, meter = aws.store(names)
    for number in range(DUE_COMPANIES):
        company = store.change_company(fleet.company(number), lambda company: company)
        for feed in fleet.due_feeds(company, policy):
            store.change_feed(feed, lambda feed: feed)
    write(aws, names.feeds, _later(total - DUE))
    meter.take()
    refresh = asyncio.run(queue_due(store, httpx.MockTransport(fleet.queues_anything), aws.bus(), policy))
    if refresh.tally[Metric.REFRESHES_QUEUED] != DUE:
        raise RuntimeError(f"expected {DUE} refreshes to be queued, but: {dict(refresh.tally)}")
    return meter.take().read_units


def _later(count: int) -> Iterator[Item]:
    """Feeds that are due later, with their keys alone."""
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
