"""One read, sent by the sandbox over HTTP to endpoints for several of its forms, through the handler of webhooks."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

import httpx
import pytest

from codat_sandbox.platforms import XERO
from freshness.codat.client import Codat
from freshness.codat.webhooks.registration import register
from freshness.domain.transitions.notifications import CompanyDataRefreshed
from tests.integration.deployed import API_KEY, Deployed
from tests.integration.recording_bus import RecordingBus

PRODUCT = "credit-model"


@pytest.fixture
def bus(deployed: Deployed) -> RecordingBus:
    bus = RecordingBus()
    deployed.bus = bus
    return bus


@pytest.fixture
def received() -> Iterator[tuple[str, "Queue[str]"]]:
    """Return the URL of an endpoint, and the bodies that it received."""
    bodies: Queue[str] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/webhooks", bodies
        server.shutdown()
        thread.join()


def subscribe(deployed: Deployed, url: str) -> None:
    """Register an endpoint as the stack does, and another one of the same URL for all event types."""

    async def call() -> None:
        async with httpx.AsyncClient(base_url=deployed.sandbox.base_url) as http:
            codat = Codat(http, API_KEY, clock=lambda: datetime.now(UTC))
            registered = await register(codat, url, [PRODUCT])
            assert registered.is_new
            await codat.create_webhook_consumer(url, [])

    asyncio.run(call())


def forms_of(prefix: str, *, initial: bool) -> Counter[str]:
    """Return how often each form is sent: those that the stack subscribes to once more."""
    endings = [".initial", ""] if initial else [""]
    plain = [f"{prefix}read.completed{ending}" for ending in endings]
    return Counter([*plain, *plain, *(f"{prefix}read.completed.successful{ending}" for ending in endings)])


def test_each_read_is_published_once_in_however_many_forms_it_is_sent(
    deployed: Deployed, bus: RecordingBus, received: tuple[str, "Queue[str]"]
) -> None:
    url, bodies = received
    deployed.sandbox.do(
        lambda sandbox: sandbox.backend.change_settings(
            sandbox.settings.model_copy(
                update={"custom_products": {PRODUCT: ("invoices", "bills")}, "fails_first": 0, "not_supported": 0}
            ),
            sandbox.now(),
        )
    )
    subscribe(deployed, url)

    company = deployed.sandbox.do(lambda sandbox: sandbox.backend.add_company((XERO,), sandbox.now()))
    deployed.sandbox.do(lambda sandbox: sandbox.changed())
    expected = forms_of("", initial=True) + forms_of(f"{PRODUCT}.", initial=True)
    seen: Counter[str] = Counter()
    events: list[dict[str, Any]] = []
    while not expected <= seen:
        events.append(json.loads(bodies.get(timeout=20)))
        seen[events[-1]["eventType"]] += 1
    for event in [*events, *events[::3]]:
        deployed.apply(json.dumps(event))

    reads = {
        (read["connectionId"], read["dataType"])
        for event in events
        if "read.completed" in event["eventType"]
        for read in event["payload"]["dataTypes"]
        if read["status"] == "Complete"
    }
    published = [each for each in bus.published if isinstance(each, CompanyDataRefreshed)]
    assert {each.company_id for each in published} == {company.id}
    assert Counter((each.connection_id, each.data_type) for each in published) == dict.fromkeys(reads, 1)
    assert {each.records_modified for each in published} == {None}
    assert {"invoices", "bills", "customers"} <= {data_type for _, data_type in reads}
