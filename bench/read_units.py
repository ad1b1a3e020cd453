"""What a tick reads: as much as is due, however much is not."""

import asyncio
import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

import httpx

from bench import fleet
from bench.figures import Figure, show
from bench.fleet import NOW
from bench.parts import example_policy, queue_due
from bench.tables import LocalAws, running_aws
from freshness.metrics import Metric
from freshness.store import feed, shard
from freshness.times import sortable

DUE_COMPANIES = 100
DUE = DUE_COMPANIES * len(fleet.DATA_TYPES)
FEW = 10_000
MANY = 1_000_000
BATCH = 25
"""The most items that one BatchWriteItem takes."""


def measure() -> list[Figure]:
    """A tick with the same rows due among few and among many."""
    with running_aws() as aws:
        few = _read_units(aws, FEW)
        many = _read_units(aws, MANY)
    return [
        Figure(
            what=f"read units of a tick with {DUE:,} rows due among {MANY:,}",
            value=many,
            unit="units",
            against=f"the same rows due among {FEW:,}",
            floor=few,
            at_most=1.05,
        )
    ]


def _read_units(aws: LocalAws, total: int) -> float:
    """The read units of a tick over `total` rows, of which `DUE` are due."""
    policy = example_policy()
    names = aws.tables()
    store, meter = aws.store(names)
    for number in range(DUE_COMPANIES):
        company = store.change_company(fleet.company(number), lambda company: company)
        for row in fleet.rows(company, policy, NOW - timedelta(days=8)):
            store.change_row(row, lambda row: row)
    load(aws, names.freshness, total - DUE)
    meter.take()
    refresh = asyncio.run(queue_due(store, httpx.MockTransport(fleet.queues_anything), policy))
    if refresh.tally[Metric.REFRESHES_QUEUED] != DUE:
        raise RuntimeError(f"expected {DUE} refreshes to be queued, but: {dict(refresh.tally)}")
    return meter.take().read_units


def load(aws: LocalAws, table: str, count: int) -> None:
    """Fill a table with rows that are due later. They are bare, and sent unsigned: boto3 would take much longer."""
    print(f"Writing {count:,} rows to a local AWS ...", file=sys.stderr, flush=True)
    headers = {
        "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
        "Content-Type": "application/x-amz-json-1.0",
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/dynamodb/aws4_request",
    }
    with httpx.Client(base_url=aws.url, headers=headers) as http:
        later = _later(count)
        while puts := [{"PutRequest": {"Item": item}} for item in islice(later, BATCH)]:
            answer = http.post("/", content=json.dumps({"RequestItems": {table: puts}})).raise_for_status().json()
            if answer["UnprocessedItems"]:
                raise RuntimeError("the local AWS left rows unwritten, which it should never do")


def _later(count: int) -> Iterator[dict[str, dict[str, str]]]:
    for number in range(count):
        company_id = fleet.company_id(DUE_COMPANIES + number // len(fleet.DATA_TYPES))
        data_type = fleet.DATA_TYPES[number % len(fleet.DATA_TYPES)]
        yield {
            "company_id": {"S": company_id},
            "feed": {"S": feed(data_type, company_id)},
            "shard": {"S": shard(company_id)},
            "due_at": {"S": sortable(NOW + timedelta(seconds=1 + number))},
        }


if __name__ == "__main__":
    show("Read units", measure())
