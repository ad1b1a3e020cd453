"""Links for customers to authorise connections again, read from a sandbox where each is valid for one use."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from botocore.exceptions import ClientError

from cli.output import link_text
from codat_sandbox.server import RunningSandbox, running_sandbox
from codat_sandbox.settings import Settings
from codat_sandbox.stubs import StubResponse
from freshness.app.reading.links import read_links
from freshness.codat.client import Codat
from freshness.domain.companies.company import Company
from tests.builders import a_connection

SETTINGS = Settings(companies=1, one_time_links=True)
LONG_AGO = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox(SETTINGS) as sandbox:
        yield sandbox


@pytest.fixture
async def codat(sandbox: RunningSandbox) -> AsyncIterator[Codat]:
    async with httpx.AsyncClient(base_url=sandbox.base_url) as http:
        yield Codat(http, sandbox.api_key, clock=lambda: datetime.now(UTC))


@pytest.fixture
def company(sandbox: RunningSandbox) -> Company:
    """Return a company whose first connection must be authorised again."""
    [at_codat] = sandbox.backend.companies()
    connections = [
        a_connection(
            each.id,
            LONG_AGO,
            platform=each.platform.name,
            source_type=each.platform.source_type,
            status="Linked" if index else "Deauthorized",
            link_url="https://link.example/expired",
        )
        for index, each in enumerate(at_codat.connections)
    ]
    return Company(company_id=at_codat.id, connections={each.connection_id: each for each in connections})


async def test_a_link_is_read_from_codat_whenever_it_is_asked_for(codat: Codat, company: Company) -> None:
    [first] = await read_links(nullcontext(codat), company, [])
    [second] = await read_links(nullcontext(codat), company, [])

    assert first.is_live
    assert first.read_at
    assert datetime.now(UTC) - first.read_at < timedelta(minutes=1)
    assert "otp=" in first.url
    assert first.url != second.url
    assert first.url in link_text(first)


async def test_codat_is_not_called_where_no_connection_must_be_authorised(codat: Codat, company: Company) -> None:
    linked = {key: replace(each, status="Linked") for key, each in company.connections.items()}

    assert await read_links(nullcontext(codat), replace(company, connections=linked), []) == []
    assert codat.calls == 0


async def test_where_the_key_may_not_be_read_the_last_known_link_is_returned(company: Company) -> None:
    denied = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, "GetParameter")

    @asynccontextmanager
    async def without_permission() -> AsyncIterator[Codat]:
        raise denied
        yield

    [link] = await read_links(without_permission(), company, [])

    assert (link.url, link.is_live) == ("https://link.example/expired", False)
    linked = {key: replace(each, status="Linked") for key, each in company.connections.items()}
    assert await read_links(without_permission(), replace(company, connections=linked), []) == []


async def test_without_a_response_the_last_known_link_is_returned_with_its_time(
    codat: Codat, company: Company, sandbox: RunningSandbox
) -> None:
    sandbox.do(lambda sandbox: sandbox.stubs.add(StubResponse(path="*", status=404)))

    [link] = await read_links(nullcontext(codat), company, [])

    assert not link.is_live
    assert (link.url, link.read_at) == ("https://link.example/expired", LONG_AGO)
    assert "2026-11-01 12:00" in link_text(link)
    assert "may have expired" in link_text(link)
