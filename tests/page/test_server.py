"""The server of the page: it answers this machine's own browser, and nobody whom another site sends here."""

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from stack_access.page_server import PageServer, serving
from tests.page.world import MINUTE, World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    world.pass_time(2 * MINUTE)
    yield world
    world.close()


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[PageServer]:
    with serving(world, 0, timedelta(seconds=2)) as server:
        yield server


@pytest.fixture
def browser(server: PageServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url) as client:
        yield client


def test_the_page_loads_nothing_from_anywhere_and_is_not_stored(browser: httpx.Client) -> None:
    response = browser.get("/")
    assert response.status_code == 200
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert response.headers["Cache-Control"] == "no-store"


def test_a_name_that_another_site_points_to_this_machine_is_not_answered(browser: httpx.Client) -> None:
    assert browser.get("/", headers={"Host": "site.example"}).status_code == 404


@pytest.mark.parametrize("origin", [None, "null", "https://site.example"])
def test_no_other_site_can_use_a_link(browser: httpx.Client, world: World, origin: str | None) -> None:
    headers = {"Origin": origin} if origin else {}
    assert browser.post("/link/company/connection", headers=headers).status_code == 403
    assert world.links_read == []


def test_a_link_that_is_no_address_of_the_web_is_not_followed(
    browser: httpx.Client, server: PageServer, world: World
) -> None:
    headers = {"Origin": server.url.rstrip("/")}
    assert browser.post("/link/company/connection", headers=headers).headers["Location"].startswith(world.links_at)
    for address in ("javascript:alert(1)//", "https://link.example/\r\nSet-Cookie: a=b", "https://link.example/é"):
        world.links_at = address
        response = browser.post("/link/company/connection", headers=headers)
        assert (response.status_code, "Set-Cookie" in response.headers) == (404, False)


def test_what_does_not_exist_is_not_found(browser: httpx.Client, world: World) -> None:
    assert browser.get("/other").status_code == 404
    response = browser.get("/explain/nobody/invoices")
    assert (response.status_code, "No company has the id" in response.text) == (404, True)
    company = world.simulation.backend.companies()[0].id
    assert browser.get(f"/explain/{company}/nothing").status_code == 404
    assert browser.get(f"/explain/{company}/balanceSheet").status_code == 200
