"""The share of Codat's calls per minute that one tick of check_freshness uses."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from bench.figures import Figure, show
from bench.parts import codat_at, example_policy, services
from bench.tables import LocalAws, running_aws
from freshness.app.check_freshness import FreshnessCheck
from freshness.app.failures import Failures
from freshness.aws.metrics import Metric
from local.codat_sandbox.platforms import XERO
from local.codat_sandbox.sandbox import Sandbox
from local.codat_sandbox.server import RunningSandbox, running_sandbox
from local.codat_sandbox.settings import Settings

COMPANIES = 400
LATENCY = timedelta(milliseconds=100)
INSTANT = timedelta(0)


def measure() -> list[Figure]:
    """Measure a tick over companies that are all due for their first check, each of which takes two calls."""
    settings = Settings(companies=0, latency=LATENCY, sync_time_min=INSTANT, sync_time_max=INSTANT)
    with running_aws() as aws, running_sandbox(settings) as sandbox:
        sandbox.do(_add_companies)
        per_minute = asyncio.run(_calls_per_minute(aws, sandbox))
    return [
        Figure(
            what="calls a minute by one tick of check_freshness, with a latency of Codat of 100 ms",
            value=per_minute,
            unit="a minute",
            against="budget.calls_per_minute",
            floor=example_policy().budget.calls_per_minute,
            at_least=0.95,
        )
    ]


def _add_companies(sandbox: Sandbox) -> None:
    for _ in range(COMPANIES):
        sandbox.backend.add_company((XERO,), sandbox.now())


async def _calls_per_minute(aws: LocalAws, sandbox: RunningSandbox) -> float:
    tables, _ = aws.open_tables()
    made = services(tables, aws.event_bus(), example_policy(), _now, codat_at(sandbox.base_url, sandbox.api_key))
    until = _now() + timedelta(minutes=5)
    async with made.codat(until) as codat:
        check = FreshnessCheck(services=made, codat=codat, until=until, failures=Failures(made.tally))
        await check.list_companies()
        started, before = time.monotonic(), codat.calls
        await check.check_due()
        seconds = time.monotonic() - started
        calls = codat.calls - before
    if made.tally[Metric.COMPANIES_CHECKED] != COMPANIES:
        raise RuntimeError(f"expected {COMPANIES} companies to be checked, got {dict(made.tally)}")
    return 60 * calls / seconds


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    show("Pace", measure())
