"""The events that the sandbox's webhooks report."""

from collections.abc import Sequence
from datetime import datetime
from random import Random

from local.codat_sandbox.companies import random_uuid
from local.codat_sandbox.model import (
    Company,
    CompanyEvent,
    CompanyEventType,
    Connection,
    ConnectionEvent,
    ConnectionEventType,
    Event,
    ProductEvent,
    ProductEventType,
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
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def add_company_event(self, event_type: CompanyEventType, company: Company, now: datetime) -> None:
        """Add an event of a company."""
        self._events.append(CompanyEvent(random_uuid(self._random), now, company, event_type))

    def add_product_event(self, event_type: ProductEventType, company: Company, product: str, now: datetime) -> None:
        """Add an event of a product that a company got or lost."""
        self._events.append(ProductEvent(random_uuid(self._random), now, company, product, event_type))

    def add_connection_event(
        self, event_type: ConnectionEventType, company: Company, connection: Connection, now: datetime
    ) -> None:
        """Add an event of a connection."""
        self._events.append(ConnectionEvent(random_uuid(self._random), now, company, connection, event_type))

    def add_reads(self, company: Company, reads: Sequence[Read], now: datetime) -> None:
        """Add one event for the reads that are the first of their feed, and one for the others."""
        first = tuple(read for read in reads if read.last_fetched is None)
        others = tuple(read for read in reads if read.last_fetched is not None)
        for group, initial in ((first, True), (others, False)):
            if group:
                self._events.append(ReadCompleted(random_uuid(self._random), now, company, group, initial))
