"""Codat's own schedule, as set for the account: which data types Codat reads by itself, and when."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed import Feed

READ_EVERY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodatSchedule:
    """The account's sync settings when they were last read."""

    on_first_link: frozenset[str] = frozenset()
    """The data types that Codat reads when a company links. `data/all` queues the same."""
    hours: dict[str, int] = field(default_factory=dict)
    """Hours from one sync to the next, by data type, of those that Codat reads by itself."""
    read_at: datetime | None = None
    version: int = 0

    def is_outdated(self, now: datetime) -> bool:
        return self.read_at is None or self.read_at + READ_EVERY <= now

    def doubles(self, of_products: Collection[str]) -> frozenset[str]:
        """Return the data types that Codat's own schedule reads in addition to our refreshes.

        `of_products` are the data types of custom products, which have sync settings of their own: those in
        `on_first_link` are read twice when a company links.
        """
        return frozenset(self.hours) | (self.on_first_link & frozenset(of_products))

    def queued_by_data_all(self, company: Company, feeds: Iterable[Feed]) -> list[Feed]:
        """Return the feeds that `data/all` would queue; none if any of these cannot succeed.

        Only the account's settings are known: to read a company's own would cost a call for each company. A feed that
        `data/all` leaves out because of them is queued alone. One that it queues in addition counts as requested by
        others.
        """
        candidates = [feed for feed in feeds if feed.data_type in self.on_first_link]
        linked = [feed for feed in candidates if is_linked(feed, company)]
        cannot_succeed = any(
            feed.is_unsupported or feed.is_blocked(company.connections[feed.connection_id]) for feed in linked
        )
        return [] if cannot_succeed else linked


def is_linked(feed: Feed, company: Company) -> bool:
    """Return whether Codat can read through the feed's connection now."""
    connection = company.connections.get(feed.connection_id)
    return connection is not None and connection.is_linked
