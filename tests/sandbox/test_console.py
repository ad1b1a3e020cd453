"""The sandbox's pages, in a real browser and over HTTP."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from codat_sandbox.console import Action
from codat_sandbox.model import ConnectionStatus
from codat_sandbox.server import RunningSandbox, running_sandbox
from codat_sandbox.settings import Settings
from stack_access.page_server import serving
from tests.builders import MINUTE
from tests.page.browser import chromium, opened, violations
from tests.page.world import World

CONSOLE = "/sandbox/"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    world.pass_time(2 * MINUTE)
    yield world
    world.close()


@pytest.fixture(scope="module")
def browser(world: World) -> Iterator[Browser]:
    # A browser runs an event loop of its own in this thread, while that of the world cannot.
    with chromium() as running:
        yield running


@pytest.fixture
def console(browser: Browser, sandbox: RunningSandbox) -> Iterator[Page]:
    sandbox.do(lambda s: s.backend.change_settings(s.settings.model_copy(update={"links": links(sandbox)}), s.now()))
    with opened(browser, f"{sandbox.base_url}{CONSOLE}") as page:
        yield page


def links(sandbox: RunningSandbox) -> str:
    return f"{sandbox.base_url}/sandbox/link"


def test_a_lapsed_link_is_opened_and_allowed(console: Page, sandbox: RunningSandbox) -> None:
    console.get_by_role("button", name="Revoke access").first.click()
    expect(console.get_by_text("The customer revoked access.")).to_be_visible()
    with console.context.expect_page() as following:
        console.get_by_role("link", name="Open the link").first.click()
    page = following.value
    assert violations(page) == []
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading")).to_contain_text("was not connected")
    assert statuses(sandbox) == {ConnectionStatus.DEAUTHORIZED, ConnectionStatus.LINKED}
    page.go_back()
    page.get_by_role("button", name="Allow access").click()
    expect(page.get_by_role("heading")).to_contain_text("is connected")
    page.close()

    assert statuses(sandbox) == {ConnectionStatus.LINKED}
    expect(console.get_by_role("link", name="Open the link")).to_have_count(0)


def statuses(sandbox: RunningSandbox) -> set[ConnectionStatus]:
    companies = sandbox.do(lambda s: s.backend.companies())
    return {connection.status for company in companies for connection in company.connections}


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light"), (2560, "dark")])
def test_the_console_is_readable_by_everyone(console: Page, width: int, scheme: str) -> None:
    console.set_viewport_size({"width": width, "height": 900})
    console.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    console.get_by_role("button", name="Break Codat for a minute").click()
    expect(console.get_by_text("Codat answers 503 for a minute.")).to_be_visible()

    assert violations(console) == []
    assert console.evaluate("document.documentElement.scrollWidth") == width


@pytest.fixture
def page(sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    """A browser that runs no script."""
    with httpx.Client(base_url=sandbox.base_url, follow_redirects=True, trust_env=False) as client:
        yield client


def test_every_action_is_done_or_says_why_not(page: httpx.Client, sandbox: RunningSandbox) -> None:
    company = next(each for each in sandbox.do(lambda s: s.backend.companies()) if each.connections)
    form = {"company": company.id, "connection": company.connections[0].id, "data_type": "invoices"}
    for action in Action:
        shown = page.post(CONSOLE, data={**form, "action": action, "ends_in": "FetchError"})
        assert shown.status_code == 200
        assert "Not done" not in shown.text or action is Action.READ, action  # which follows "unlink"
    for wrong in ({"action": "none"}, {"action": "lapse"}, {**form, "action": "read", "ends_in": "Never"}):
        assert "Not done" in page.post(CONSOLE, data=wrong).text


def test_what_others_wrote_is_escaped(page: httpx.Client, sandbox: RunningSandbox) -> None:
    [first, *_] = sandbox.do(lambda s: s.backend.companies())
    sandbox.do(lambda s: s.backend._store.put(replace(first, name="<script>alert(1)</script>")))

    assert "<script>alert" not in page.get(CONSOLE, params={"notice": "<script>alert(2)", "find": "<script>"}).text


def test_no_other_site_presses_a_button(page: httpx.Client) -> None:
    assert page.post(CONSOLE, data={"action": "break"}, headers={"Origin": "https://site.example"}).status_code == 403
    assert page.get("/sandbox/link/companies/none/connections/none/start").status_code == 404


def test_a_thousand_companies_are_found_by_name() -> None:
    with running_sandbox(Settings(companies=300)) as sandbox, httpx.Client(trust_env=False) as page:
        name = sandbox.do(lambda s: s.backend.companies()[-1]).name
        everything = page.get(f"{sandbox.base_url}{CONSOLE}").text
        found = page.get(f"{sandbox.base_url}{CONSOLE}", params={"find": name}).text

    assert "240 more companies" in everything
    assert f"<h2>{name}</h2>" in found
    assert len(found) < len(everything) / 10


def test_the_console_is_on_the_page_of_a_local_run(browser: Browser, world: World, sandbox: RunningSandbox) -> None:
    with (
        serving(world, 0, timedelta(seconds=1), f"{sandbox.base_url}{CONSOLE}") as server,
        opened(browser, server.url) as page,
    ):
        assert violations(page) == []
        page.get_by_text("Make something go wrong at Codat").click()
        console = page.frame_locator("iframe.console")
        console.get_by_role("button", name="Revoke access").first.click()
        expect(console.get_by_text("The customer revoked access.")).to_be_visible()
        with page.expect_response(server.url):  # the page updates itself, and does not load the console again
            pass
        expect(console.get_by_text("The customer revoked access.")).to_be_visible()

    assert ConnectionStatus.DEAUTHORIZED in statuses(sandbox)
