"""Having Codat send its webhooks to this stack."""

from dataclasses import dataclass

from freshness.codat.answers import WebhookConsumer
from freshness.codat.client import Codat
from freshness.codat.webhooks import EVENT_TYPES


@dataclass(frozen=True, slots=True)
class Registration:
    """The endpoint that Codat has for this stack, and whether it had it before."""

    consumer: WebhookConsumer
    is_new: bool

    @property
    def missing(self) -> list[str]:
        """The event types that are not sent to it. One without any is sent all."""
        types = self.consumer.event_types
        return sorted(set(EVENT_TYPES) - set(types)) if types else []


async def register(codat: Codat, url: str) -> Registration:
    """Find the endpoint with this URL, an enabled one if there are several, or have Codat add it.

    One that exists is left as it is: Codat has no call to change it, and one made anew has another signing secret.

    Raises:
        CodatError: Codat did not do so.
    """
    known = [consumer for consumer in await codat.webhook_consumers() if _same(consumer.url, url)]
    if known:
        return Registration(min(known, key=lambda consumer: consumer.disabled), is_new=False)
    return Registration(await codat.create_webhook_consumer(url, EVENT_TYPES), is_new=True)


def _same(url: str, other: str) -> bool:
    return url.rstrip("/") == other.rstrip("/")
