"""Registration of this stack's URL as a webhook endpoint at Codat."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from freshness.codat.client import Codat
from freshness.codat.models import WebhookConsumer
from freshness.codat.webhooks.parser import EVENT_TYPES, READS


@dataclass(frozen=True, slots=True)
class Registration:
    """The endpoint that Codat sends webhooks to.

    `is_new` is whether this call created it. `missing` are the event types that this project uses and Codat does not
    send to it. `others` are further endpoints with the same URL.
    """

    consumer: WebhookConsumer
    is_new: bool
    missing: tuple[str, ...] = ()
    others: tuple[WebhookConsumer, ...] = ()


def event_types(products: Iterable[str]) -> tuple[str, ...]:
    """Return the event types to subscribe to: the fewest that report everything.

    Codat reports the syncs of a custom product by events with its identifier in front. `products` are the policy's.
    """
    return *EVENT_TYPES, *(f"{product}.{read}" for product in products for read in READS)


async def register(codat: Codat, url: str, products: Collection[str] = ()) -> Registration:
    """Return the endpoint with this URL, or create it if there is none.

    Raises:
        CodatError: the call to Codat failed.
    """
    return await find(codat, url, products) or await create(codat, url, products)


async def find(codat: Codat, url: str, products: Collection[str] = ()) -> Registration | None:
    """Return the endpoint with this URL; `None` if there is none. `products` are the policy's custom products.

    Of several endpoints, the one that is sent the most is returned. An existing endpoint is not changed: Codat has no
    API call for that, and a new endpoint would have a new signing secret.

    Raises:
        CodatError: the call to Codat failed.
    """
    registered = of_url(await codat.webhook_consumers(), url, products)
    if not registered:
        return None
    consumer, *others = registered
    return Registration(consumer, is_new=False, missing=missing(consumer, products), others=tuple(others))


async def create(codat: Codat, url: str, products: Collection[str] = ()) -> Registration:
    """Create an endpoint with this URL at Codat.

    Raises:
        CodatError: the call to Codat failed.
    """
    return Registration(await codat.create_webhook_consumer(url, event_types(products)), is_new=True)


def of_url(
    consumers: Iterable[WebhookConsumer], url: str, products: Collection[str] = ()
) -> tuple[WebhookConsumer, ...]:
    """Return the endpoints with a URL, the one that is sent the most first."""

    def rank(consumer: WebhookConsumer) -> tuple[bool, bool, int, str]:
        return consumer.disabled, bool(consumer.company_tags), len(missing(consumer, products)), consumer.id

    return tuple(sorted((each for each in consumers if each.url.rstrip("/") == url.rstrip("/")), key=rank))


def missing(consumer: WebhookConsumer, products: Collection[str] = ()) -> tuple[str, ...]:
    """Return the event types that this project uses and Codat does not send to an endpoint."""
    subscribed = set(consumer.event_types)
    # An endpoint without event types is sent all of them.
    if not subscribed:
        return ()
    wanted = set(event_types(products)) - subscribed
    return tuple(sorted(each for each in wanted if not (finer := _finer(each)) or not finer <= subscribed))


def _finer(event_type: str) -> set[str]:
    """Return the finer event types that together report as much as a `read.completed` one; empty for other types."""
    base, initial = event_type.removesuffix(".initial"), event_type.endswith(".initial")
    if not base.endswith("read.completed"):
        return set()
    return {f"{base}.{result}{'.initial' if initial else ''}" for result in ("successful", "unsuccessful")}
