"""One tick of check_freshness in a process of its own, which prints the most memory that it took, in bytes.

`python -m bench.one_tick CODAT_URL AWS_URL COMPANIES FEEDS DATASETS CONTROL`, the last four being tables.
"""

import asyncio
import sys

import boto3
import httpx

from bench.fleet import NOW
from bench.parts import UNTIL, example_policy
from bench.peak import peak_memory
from freshness.app.check_freshness import Check
from freshness.aws.event_bus import Bus
from freshness.aws.store import Store, Tables
from freshness.codat.client import Codat


async def tick(codat_url: str, aws_url: str, tables: Tables) -> None:
    """List all companies, and check those that are due."""
    session = boto3.Session("test", "test", region_name="us-east-1")
    async with httpx.AsyncClient(base_url=codat_url) as http:
        check = Check(
            store=Store(session.client("dynamodb", endpoint_url=aws_url), tables),
            codat=Codat(http, "key", clock=lambda: NOW),
            bus=Bus(session.client("events", endpoint_url=aws_url), "default"),
            policy=example_policy(),
            clock=lambda: NOW,
            until=UNTIL,
        )
        await check.list_companies()
        await check.check_due()
    print(f"{dict(check.tally)}", file=sys.stderr)


if __name__ == "__main__":
    codat_url, aws_url, companies, feeds, datasets, control = sys.argv[1:]
    tables = Tables(companies=companies, feeds=feeds, datasets=datasets, control=control)
    asyncio.run(tick(codat_url, aws_url, tables))
    print(peak_memory())
