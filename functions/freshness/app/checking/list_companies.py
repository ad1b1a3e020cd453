"""Listing the companies: recording new and changed ones, and what the list lacks."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from datetime import datetime

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from freshness.app.services import Services
from freshness.app.tick import Failures, is_refused_data
from freshness.aws.metrics import Metric
from freshness.codat.client import Codat
from freshness.codat.models import CompanyListing
from freshness.domain.companies.company import Company, ConnectionStatus
from freshness.domain.companies.company_facts import CompanyListed
from freshness.domain.companies.listing import Lacking, Listing
from freshness.domain.slo.attainment import Cell, cells, hour_of
from freshness.policy.policy import Policy

PAGE = 100
"""How many companies are looked up together while the list is read."""

logger = Logger(service="codat-freshness")


@dataclass(slots=True)
class _Seen:
    """What the list of companies has shown so far. `before` is what earlier lists showed."""

    before: Listing
    known_companies: int
    companies: int = 0
    """How many of the known companies are on the list."""
    connections: int = 0
    """How many connections of listed companies are known."""
    absent_connections: int = 0
    feeds: Counter[Cell] = field(default_factory=Counter)
    """How many feeds of listed companies are kept fresh, by part of the fleet."""

    def add_connections(self, company: Company) -> None:
        known = [each for each in company.connections.values() if each.status != ConnectionStatus.DELETED]
        self.connections += len(known)
        self.absent_connections += sum(each.absent_since is not None for each in known)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyList:
    """Codat's list of companies. At `until` the rest is left to the next tick."""

    services: Services
    codat: Codat
    until: datetime
    failures: Failures

    async def record(self) -> bool:
        """Read Codat's list of companies, and record those that are new or have changed, a page at a time.

        Return whether there was time for the whole list. The next tick does not write again what is recorded, so it
        gets further.

        Raises:
            CodatError: the list could not be read to its end.
        """
        page: list[tuple[datetime, CompanyListing]] = []
        seen = _Seen(
            before=await asyncio.to_thread(self.services.tables.control.read, Listing),
            known_companies=await asyncio.to_thread(self.services.tables.companies.count_known),
        )
        async with aclosing(self.codat.companies()) as companies:
            async for listed in companies:
                page.append(listed)
                if len(page) < PAGE:
                    continue
                if self.codat.is_down or self.services.clock() >= self.until:
                    return False
                await asyncio.to_thread(self._record_page, page, seen)
                page = []
        await asyncio.to_thread(self._record_page, page, seen)
        await asyncio.to_thread(self.services.tables.attainment.put_feeds, seen.feeds, hour_of(self.services.clock()))
        await asyncio.to_thread(self._record_lacking, seen)
        return True

    def _record_page(self, page: list[tuple[datetime, CompanyListing]], seen: "_Seen") -> None:
        """Record a page of the list, and add to `seen` what is known of its companies."""
        with self.failures.collected({}):
            known = self._known([company.id for _, company in page])
            for company in known.values():
                seen.feeds.update(promised(company, self.services.policy))
                seen.companies += company.deleted_at is None
            for at, listed in page:
                with self.failures.collected({"company_id": listed.id}):
                    company = known.get(listed.id) or Company(company_id=listed.id)
                    fact = self._listed(listed, at, seen.before.believed_at)
                    seen.add_connections(self.services.recorder.record_company(company, fact))

    def _record_lacking(self, seen: "_Seen") -> None:
        """Record what the whole list lacked. It decides what the next list may delete."""
        now = self.services.clock()
        companies = Lacking(known=seen.known_companies, lacking=max(seen.known_companies - seen.companies, 0))
        connections = Lacking(known=seen.connections, lacking=seen.absent_connections)
        listing = self.services.tables.control.update(
            seen.before, lambda listing: listing.followed_by(companies, connections, now)
        )
        if listing.is_doubted(now):
            self.services.counts.count(Metric.LISTING_DOUBTED)
            logger.error(
                "Codat's list of companies lacks much of what is known, so nothing is deleted",
                extra={"companies": asdict(companies), "connections": asdict(connections)},
            )

    def _known(self, company_ids: list[str]) -> dict[str, Company]:
        """Return the companies that are known; none if one of the ids cannot be a key.

        In that case, recording a company finds it in the table.
        """
        try:
            return self.services.tables.companies.get_many(company_ids)
        except ClientError as error:
            if not is_refused_data(error):
                raise
            return {}

    def _listed(self, listed: CompanyListing, at: datetime, believed_at: datetime | None) -> CompanyListed:
        return CompanyListed(
            name=listed.name,
            tags=listed.tags,
            connections=tuple(connection.as_of(at) for connection in listed.connections),
            has_all_connections=listed.has_all_connections,
            believed_at=believed_at,
            at=at,
            parent_id=listed.parent_company_id,
            products=listed.products,
        )


def promised(company: Company, policy: Policy) -> Iterator[Cell]:
    """Yield the parts of the fleet that each feed of a company belongs to, if anything is promised of the feed."""
    for connection_id, data_types in company.feeds.items():
        connection = company.connections.get(connection_id)
        if connection is None:
            continue
        for data_type in data_types:
            promise = policy.promise(data_type, company, connection)
            if not promise.off:
                yield from cells(data_type, promise.group)
