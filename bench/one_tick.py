"""One tick of check_freshness in a process of its own, which prints its peak memory in bytes.

`python -m bench.one_tick CODAT_URL AWS_URL COMPANIES FEEDS DATASETS CONTROL`: the last four are names of tables.
"""

import asyncio
import sys

import boto3
import httpx

from bench.fleet import NOW
from bench.parts import UNTIL, example_policy, recorder
from bench.peak import peak_memory
from freshness.app.check_freshness import FreshnessCheck
from freshness.aws.event_bus import EventBus
from freshness.aws.tables import TableNames, Tables
from freshness.codat.client import Codat


async def run_tick(codat_url: str, aws_url: str, names: TableNames) -> None:
    """List all companies, and check those that are due."""
    session = boto3.Session("test", "test", region_name="us-east-1")
    tables = Tables.open(session.client("dynamodb", endpoint_url=aws_url), names)
    bus = EventBus(session.client("events", endpoint_url=aws_url), "default")
    async with httpx.AsyncClient(base_url=codat_url) as http:
        check = FreshnessCheck(
            tables=tables,
            codat=Codat(http, "key", clock=lambda: NOW),
            recorder=recorder(tables, bus, example_policy()),
            policy=example_policy(),
            clock=lambda: NOW,
            until=UNTIL,
        )
        await check.list_companies()
        await check.check_due()
    print(f"{dict(check.tally)}", file=sys.stderr)


if __name__ == "__main__":
    codat_url, aws_url, companies, feeds, datasets, control = sys.argv[1:]
    names = TableNames(companies=companies, feeds=feeds, datasets=datasets, control=control)
    asyncio.run(run_tick(codat_url, aws_url, names))
    print(peak_memory())
