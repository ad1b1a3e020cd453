"""Webhook consumers and deliveries: subscriptions, signatures and retries as Svix handles them for Codat."""

import asyncio
import base64
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from random import Random
from ssl import SSLContext

import httpx
from standardwebhooks import Webhook

from codat_sandbox import responses
from codat_sandbox.companies import random_uuid
from codat_sandbox.errors import BadRequestError, NotFoundError
from codat_sandbox.model import Event, RateLimitEvent
from codat_sandbox.settings import Settings

RETRY_AFTER = tuple(
    timedelta(seconds=seconds) for seconds in (0, 5, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600)
)
"""The time before each attempt, counted from the attempt before it (Svix's retry schedule)."""

DISABLE_AFTER = timedelta(days=5)
"""The time after which an endpoint is disabled if every attempt failed."""

RESPONSE_TIMEOUT = timedelta(seconds=15)
MAX_CONSUMERS = 50
_MAX_CONCURRENT_DELIVERIES = 4
_MAX_ATTEMPTS_KEPT = 20_000


@dataclass(slots=True)
class Consumer:
    """An endpoint that receives webhooks.

    `secrets` holds the signing secrets, newest first: two of them during a rotation.
    """

    id: str
    url: str
    event_types: tuple[str, ...]
    company_tags: tuple[str, ...]
    disabled: bool
    secrets: tuple[str, ...]
    failing_since: datetime | None = None

    def subscribes_to(self, event: Event) -> bool:
        """Return whether the consumer is enabled and subscribes to the event's type and a tag of its company.

        A consumer without event types, or without company tags, subscribes to all of them.
        """
        if self.disabled or (self.event_types and event.event_type not in self.event_types):
            return False
        if not self.company_tags or isinstance(event, RateLimitEvent):
            return True
        return any(f"{key}:{value}" in self.company_tags for key, value in event.company.tags.items())


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to deliver a webhook. `outcome` is the status code of the response, or the error."""

    message_id: str
    consumer_id: str
    event_type: str
    at: datetime
    number: int
    outcome: str

    @property
    def was_delivered(self) -> bool:
        """Return whether the endpoint responded with a 2xx status code."""
        return self.outcome.startswith("2")


@dataclass(slots=True)
class _Message:
    """A webhook that is being delivered to one consumer."""

    id: str
    event_type: str
    body: str
    consumer: Consumer
    attempts: int = 0


class Webhooks:
    """Webhook consumers, and the deliveries to them."""

    def __init__(self, settings: Callable[[], Settings], now: Callable[[], datetime], signing_secret: str) -> None:
        """Create a registry without consumers. `settings` and `now` are called each time that they are needed."""
        self.attempts: deque[Attempt] = deque(maxlen=_MAX_ATTEMPTS_KEPT)
        self._settings = settings
        self._now = now
        self._signing_secret = signing_secret
        self._consumers: dict[str, Consumer] = {}
        self._consumers_added = 0
        self._deliveries: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT_DELIVERIES)
        self._client = httpx.AsyncClient(
            timeout=RESPONSE_TIMEOUT.total_seconds(), trust_env=False, verify=_authorities()
        )

    def consumers(self) -> Sequence[Consumer]:
        return list(self._consumers.values())

    def consumer(self, consumer_id: str) -> Consumer:
        try:
            return self._consumers[consumer_id]
        except KeyError:
            raise NotFoundError("Webhook consumer", consumer_id) from None

    def add_consumer(
        self, url: str, event_types: Sequence[str], company_tags: Sequence[str], *, disabled: bool
    ) -> Consumer:
        """Add a consumer with a signing secret, and return it.

        Raises:
            BadRequestError: there are 50 consumers already.
        """
        if len(self._consumers) >= MAX_CONSUMERS:
            raise BadRequestError(f"The limit of {MAX_CONSUMERS} webhook consumers is reached. Delete one first.")
        self._consumers_added += 1
        random = Random(f"{self._settings().seed}/consumer/{self._consumers_added}")
        secret = self._signing_secret or _secret(random)
        consumer = Consumer(
            random_uuid(random), url, tuple(event_types), tuple(company_tags), disabled, secrets=(secret,)
        )
        self._consumers[consumer.id] = consumer
        return consumer

    def delete_consumer(self, consumer_id: str) -> None:
        self.consumer(consumer_id)
        del self._consumers[consumer_id]

    def rotate_secret(self, consumer_id: str) -> Consumer:
        """Add a new signing secret to a consumer, and return the consumer. The previous secret signs too."""
        consumer = self.consumer(consumer_id)
        newest = consumer.secrets[0]
        consumer.secrets = (_secret(Random(f"{newest}/rotated")), newest)
        return consumer

    def clear(self) -> None:
        self._consumers.clear()
        self.attempts.clear()

    def send(self, events: Sequence[Event]) -> None:
        """Start to deliver `events` to the consumers that subscribe to them.

        The settings say which shares of the webhooks are lost, sent twice or sent late.
        """
        settings = self._settings()
        for event in events:
            for consumer in self._consumers.values():
                if consumer.subscribes_to(event):
                    self._send_one(event, consumer, settings)

    async def close(self) -> None:
        """Cancel all deliveries and close the HTTP client."""
        for delivery in self._deliveries:
            delivery.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)
        await self._client.aclose()

    def _send_one(self, event: Event, consumer: Consumer, settings: Settings) -> None:
        message = _Message(f"msg_{event.id.replace('-', '')}", event.event_type, _body(event, settings.links), consumer)
        random = Random(f"{settings.seed}/{message.id}/{consumer.id}")
        if random.random() < settings.webhooks_lost:
            self._record(message, "lost")
            return
        for _ in range(2 if random.random() < settings.webhooks_doubled else 1):
            is_late = random.random() < settings.webhooks_late
            late_by = settings.webhooks_late_by * random.random() if is_late else timedelta(0)
            delivery = asyncio.create_task(self._deliver(replace(message), late_by))
            self._deliveries.add(delivery)
            delivery.add_done_callback(self._deliveries.discard)

    async def _deliver(self, message: _Message, late_by: timedelta) -> None:
        await asyncio.sleep(late_by.total_seconds())
        for wait in RETRY_AFTER:
            await asyncio.sleep(wait.total_seconds() * self._settings().webhook_time_scale)
            if message.consumer.disabled or message.consumer.id not in self._consumers:
                return
            async with self._slots:
                was_delivered = await self._attempt(message)
            if was_delivered:
                return

    async def _attempt(self, message: _Message) -> bool:
        url, headers = self._request(message)
        try:
            response = await self._client.post(url, content=message.body.encode(), headers=headers)
            outcome = str(response.status_code)
        except httpx.HTTPError as error:
            outcome = f"{type(error).__name__}: {error}"
        attempt = self._record(message, outcome)
        self._disable_if_failing(message.consumer, attempt)
        return attempt.was_delivered

    def _request(self, message: _Message) -> tuple[httpx.URL, dict[str, str]]:
        """Return the URL and the headers of a delivery.

        Names under `.localhost` do not resolve on every machine: the request goes to the loopback address, and the
        Host header keeps the name.
        """
        now = self._now()
        signatures = [Webhook(secret).sign(message.id, now, message.body) for secret in message.consumer.secrets]
        prefix = self._settings().webhook_headers
        url = httpx.URL(message.consumer.url)
        headers = {
            "Host": url.netloc.decode(),
            "Content-Type": "application/json",
            f"{prefix}-id": message.id,
            f"{prefix}-timestamp": str(int(now.timestamp())),
            f"{prefix}-signature": " ".join(signatures),
        }
        return (url.copy_with(host="127.0.0.1") if url.host.endswith(".localhost") else url), headers

    def _record(self, message: _Message, outcome: str) -> Attempt:
        message.attempts += 1
        attempt = Attempt(message.id, message.consumer.id, message.event_type, self._now(), message.attempts, outcome)
        self.attempts.append(attempt)
        return attempt

    def _disable_if_failing(self, consumer: Consumer, attempt: Attempt) -> None:
        """Disable a consumer whose attempts have all failed for `DISABLE_AFTER`."""
        if attempt.was_delivered:
            consumer.failing_since = None
            return
        consumer.failing_since = consumer.failing_since or attempt.at
        if attempt.at - consumer.failing_since >= DISABLE_AFTER * self._settings().webhook_time_scale:
            consumer.disabled = True


def _body(event: Event, links: str) -> str:
    return json.dumps(responses.webhook(event, links), separators=(",", ":"))


def _secret(random: Random) -> str:
    return "whsec_" + base64.b64encode(random.randbytes(24)).decode()


@cache
def _authorities() -> SSLContext:
    """Return the SSL context that verifies receivers' certificates. To load it takes longer than to start a sandbox."""
    return httpx.create_ssl_context(trust_env=False)
