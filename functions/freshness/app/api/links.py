"""Links for callers who ask at the same moment: one of them reads the links of a company from Codat, for all."""

import asyncio
from collections.abc import Collection
from datetime import timedelta

from freshness.app.reading.links import links_of
from freshness.app.services import Services
from freshness.domain.companies.company import Company
from freshness.domain.companies.company_facts import LinksRead

SHARED = timedelta(seconds=10)
"""Other callers are given a link for this long after Codat returned it."""
WAIT, LOOK_EVERY = timedelta(seconds=3), timedelta(seconds=0.5)
"""How long a caller waits while another one reads the links, and how often it looks for them."""


async def shared_links(services: Services, company: Company, connection_ids: Collection[str]) -> dict[str, str]:
    """Return the links of connections, by connection id, that Codat returned within `SHARED`.

    One caller reads them from Codat and records them on the company. The others wait until they find them there.
    """
    until = services.clock() + WAIT
    while not (known := _known(company, connection_ids, services)) and (now := services.clock()) < until:
        if await asyncio.to_thread(services.tables.control.take, f"links {company.company_id}", now + SHARED, now):
            return await _read(services, company, connection_ids)
        await asyncio.sleep(LOOK_EVERY.total_seconds())
        current = await asyncio.to_thread(services.tables.companies.get, company.company_id)
        company = current or company
    return known


def _known(company: Company, connection_ids: Collection[str], services: Services) -> dict[str, str]:
    """Return the recorded links that Codat returned within `SHARED`. Codat returns all links of a company at once."""
    since = services.clock() - SHARED
    connections = (company.connections[each] for each in connection_ids if each in company.connections)
    return {
        each.connection_id: each.link_url
        for each in connections
        if each.link_url_known_at and each.link_url_known_at >= since
    }


async def _read(services: Services, company: Company, connection_ids: Collection[str]) -> dict[str, str]:
    links = [each for each in await links_of(services, company, connection_ids) if each.is_live]
    urls = {each.connection_id: each.url for each in links}
    if links:
        fact = LinksRead(at=min(each.read_at for each in links if each.read_at), urls=urls)
        await asyncio.to_thread(services.recorder.record_company, company, fact)
    return {connection_id: url for connection_id, url in urls.items() if connection_id in connection_ids}
