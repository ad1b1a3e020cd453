"""The events that the sandbox's webhooks report."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from random import Random

from codat_sandbox.companies import random_uuid
from codat_sandbox.model import (
    Company,
    CompanyEvent,
    Connection,
    ConnectionEvent,
    DatasetStatus,
    Event,
    EventType,
    ProductEvent,
    Read,
    ReadCompleted,
)


class EventLog:
    """Events in the order in which they occurred, until they are taken."""

    def __init__(self, random: Random) -> None:
        """Create an empty log whose event ids come from `random`."""
        self._random = random
        self._events: list[Event] = []

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def add_company_event(self, event_type: EventType, company: Company, now: datetime) -> None:
        self._events.append(CompanyEvent(random_uuid(self._random), now, company, event_type))

    def add_product_event(self, event_type: EventType, company: Company, product: str, now: datetime) -> None:
        """Add the event that a company got or lost a product."""
        self._events.append(ProductEvent(random_uuid(self._random), now, company, product, event_type))

    def add_connection_event(
        self, event_type: EventType, company: Company, connection: Connection, now: datetime
    ) -> None:
        self._events.append(ConnectionEvent(random_uuid(self._random), now, company, connection, event_type))

    def add_reads(self, company: Company, reads: Sequence[Read], now: datetime) -> None:
        """Add the events of reads: for each product, one of the first reads of feeds, and one of the others.

        Each is added in all its forms: a consumer that subscribes to several forms receives it several times.
        """
        groups: dict[tuple[str, bool], list[Read]] = defaultdict(list)
        for read in reads:
            groups[read.product, read.last_fetched is None].append(read)
        for (product, is_initial), group in groups.items():
            for event_type in _forms(product, group, is_initial=is_initial):
                self._events.append(ReadCompleted(random_uuid(self._random), now, company, tuple(group), event_type))


def _forms(product: str, reads: Sequence[Read], *, is_initial: bool) -> Iterator[str]:
    """Yield the event types that report reads.

    For the sync of a custom product, they begin with its identifier: Codat's guide to products names no others.
    """
    prefix = f"{product}." if product else ""
    is_successful = all(read.status is DatasetStatus.COMPLETE for read in reads)
    for ending in ("", ".successful" if is_successful else ".unsuccessful"):
        yield f"{prefix}read.completed{ending}"
        if is_initial:
            yield f"{prefix}read.completed{ending}.initial"
