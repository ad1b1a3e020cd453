"""Links for customers to authorise connections again, read from Codat at the moment when someone asks for them.

Some accounts have links that expire after a day or one use, so a stored one may have expired.
"""

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from freshness.app.reading.views import LinkView
from freshness.app.services import Services
from freshness.codat.client import Codat
from freshness.codat.errors import CodatError
from freshness.domain.companies.company import Company

TIME_FOR_CODAT = timedelta(seconds=10)
"""How long reading links may take."""

logger = Logger(service="codat-freshness")


async def links_of(services: Services, company: Company, blocked: Collection[str]) -> list[LinkView]:
    """Return the links as `read_links` does, with the key and the limits of the functions."""
    return await read_links(services.codat(services.clock() + TIME_FOR_CODAT, on_demand=True), company, blocked)


async def read_links(
    connecting: AbstractAsyncContextManager[Codat], company: Company, blocked: Collection[str]
) -> list[LinkView]:
    """Return the link of each connection of a company that the customer must authorise again.

    These connections have lapsed, or consent to them ends soon, or `blocked` has their ids. If there is none,
    `connecting` is not entered, and the key for Codat not read. If Codat cannot be called, or who asks may not read the
    key, or Codat has no link, the link is the one that Codat reported last.
    """
    stored = [
        LinkView(
            connection_id=connection.connection_id,
            platform=connection.platform,
            url=connection.link_url,
            read_at=connection.link_url_known_at,
            is_live=False,
        )
        for connection in company.connections.values()
        if connection.lapsed_at or connection.consent_ends_at or connection.connection_id in blocked
    ]
    if not stored:
        return []
    try:
        async with connecting as codat:
            at, listed = await codat.company(company.company_id)
    except (CodatError, ClientError) as error:
        logger.warning("Links could not be read", extra={"company_id": company.company_id, "error": str(error)})
        return stored
    urls = {connection.id: connection.link_url for connection in listed.connections}
    return [
        replace(link, url=url, read_at=at, is_live=True) if (url := urls.get(link.connection_id)) else link
        for link in stored
    ]
