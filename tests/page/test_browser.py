"""The page in a real browser, while a link lapses and returns and while the quota runs out."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from codat_sandbox.model import ConnectionStatus
from freshness.app.page.read import page_view
from freshness.app.page.render import Frame, Medium, render
from stack_access.page_server import PageServer, serving
from tests.builders import HOUR
from tests.page.browser import chromium, opened, violations
from tests.page.world import SETTINGS, World
from tests.unit.test_any_page import any_view

UPDATE_EVERY = timedelta(milliseconds=300)
OF_COLOURS = ("color-contrast", "link-in-text-block")
"""The rules of axe whose results depend on the colour scheme."""


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


def test_the_table_is_one_tab_stop_within_which_arrow_keys_move(page: Page, site: Site) -> None:
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the table of companies")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    links = page.get_by_role("grid").get_by_role("gridcell").get_by_role("link")
    expect(links.first).to_be_focused()
    page.keyboard.press("Control+End")
    expect(links.last).to_be_focused()
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowRight")
    expect(links.nth(1)).to_be_focused()
    column = links.nth(1).evaluate("it => it.closest('td').cellIndex")
    page.keyboard.press("ArrowDown")
    expect(links.nth(1)).not_to_be_focused()
    assert page.evaluate("document.activeElement.closest('td').cellIndex") == column
    path = page.evaluate("document.activeElement.getAttribute('href')")
    below = page.locator(f".matrix a[href='{path}']")

    shown_at = page.locator("footer").inner_text()
    site.pass_time(HOUR / 4)
    expect(page.locator("footer")).not_to_have_text(shown_at)
    expect(below).to_be_focused()
    assert page.locator(".matrix a[tabindex='0']").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.matrix')") is None


def test_a_reader_searches_and_filters_and_what_is_typed_stays_while_sections_come_and_go(
    page: Page, site: Site, lapsed: str
) -> None:
    rows = page.locator(".matrix tbody tr")
    page.locator("#turns").get_by_role("link", name="a customer").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(lapsed)
    expect(page.get_by_label("Waits for")).to_have_value("customer")
    assert violations(page) == []

    page.get_by_role("link", name="Show all").click()
    expect(rows).to_have_count(12)
    field = page.get_by_label("Company", exact=True)
    field.fill("tide b")
    site.world.set_link(ConnectionStatus.LINKED)
    site.pass_time(HOUR / 4)
    expect(page.locator("#people")).to_have_count(0)
    expect(field).to_have_value("tide b")
    field.press("Enter")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Tide Bakery LLC")


def test_a_button_refreshes_what_is_shown(page: Page, site: Site) -> None:
    page.get_by_role("row", name=re.compile("Amber Electrical LLC")).get_by_role("link").first.click()
    page.get_by_role("button", name="Refresh it now").click()
    expect(page.locator("main")).to_contain_text("requested, and queued by the next tick")
    assert violations(page) == []
    company = site.world.queries.find_company("Amber Electrical LLC")
    assert any(feed.refresh_requested_at for feed in site.world.queries.find_feeds(company))


def test_a_pause_of_all_and_of_a_company_has_a_reason_and_an_end_and_ends_when_it_is_resumed(
    page: Page, site: Site
) -> None:
    page.get_by_label("Pause everything for").select_option("an hour")
    page.get_by_label("because").fill("Xero migrates")
    page.get_by_role("button", name="Pause").click()
    until = site.world.now() + HOUR
    expect(page.locator("h1")).to_have_text(f"Everything is paused until {until:%Y-%m-%d %H:%M} UTC (Xero migrates).")
    page.get_by_role("link", name="All companies").click()
    expect(page.locator("h1")).to_contain_text("(Xero migrates)")
    assert violations(page) == []
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("h1")).to_have_text("Everything is resumed.")
    assert site.world.queries.pause(site.world.now()) is None

    page.get_by_role("link", name="All companies").click()
    page.get_by_role("row", name=re.compile("Amber Electrical LLC")).get_by_role("link").first.click()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("h1")).to_have_text("Amber Electrical LLC is paused.")
    page.go_back()
    page.reload()
    page.get_by_role("button", name="Resume").click()
    assert site.world.queries.find_company("Amber Electrical LLC").pause is None


def test_all_columns_fit_on_a_large_screen_and_axe_finds_nothing_wrong_with_many_of_everything(
    browser: Browser, tmp_path: Path
) -> None:
    view = any_view(["Tide Veterinary Pty Ltd"], 200, 43, 30, 200, 12, 3)
    types = {each: f"commerce-data{number}" for number, each in enumerate(view.data_types)}
    rows = [replace(row, cells={types[name]: cells for name, cells in row.cells.items()}) for row in view.rows]
    file = tmp_path / "freshness.html"
    html = render(replace(view, data_types=tuple(types.values()), rows=tuple(rows)), Frame(Medium.FILE))
    file.write_text(html, encoding="utf-8")
    with opened(browser, file.as_uri()) as page:
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 2560, "height": 1300})
        assert page.locator("#matrix .scroll").evaluate("it => it.scrollWidth - it.clientWidth") == 0
        assert violations(page) == []
        page.emulate_media(color_scheme="dark")
        assert violations(page, rules=OF_COLOURS) == []


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
    site.pass_time(4 * HOUR, every=timedelta(minutes=10))
    verdict = page.get_by_role("heading", level=1)
    expect(verdict).to_contain_text("Today's quota of calls to Codat is spent until 00:00 UTC, and")
    expect(page.locator("#quota")).to_contain_text("0 of 1 calls left today")
    backend.change_settings(SETTINGS, clock())
    site.pass_time(14 * HOUR, every=timedelta(minutes=10))
    expect(verdict).to_contain_text("Every promise is kept")
