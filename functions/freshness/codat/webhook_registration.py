"""Having Codat send its webhooks to this stack."""

from dataclasses import dataclass

from freshness.codat.client import Codat
from freshness.codat.models import WebhookConsumer
from freshness.codat.webhook_parser import EVENT_TYPES


@dataclass(frozen=True, slots=True)
class Registration:
    """The endpoint that Codat has for this stack, whether it had it before, and any others with the same URL."""

    consumer: WebhookConsumer
    is_new: bool
    others: tuple[WebhookConsumer, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The event types that are not sent to it."""
        return _missing(self.consumer)


async def register(codat: Codat, url: str) -> Registration:
    """Find the endpoint with this URL, the one that gets most if there are several, or have Codat add it.

    One that exists is left as it is: Codat has no call to change it, and one made anew has another signing secret.

    Raises:
        CodatError: Codat did not do so.
    """
    known = [consumer for consumer in await codat.webhook_consumers() if _same(consumer.url, url)]
    if known:
        consumer, *others = sorted(known, key=_lacks)
        return Registration(consumer, is_new=False, others=tuple(others))
    return Registration(await codat.create_webhook_consumer(url, EVENT_TYPES), is_new=True)


def _missing(consumer: WebhookConsumer) -> list[str]:
    """One without any event types is sent all."""
    return sorted(set(EVENT_TYPES) - set(consumer.event_types)) if consumer.event_types else []


def _lacks(consumer: WebhookConsumer) -> tuple[bool, bool, int, str]:
    return consumer.disabled, bool(consumer.company_tags), len(_missing(consumer)), consumer.id


def _same(url: str, other: str) -> bool:
    return url.rstrip("/") == other.rstrip("/")
