"""Services for tests: real use cases over given tables, with a bus that records and a Codat of the test's choice."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from freshness.app.services import CodatAccess, Services
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus
from freshness.aws.metrics import Metric
from freshness.codat.client import Codat
from freshness.policy.policy import Policy
from tests.builders import NOON
from tests.integration.recording_bus import RecordingBus


def services_of(
    tables: Tables,
    policy: Policy,
    *,
    bus: EventBus | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    codat: CodatAccess | None = None,
    dry_run: bool = False,
    measured: dict[Metric, int] | None = None,
) -> Services:
    """Return services. What they emit is added to `measured`."""

    def emit(values: Mapping[Metric, int]) -> None:
        if measured is not None:
            measured.update(values)

    return Services(
        tables=tables,
        bus=bus or RecordingBus(),
        policy=policy,
        clock=clock,
        codat_access=codat,
        dry_run=dry_run,
        emit=emit,
    )


def codat_at(base_url: str, key: str, transport: httpx.AsyncBaseTransport | None = None) -> CodatAccess:
    """Return the access to a Codat whose key is never replaced."""
    return CodatAccess(base_url=base_url, key=lambda reload: key, transport=transport)  # noqa: ARG005


@asynccontextmanager
async def codat_answering(answer: Callable[[httpx.Request], httpx.Response], **given: Any) -> AsyncIterator[Codat]:
    """Yield a client of a Codat that answers as a test says, at noon."""
    async with httpx.AsyncClient(base_url="https://codat.test", transport=httpx.MockTransport(answer)) as http:
        yield Codat(http, "key", **{"clock": lambda: NOON} | given)
