"""Webhooks: who gets them, how they are signed, and how often they are tried, as Svix does it for Codat."""

import asyncio
import base64
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

import httpx
from standardwebhooks import Webhook

from local.codat_sandbox import answers
from local.codat_sandbox.companies import identifier
from local.codat_sandbox.errors import BadRequestError, WebhookNotFoundError
from local.codat_sandbox.model import Event, RateLimitEvent
from local.codat_sandbox.settings import Settings

RETRY_AFTER = tuple(
    timedelta(seconds=seconds) for seconds in (0, 5, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600)
)
"""How long after the one before each attempt is made (Svix's schedule)."""

DISABLE_AFTER = timedelta(days=5)
"""After how long of nothing but failures an endpoint is disabled."""

ANSWER_WITHIN = timedelta(seconds=15)
MOST_CONSUMERS = 50
_MOST_AT_ONCE = 4
_ATTEMPTS_KEPT = 20_000


@dataclass(slots=True)
class Consumer:
    """An endpoint that wants webhooks. While a secret rotates, `secrets` holds the old one too, the newest first."""

    id: str
    url: str
    event_types: tuple[str, ...]
    company_tags: tuple[str, ...]
    disabled: bool
    secrets: tuple[str, ...]
    failing_since: datetime | None = None

    def wants(self, event: Event) -> bool:
        """Whether it is enabled and subscribes to the event's type and to one of its company's tags.

        Without event types or without tags it takes all.
        """
        if self.disabled or (self.event_types and event.event_type not in self.event_types):
            return False
        if not self.company_tags or isinstance(event, RateLimitEvent):
            return True
        return any(f"{key}:{value}" in self.company_tags for key, value in event.company.tags.items())


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a delivery. `outcome` is the status code of the answer, or what happened instead."""

    message_id: str
    consumer_id: str
    event_type: str
    at: datetime
    number: int
    outcome: str

    @property
    def was_delivered(self) -> bool:
        """Whether the endpoint took it."""
        return self.outcome.startswith("2")


@dataclass(slots=True)
class _Message:
    """A webhook on its way to one consumer."""

    id: str
    event_type: str
    body: str
    consumer: Consumer
    attempts: int = 0


class Webhooks:
    """The consumers, and the webhooks on their way to them. `settings` and `now` are asked each time."""

    def __init__(
        self, settings: Callable[[], Settings], now: Callable[[], datetime], signing_secret: str | None
    ) -> None:
        self.attempts: deque[Attempt] = deque(maxlen=_ATTEMPTS_KEPT)
        self._settings = settings
        self._now = now
        self._signing_secret = signing_secret
        self._consumers: dict[str, Consumer] = {}
        self._consumers_ever = 0
        self._deliveries: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Semaphore(_MOST_AT_ONCE)
        self._client = httpx.AsyncClient(timeout=ANSWER_WITHIN.total_seconds(), trust_env=False)

    # Consumers

    def consumers(self) -> Sequence[Consumer]:
        """All of them, the oldest first."""
        return list(self._consumers.values())

    def consumer(self, consumer_id: str) -> Consumer:
        """One of them.

        Raises:
            WebhookNotFoundError: there is none of that id.
        """
        try:
            return self._consumers[consumer_id]
        except KeyError:
            raise WebhookNotFoundError(consumer_id) from None

    def add_consumer(
        self, url: str, event_types: Sequence[str], company_tags: Sequence[str], *, disabled: bool
    ) -> Consumer:
        """Register an endpoint, with a signing secret.

        Raises:
            BadRequestError: there are 50 already.
        """
        if len(self._consumers) >= MOST_CONSUMERS:
            raise BadRequestError(f"The limit of {MOST_CONSUMERS} webhook consumers is reached: delete one first")
        self._consumers_ever += 1
        random = Random(f"{self._settings().seed}/consumer/{self._consumers_ever}")
        secret = self._signing_secret or _secret(random)
        consumer = Consumer(
            identifier(random), url, tuple(event_types), tuple(company_tags), disabled, secrets=(secret,)
        )
        self._consumers[consumer.id] = consumer
        return consumer

    def delete_consumer(self, consumer_id: str) -> None:
        """Forget an endpoint.

        Raises:
            WebhookNotFoundError: there is none of that id.
        """
        self.consumer(consumer_id)
        del self._consumers[consumer_id]

    def rotate_secret(self, consumer_id: str) -> Consumer:
        """Give an endpoint a new signing secret; the one before signs beside it from now on.

        Raises:
            WebhookNotFoundError: there is none of that id.
        """
        consumer = self.consumer(consumer_id)
        newest = consumer.secrets[0]
        consumer.secrets = (_secret(Random(f"{newest}/rotated")), newest)
        return consumer

    def forget_consumers(self) -> None:
        """Forget all endpoints and attempts."""
        self._consumers.clear()
        self.attempts.clear()

    # Deliveries

    def send(self, events: Sequence[Event]) -> None:
        """Start to deliver `events` to those who want them; at least once, but for the share that is to be lost."""
        settings = self._settings()
        for event in events:
            for consumer in self._consumers.values():
                if consumer.wants(event):
                    self._send_one(event, consumer, settings)

    async def close(self) -> None:
        """Stop all deliveries."""
        for delivery in self._deliveries:
            delivery.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)
        await self._client.aclose()

    def _send_one(self, event: Event, consumer: Consumer, settings: Settings) -> None:
        message = _Message(f"msg_{event.id.replace('-', '')}", event.event_type, _body(event), consumer)
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
            async with self._at_once:
                was_delivered = await self._attempt(message)
            if was_delivered:
                return

    async def _attempt(self, message: _Message) -> bool:
        url, headers = self._request(message)
        try:
            answer = await self._client.post(url, content=message.body.encode(), headers=headers)
            outcome = str(answer.status_code)
        except httpx.HTTPError as error:
            outcome = f"{type(error).__name__}: {error}"
        attempt = self._record(message, outcome)
        self._judge(message.consumer, attempt)
        return attempt.was_delivered

    def _request(self, message: _Message) -> tuple[httpx.URL, dict[str, str]]:
        """Where to send it, and with which headers.

        Names under `localhost` may not resolve on every machine, so those go to the loopback address, under their name.
        """
        now = self._now()
        signatures = [Webhook(secret).sign(message.id, now, message.body) for secret in message.consumer.secrets]
        spelling = self._settings().webhook_headers
        url = httpx.URL(message.consumer.url)
        headers = {
            "Host": url.netloc.decode(),
            "Content-Type": "application/json",
            f"{spelling}-id": message.id,
            f"{spelling}-timestamp": str(int(now.timestamp())),
            f"{spelling}-signature": " ".join(signatures),
        }
        return (url.copy_with(host="127.0.0.1") if url.host.endswith(".localhost") else url), headers

    def _record(self, message: _Message, outcome: str) -> Attempt:
        message.attempts += 1
        attempt = Attempt(message.id, message.consumer.id, message.event_type, self._now(), message.attempts, outcome)
        self.attempts.append(attempt)
        return attempt

    def _judge(self, consumer: Consumer, attempt: Attempt) -> None:
        """Disable an endpoint that has only failed for too long."""
        if attempt.was_delivered:
            consumer.failing_since = None
            return
        consumer.failing_since = consumer.failing_since or attempt.at
        if attempt.at - consumer.failing_since >= DISABLE_AFTER * self._settings().webhook_time_scale:
            consumer.disabled = True


def _body(event: Event) -> str:
    return json.dumps(answers.webhook(event), separators=(",", ":"))


def _secret(random: Random) -> str:
    return "whsec_" + base64.b64encode(random.randbytes(24)).decode()
