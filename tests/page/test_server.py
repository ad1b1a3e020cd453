"""The server of the page: it answers this machine's own browser, and nobody whom another site sends here."""

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from stack_access.page_server import PageServer, serving
from tests.builders import MINUTE
from tests.page.world import World


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


WRITING = (
    "/link/{company}/connection",
    "/refresh",
    "/refresh/{company}/invoices",
    "/pause",
    "/pause/{company}",
    "/resume",
    "/resume/{company}",
)
"""All that changes something, or reads a link that may be valid for a single use."""


@pytest.mark.parametrize("origin", [None, "null", "https://site.example", "http://127.0.0.1", "http://localhost:1"])
@pytest.mark.parametrize("path", WRITING)
def test_no_other_site_can_do_what_a_button_does(
    browser: httpx.Client, world: World, path: str, origin: str | None
) -> None:
    assert (
        browser.post(path.format(company=first(world)), headers={"Origin": origin} if origin else {}).status_code == 403
    )
    assert_nothing_was_done(world)


@pytest.mark.parametrize("path", WRITING)
def test_no_name_that_another_site_points_to_this_machine_can_do_what_a_button_does(
    browser: httpx.Client, server: PageServer, world: World, path: str
) -> None:
    name = f"site.example:{server.server_port}"
    path = path.format(company=first(world))
    for origin, status in ((f"http://{name}", 403), (server.url.rstrip("/"), 404)):
        assert browser.post(path, headers={"Host": name, "Origin": origin}).status_code == status
    assert_nothing_was_done(world)


def test_the_page_itself_can_pause_and_resume(browser: httpx.Client, server: PageServer, world: World) -> None:
    for origin in (server.url.rstrip("/"), f"http://localhost:{server.server_port}"):
        assert browser.post("/pause", headers={"Origin": origin}).status_code == 200
        assert world.queries.pause(world.now())
        assert browser.post("/resume", headers={"Origin": origin}).status_code == 200
        assert_nothing_was_done(world)


def first(world: World) -> str:
    return world.simulation.backend.companies()[0].id


def assert_nothing_was_done(world: World) -> None:
    assert world.links_read == []
    assert world.queries.pause(world.now()) is None
    assert world.queries.paused_companies(world.now()) == []
    assert not any(feed.refresh_requested_at for feed in world.queries.services.tables.feeds.scan())


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
