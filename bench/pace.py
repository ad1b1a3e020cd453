"""How much of the calls that Codat allows in a minute one tick of check_freshness makes use of."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import httpx

from bench.figures import Figure, show
from bench.parts import example_policy
from bench.tables import LocalAws, running_aws
from freshness.app.check_freshness import Check
from freshness.aws.metrics import Metric
from freshness.codat.client import Codat
from freshness.codat.rate_limiter import RateLimiter
from local.codat_sandbox.platforms import XERO
from local.codat_sandbox.sandbox import Sandbox
from local.codat_sandbox.server import RunningSandbox, running_sandbox
from local.codat_sandbox.settings import Settings

COMPANIES = 400
LATENCY = timedelta(milliseconds=100)
INSTANT = timedelta(0)


def measure() -> list[Figure]:
    """A tick over companies that all are due for a check, each of which takes one call."""
    settings = Settings(companies=0, latency=LATENCY, sync_time_min=INSTANT, sync_time_max=INSTANT)
    with running_aws() as aws, running_sandbox(settings) as sandbox:
        sandbox.do(_add_companies)
        a_minute = asyncio.run(_companies_a_minute(aws, sandbox))
    return [
        Figure(
            what="companies checked a minute by one tick, Codat answering in 100 ms",
            value=a_minute,
            unit="a minute",
            against="budget.calls_per_minute",
            floor=example_policy().budget.calls_per_minute,
            at_least=0.95,
        )
    ]


def _add_companies(sandbox: Sandbox) -> None:
    for _ in range(COMPANIES):
        sandbox.backend.add_company((XERO,), sandbox.now())


async def _companies_a_minute(aws: LocalAws, sandbox: RunningSandbox) -> float:
    store, _ = aws.store()
    policy, until = example_policy(), _now() + timedelta(minutes=5)
    pace = RateLimiter(store, clock=_now, until=until, calls_per_minute=policy.budget.calls_per_minute)
    async with httpx.AsyncClient(base_url=sandbox.base_url) as http:
        codat = Codat(http, sandbox.api_key, clock=_now, pace=pace)
        check = Check(store=store, codat=codat, bus=aws.bus(), policy=policy, clock=_now, until=until)
        await check.list_companies()
        started = time.monotonic()
        await check.check_due()
        seconds = time.monotonic() - started
        await pace.finish()
    if check.tally[Metric.COMPANIES_CHECKED] != COMPANIES:
        raise RuntimeError(f"expected {COMPANIES} companies to be checked, but: {dict(check.tally)}")
    return 60 * COMPANIES / seconds


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    show("Pace", measure())
