"""Links for customers, read from Codat with the stack's own API key. The call changes nothing."""

from collections.abc import Iterable

from freshness.app.reading.links import read_links
from freshness.app.reading.views import FeedView, LinkView
from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed_values import State
from stack_access.stack import DeployedStack


async def links_of(stack: DeployedStack, company: Company, feeds: Iterable[FeedView]) -> list[LinkView]:
    """Return the links of a company's connections that the customer must authorise again, as they are at Codat now."""
    blocked = {feed.connection_id for feed in feeds if feed.state is State.BLOCKED}
    async with stack.codat() as codat:
        return await read_links(codat, company, blocked)
