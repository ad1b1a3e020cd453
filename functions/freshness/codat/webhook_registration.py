"""Registration of this stack's URL as a webhook endpoint at Codat."""

from freshness.codat.client import Codat
from freshness.codat.models import WebhookConsumer
from freshness.codat.webhook_parser import EVENT_TYPES
from freshness.domain.value import value

_FORMS = {
    "read.completed": {"read.completed.successful", "read.completed.unsuccessful"},
    "read.completed.initial": {"read.completed.successful.initial", "read.completed.unsuccessful.initial"},
}
"""The event types that together report as much as another one."""


@value(kw_only=False)
class Registration:
    """The endpoint that Codat sends webhooks to.

    `is_new` is whether this call created it. `others` are further endpoints with the same URL.
    """

    consumer: WebhookConsumer
    is_new: bool
    others: tuple[WebhookConsumer, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The event types that this project uses and that are not sent to the endpoint."""
        return _missing(self.consumer)


async def register(codat: Codat, url: str) -> Registration:
    """Return the endpoint with this URL, or create it if there is none.

    Of several endpoints, the one that is sent the most is returned. An existing endpoint is not changed: Codat has no
    API call for that, and a new endpoint would have another signing secret.

    Raises:
        CodatError: the call to Codat failed.
    """
    existing = [consumer for consumer in await codat.webhook_consumers() if _is_same_url(consumer.url, url)]
    if existing:
        consumer, *others = sorted(existing, key=_rank)
        return Registration(consumer, is_new=False, others=tuple(others))
    return Registration(await codat.create_webhook_consumer(url, EVENT_TYPES), is_new=True)


def _missing(consumer: WebhookConsumer) -> list[str]:
    subscribed = set(consumer.event_types)
    # An endpoint without event types is sent all of them.
    if not subscribed:
        return []
    return sorted(each for each in set(EVENT_TYPES) - subscribed if not _FORMS.get(each, {each}) <= subscribed)


def _rank(consumer: WebhookConsumer) -> tuple[bool, bool, int, str]:
    """Return a sort key that puts the endpoint that is sent the most first."""
    return consumer.disabled, bool(consumer.company_tags), len(_missing(consumer)), consumer.id


def _is_same_url(url: str, other: str) -> bool:
    return url.rstrip("/") == other.rstrip("/")
