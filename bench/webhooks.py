"""Webhooks to a deployed stack: the time until a feed is updated, and the throughput under load."""

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from typing import Self
from uuid import uuid4

import httpx
from rich.console import Console
from standardwebhooks import Webhook

from bench import full_batch
from bench.figures import Figure, Topic, show
from freshness.domain.feeds.feed import Feed
from local import local_aws
from local.processes import free_port
from local.progress import Progress
from local.settings import Settings
from local.stack import RunningStack, running_stack

MESSAGES = 1000
DOUBLED = 0.1
"""The share of messages that are sent twice."""
MAX_CONCURRENCY = 20
FEEDS = 100
PROBES = 30
"""Messages that are sent one at a time."""
TIMEOUT = 60.0
"""Seconds. Longer than Codat waits, because the local AWS starts twenty functions at once on few processors."""
ATTEMPTS = 10
"""How often a message is sent at most. It may not be accepted because its function started too late."""


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook for the end of one read."""

    id: str
    event_id: str
    data_type: str
    ended_at: datetime


class Sender:
    """Sends webhooks about one company to a deployed stack, signed as Codat signs them."""

    def __init__(self, stack: RunningStack) -> None:
        """Wait until the stack has a company with a linked accounting connection."""
        self._url, self._secret = stack.outputs.webhook_url, stack.codat.signing_secret
        self._run = uuid4().hex[:8]
        self._tables = stack.tables
        self._http = httpx.Client(timeout=TIMEOUT)
        self.company_id, self._connection_id = self._linked_company()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def _linked_company(self) -> tuple[str, str]:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for company in self._tables.companies.scan():
                for connection in company.connections.values():
                    if connection.is_linked and connection.source_type == "Accounting":
                        return company.company_id, connection.connection_id
            time.sleep(0.5)
        raise TimeoutError("expected a company with a linked accounting connection within two minutes")

    def messages(self, number: int) -> list[Message]:
        """Return messages about `FEEDS` new feeds. Messages about the same feed have different times."""
        now = datetime.now(UTC).replace(microsecond=0)
        return [
            Message(
                id=f"msg_{self._run}_{index}",
                event_id=str(uuid4()),
                data_type=f"measured-{self._run}-{index % FEEDS}",
                ended_at=now - timedelta(seconds=2 * ((number - index) // FEEDS)),
            )
            for index in range(number)
        ]

    def send(self, message: Message) -> int:
        """Send a message, and send it again after a server error, as Codat does. Return the last response's status."""
        for _ in range(ATTEMPTS):
            if (status := self._send_once(message)) < httpx.codes.INTERNAL_SERVER_ERROR:
                break
        return status

    def _send_once(self, message: Message) -> int:
        read = {"connectionId": self._connection_id, "dataType": message.data_type, "recordsModified": True}
        body = json.dumps(
            {
                "id": message.event_id,
                "eventType": "read.completed",
                "generatedDate": message.ended_at.isoformat(),
                "payload": {"referenceCompany": {"id": self.company_id}, "dataTypes": [read | {"status": "Complete"}]},
            }
        )
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self._secret).sign(message.id, now, body),
        }
        try:
            return self._http.post(self._url, content=body, headers=headers).status_code
        except httpx.TimeoutException:
            return httpx.codes.GATEWAY_TIMEOUT

    def send_all(self, messages: list[Message], at_once: int = MAX_CONCURRENCY) -> Counter[int]:
        """Send messages, some of them twice, in random order, several at once. Return how many had each last status."""
        random = Random(self._run)  # noqa: S311 - an order, not a secret
        sent = messages + random.sample(messages, round(len(messages) * DOUBLED))
        random.shuffle(sent)
        with ThreadPoolExecutor(at_once) as senders:
            return Counter(senders.map(self.send, sent))

    def feeds(self) -> list[Feed]:
        """Return the feeds that this sender's messages are about."""
        feeds = self._tables.feeds.of_company(self.company_id)
        return [feed for feed in feeds if feed.data_type.startswith(f"measured-{self._run}-")]

    def has_applied(self, messages: list[Message]) -> bool:
        """Return whether the feeds' history has the ends of all messages."""
        feeds = self._tables.feeds.of_company(self.company_id)
        applied = {(feed.data_type, sync.ended_at) for feed in feeds for sync in feed.history}
        return all((message.data_type, message.ended_at) in applied for message in messages)


def measure() -> list[Figure]:
    """Measure the time from request to feed for single webhooks, and the throughput under load."""
    with stack_for_bench() as stack:
        with Sender(stack) as sender:
            _time_to_feed(sender, sender.messages(PROBES + 1)[-1])
            alone = sorted(_time_to_feed(sender, message) for message in sender.messages(PROBES))
        with Sender(stack) as sender:
            messages = sender.messages(MESSAGES)
            started = time.monotonic()
            statuses = sender.send_all(messages)
            responded = time.monotonic() - started
            while not sender.has_applied(messages):
                time.sleep(0.2)
            applied = time.monotonic() - started
    if set(statuses) != {httpx.codes.ACCEPTED}:
        raise RuntimeError(f"expected every webhook to be accepted, got {dict(statuses)}")
    load = f"{MESSAGES:,}, a tenth sent twice, {MAX_CONCURRENCY} at once"
    return [
        *full_batch.measure(),
        Figure(
            what="webhook, from request to feed, median",
            topic=Topic.LATENCY,
            value=median(alone),
            unit="s",
            against=f"{PROBES} alone",
        ),
        Figure(what="webhook, from request to feed, slowest", value=alone[-1], unit="s", against=f"{PROBES} alone"),
        Figure(what="webhooks accepted", value=statuses.total() / responded, unit="per s", against=load),
        Figure(what="webhooks applied", value=MESSAGES / applied, unit="per s", against=load),
    ]


def _time_to_feed(sender: Sender, message: Message) -> float:
    started = time.monotonic()
    sender.send(message)
    while not sender.has_applied([message]):
        time.sleep(0.01)
    return time.monotonic() - started


@contextmanager
def stack_for_bench() -> Iterator[RunningStack]:
    """Deploy the stack to a local AWS of its own, and yield it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(local_aws_port=free_port(), sandbox_port=free_port(), local_folder=Path(folder))
        # The deployed functions must import from their bundle, not from the folder of this program.
        os.environ.pop("PYTHONPATH", None)
        os.environ.update(local_aws.tool_environment(settings.local_aws_port))
        with running_stack(settings, Progress(Console(stderr=True))) as stack:
            yield stack


if __name__ == "__main__":
    show("Webhooks", measure())
