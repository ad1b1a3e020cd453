"""Webhooks through a deployed stack: how soon a feed shows what one tells, and how many go through at once."""

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

from bench.figures import Figure, show
from freshness.domain.feed import Feed
from local import local_aws
from local.processes import free_port
from local.progress import Progress
from local.settings import Settings
from local.stack import RunningStack, running_stack

MESSAGES = 1000
DOUBLED = 0.1
AT_ONCE = 20
FEEDS = 100
PROBES = 30
ANSWER_WITHIN = 60.0
"""Seconds. Longer than Codat waits: the local AWS starts twenty functions at once on few processors."""


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook that tells of the end of one read."""

    id: str
    data_type: str
    ended_at: datetime


class Sender:
    """Sends a deployed stack webhooks about one of its companies, signed as Codat signs them."""

    def __init__(self, stack: RunningStack) -> None:
        """Wait until there is a company to tell of."""
        self._url, self._secret = stack.outputs.webhook_url, stack.codat.signing_secret
        self._run = uuid4().hex[:8]
        self._store = stack.target.store
        self._http = httpx.Client(timeout=ANSWER_WITHIN)
        self.company_id, self._connection_id = self._linked()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def _linked(self) -> tuple[str, str]:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for company in self._store.every_company():
                for connection in company.connections.values():
                    if connection.is_linked and connection.source_type == "Accounting":
                        return company.company_id, connection.connection_id
            time.sleep(0.5)
        raise TimeoutError("no company came to have a linked accounting connection")

    def messages(self, number: int) -> list[Message]:
        """Messages about feeds that no one else touches, those about one feed at different times."""
        now = datetime.now(UTC).replace(microsecond=0)
        return [
            Message(
                id=f"msg_{self._run}_{index}",
                data_type=f"measured-{self._run}-{index % FEEDS}",
                ended_at=now - timedelta(seconds=(number - index) // FEEDS),
            )
            for index in range(number)
        ]

    def send(self, message: Message) -> int:
        """Send a message; the status of the answer."""
        read = {"connectionId": self._connection_id, "dataType": message.data_type, "recordsModified": True}
        body = json.dumps(
            {
                "id": str(uuid4()),
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
        return self._http.post(self._url, content=body, headers=headers).status_code

    def send_all(self, messages: list[Message]) -> Counter[int]:
        """Send messages, some of them twice, in any order and many at once; how often which status came."""
        random = Random(self._run)  # noqa: S311 - an order, not a secret
        sent = messages + random.sample(messages, round(len(messages) * DOUBLED))
        random.shuffle(sent)
        with ThreadPoolExecutor(AT_ONCE) as senders:
            return Counter(senders.map(self.send, sent))

    def feeds(self) -> list[Feed]:
        """The feeds that messages were sent about."""
        feeds = self._store.feeds(self.company_id)
        return [feed for feed in feeds if feed.data_type.startswith(f"measured-{self._run}-")]

    def has_applied(self, messages: list[Message]) -> bool:
        """Whether the feeds show all that the messages told."""
        shown = {(feed.data_type, sync.ended_at) for feed in self.feeds() for sync in feed.syncs}
        return all((message.data_type, message.ended_at) in shown for message in messages)


def measure() -> list[Figure]:
    """Times from request to feed, alone and under load."""
    with _stack() as stack:
        with Sender(stack) as sender:
            _time_to_feed(sender, sender.messages(PROBES + 1)[-1])
            alone = sorted(_time_to_feed(sender, message) for message in sender.messages(PROBES))
        with Sender(stack) as sender:
            messages = sender.messages(MESSAGES)
            started = time.monotonic()
            answers = sender.send_all(messages)
            answered = time.monotonic() - started
            while not sender.has_applied(messages):
                time.sleep(0.2)
            applied = time.monotonic() - started
    if set(answers) != {httpx.codes.ACCEPTED}:
        raise RuntimeError(f"expected every webhook to be accepted, but: {dict(answers)}")
    load = f"{MESSAGES:,}, a tenth doubled, {AT_ONCE} at once"
    return [
        Figure(what="webhook, from request to feed, median", value=median(alone), unit="s", against=f"{PROBES} alone"),
        Figure(what="webhook, from request to feed, slowest", value=alone[-1], unit="s", against=f"{PROBES} alone"),
        Figure(what="webhooks answered", value=answers.total() / answered, unit="per s", against=load),
        Figure(what="webhooks applied", value=MESSAGES / applied, unit="per s", against=load),
    ]


def _time_to_feed(sender: Sender, message: Message) -> float:
    started = time.monotonic()
    sender.send(message)
    while not sender.has_applied([message]):
        time.sleep(0.01)
    return time.monotonic() - started


@contextmanager
def _stack() -> Iterator[RunningStack]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(local_aws_port=free_port(), sandbox_port=free_port(), local_folder=Path(folder))
        # The deployed functions must find their code in their bundle, not where this program finds it.
        os.environ.pop("PYTHONPATH", None)
        os.environ.update(local_aws.tool_environment(settings.local_aws_port))
        with running_stack(settings, Progress(Console(stderr=True))) as stack:
            yield stack


if __name__ == "__main__":
    show("Webhooks", measure())
