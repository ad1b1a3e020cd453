"""One tick of check_freshness in a process of its own, which prints its peak memory in bytes.

`python -m bench.one_tick CODAT_URL AWS_URL COMPANIES FEEDS DATASETS CONTROL`: the last four are names of tables.
"""

import asyncio
import sys

import boto3

from bench.figures import without_logs
from bench.parts import TIMEOUT, codat_at, example_policy, services
from bench.peak import peak_memory
from freshness.app.checking.check_freshness import check_freshness
from freshness.app.tick import run_tick as run_under_lease
from freshness.aws.dynamodb.tables import TableNames, Tables
from freshness.aws.event_bus import EventBus


async def run_tick(codat_url: str, aws_url: str, names: TableNames) -> None:
    """Run one tick of check_freshness, and print what it counted."""
    session = boto3.Session("test", "test", region_name="us-east-1")
    tables = Tables.open(session.client("dynamodb", endpoint_url=aws_url), names)
    bus = EventBus(session.client("events", endpoint_url=aws_url), "default")
    made = services(tables, bus, example_policy(), codat=codat_at(codat_url))
    await run_under_lease(made, check_freshness, "bench", TIMEOUT)
    print(f"{dict(made.counts)}", file=sys.stderr)


if __name__ == "__main__":
    codat_url, aws_url, companies, feeds, datasets, control = sys.argv[1:]
    names = TableNames(companies=companies, feeds=feeds, datasets=datasets, control=control)
    with without_logs():
        asyncio.run(run_tick(codat_url, aws_url, names))
    print(peak_memory())
