"""Links for customers, read from Codat with the stack's own API key. The call changes nothing."""

from collections.abc import Iterable

import httpx

from freshness.app.reading.links import read_links
from freshness.app.reading.views import FeedView, LinkView
from freshness.codat.client import Codat
from freshness.codat.http import CALL_TIMEOUT
from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed_values import State
from stack_access.stack import DeployedStack, clock


async def links_of(stack: DeployedStack, company: Company, feeds: Iterable[FeedView]) -> list[LinkView]:
    """Return the links of a company's connections that the customer must authorise again, as they are at Codat now."""
    blocked = {feed.connection_id for feed in feeds if feed.state is State.BLOCKED}
    async with httpx.AsyncClient(base_url=codat_base_url(stack), timeout=CALL_TIMEOUT) as http:
        return await read_links(Codat(http, codat_api_key(stack), clock=clock), company, blocked)


def codat_base_url(stack: DeployedStack) -> str:
    """Return the address of the Codat that a stack reads from."""
    return stack.environment(stack.outputs.check_freshness_function)["CODAT_BASE_URL"]


def codat_api_key(stack: DeployedStack) -> str:
    """Return a stack's key for Codat's API."""
    return stack.secret(stack.outputs.codat_api_key_secret).strip()
