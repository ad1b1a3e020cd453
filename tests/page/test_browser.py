"""The page in a real browser, while a link lapses and returns and while the quota runs out."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from codat_sandbox.model import ConnectionStatus
from freshness.app.page.read import page_view
from freshness.app.page.render import Frame, Medium, render
from stack_access.page_server import PageServer, serving
from tests.page.browser import chromium, opened, violations
from tests.page.world import HOUR, SETTINGS, World

UPDATE_EVERY = timedelta(milliseconds=100)


class Site:
    """The page of a simulated system, whose time passes in a thread of its own: a browser's test has a loop already."""

    def __init__(self, world: World, server: PageServer, thread: ThreadPoolExecutor) -> None:
        self.world, self.url, self._thread = world, server.url, thread

    def pass_time(self, duration: timedelta, *, every: timedelta = timedelta(minutes=1)) -> None:
        """Let the ticks run for a time."""
        self._thread.submit(lambda: self.world.pass_time(duration, every=every)).result()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A fleet all of whose promises are kept."""
    with ThreadPoolExecutor(1) as thread:
        world = thread.submit(World).result()
        with serving(world, 0, UPDATE_EVERY) as server:
            made = Site(world, server, thread)
            made.pass_time(HOUR / 2)
            yield made
        thread.submit(world.close).result()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    with opened(browser, site.url) as page:
        yield page


@pytest.fixture
def lapsed(site: Site) -> Iterator[str]:
    """The name of a company whose link has lapsed, during a test."""
    name = site.world.set_link(ConnectionStatus.DEAUTHORIZED)
    site.pass_time(HOUR / 4)
    yield name
    site.world.set_link(ConnectionStatus.LINKED)
    site.pass_time(HOUR / 4)


def test_the_verdict_of_a_fleet_whose_promises_are_kept_is_good(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Every promise is kept: 142 data types of 12"))
    expect(page).to_have_title(re.compile("Every promise is kept"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_wrong(page: Page, lapsed: str, scheme: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    expect(page.get_by_role("heading", level=1)).to_contain_text(lapsed)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_click_on_a_cell_opens_the_explanation_of_its_feed(page: Page) -> None:
    row = page.get_by_role("row", name=re.compile("Amber Electrical LLC"))
    row.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("of Amber Electrical LLC, from")
    expect(page.locator("dt").filter(has_text="Next")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("link", name="All companies").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Every promise is kept")


def test_the_page_shows_that_a_link_lapses_and_returns_without_being_loaded_again(page: Page, site: Site) -> None:
    page.evaluate("window.kept = true")
    name = site.world.set_link(ConnectionStatus.DEAUTHORIZED)
    site.pass_time(HOUR / 4)
    verdict = page.get_by_role("heading", level=1)
    expect(verdict).to_contain_text(f"{name} must act, because the link to Xero has lapsed")
    expect(page.locator("#verdict")).to_contain_text("Whose turn")

    site.world.links_at = site.url.replace("127.0.0.1", "localhost") + "authorise/"
    with page.context.expect_page() as following:
        page.get_by_role("button", name=f"Open the link for {name}").click()
    following.value.wait_for_url("**/authorise/*")
    [(company_id, connection_id)] = site.world.links_read
    assert following.value.url == site.world.links_at + connection_id
    assert company_id == site.world.queries.find_company(name).company_id

    site.world.set_link(ConnectionStatus.LINKED)
    site.pass_time(HOUR / 4)
    expect(verdict).to_contain_text("Every promise is kept")
    assert page.evaluate("window.kept")


def test_a_screen_reader_announces_a_new_verdict_and_not_each_update(page: Page, site: Site) -> None:
    section, shown_at = page.locator("#verdict"), page.locator("footer").inner_text()
    site.pass_time(timedelta(minutes=1))
    expect(page.locator("footer")).not_to_have_text(shown_at)
    expect(section).to_have_attribute("aria-live", "off")

    name = site.world.set_link(ConnectionStatus.DEAUTHORIZED)
    page.evaluate(
        """() => new MutationObserver(() => window.announced ??= document.querySelector("#verdict").ariaLive)
        .observe(document.querySelector("#verdict"), {childList: true})"""
    )
    site.pass_time(HOUR / 4)
    expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    assert page.evaluate("window.announced") == "polite"
    site.world.set_link(ConnectionStatus.LINKED)
    site.pass_time(HOUR / 4)


def test_an_update_keeps_the_focus_for_who_uses_the_keyboard(page: Page, site: Site) -> None:
    link = page.get_by_role("row", name=re.compile("Tide Bakery LLC")).get_by_role("link").last
    link.focus()
    shown_at = page.locator("footer").inner_text()
    site.pass_time(HOUR / 4)
    expect(page.locator("footer")).not_to_have_text(shown_at)
    expect(link).to_be_focused()


def test_in_a_file_a_cell_opens_what_the_page_knows_of_the_feed(page: Page, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "freshness.html"
    view = page_view(site.world.queries, site.world.now())
    file.write_text(render(view, Frame(Medium.FILE)), encoding="utf-8")
    page.goto(file.as_uri())
    detail = page.get_by_role("heading", name=re.compile("of Amber Electrical LLC, from"))
    expect(detail).to_have_count(0)
    page.get_by_role("row", name=re.compile("Amber Electrical LLC")).get_by_role("link").first.click()
    expect(detail).to_be_visible()
    assert violations(page) == []


def test_the_page_shows_that_the_quota_is_spent(page: Page, site: Site) -> None:
    backend, clock = site.world.simulation.backend, site.world.simulation.loop.clock
    backend.change_settings(SETTINGS.model_copy(update={"daily_quota": 1}), clock())
    site.pass_time(4 * HOUR, every=timedelta(minutes=5))
    verdict = page.get_by_role("heading", level=1)
    expect(verdict).to_contain_text("Today's quota of calls to Codat is spent until 00:00 UTC, and")
    expect(page.locator("#quota")).to_contain_text("0 of 1 calls left today")
    backend.change_settings(SETTINGS, clock())
    site.pass_time(14 * HOUR, every=timedelta(minutes=5))
    expect(verdict).to_contain_text("Every promise is kept")
