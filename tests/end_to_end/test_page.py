"""The page of the deployed stack in a real browser, as `make run` serves it.

Some promises of the sandbox's companies are broken at first: a link has lapsed, a machine is offline, permissions are
missing, or a window of the policy is closed. The tests let all of that be solved, and look at the page meanwhile.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from freshness.planning.decision import Reason
from local.stack import RunningStack
from local.watch import running_ticks
from stack_access.stack import clock
from tests.end_to_end.conftest import Sandbox, wait_for
from tests.page.browser import chromium, opened, violations

KEPT = re.compile("^Every promise is kept")


@dataclass(frozen=True, slots=True)
class Connection:
    company_id: str
    connection_id: str
    company_name: str
    platform: str


def obstructed(sandbox: Sandbox, obstacle: str) -> Connection:
    """Return the first connection with an obstacle."""
    return next(
        Connection(each["companyId"], each["connectionId"], each["companyName"], each["platformName"])
        for each in sandbox.http.get("/sandbox/state").json()["feeds"]
        if obstacle in (each["obstacle"] or "")
    )


def change(sandbox: Sandbox, connection: Connection, **change: object) -> None:
    path = f"/sandbox/companies/{connection.company_id}/connections/{connection.connection_id}"
    sandbox.http.patch(path, json=change).raise_for_status()


def relink(sandbox: Sandbox, connection: Connection) -> None:
    """Authorise a connection again, while no read with the earlier authorisation is running."""

    def is_idle() -> bool:
        feeds = sandbox.http.get("/sandbox/state").json()["feeds"]
        return not any(each["isRunning"] for each in feeds if each["connectionId"] == connection.connection_id)

    wait_for(is_idle)
    for status in ("Deauthorized", "Linked"):
        change(sandbox, connection, status=status)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def page(browser: Browser, stack: RunningStack) -> Iterator[Page]:
    with running_ticks(stack.deployed), opened(browser, stack.page_url) as page:
        yield page


@pytest.fixture(scope="module")
def lapsed(sandbox: Sandbox) -> Iterator[Connection]:
    """A connection whose link has lapsed at first."""
    connection = obstructed(sandbox, "Deauthorized")
    yield connection
    change(sandbox, connection, status="Deauthorized")


def verdict(page: Page) -> Locator:
    return page.get_by_role("heading", level=1)


def test_the_page_says_which_customer_must_act_and_opens_the_link_after_which_data_is_read_again(
    page: Page, stack: RunningStack, lapsed: Connection
) -> None:
    expect(page.locator("#people")).to_contain_text(lapsed.company_name)
    expect(verdict(page)).to_contain_text("broken")
    expect(page.locator("#verdict")).to_contain_text("Send the customer the link (on the page under Needs a person")
    link = page.get_by_role("button", name=f"Open the link for {lapsed.company_name}")
    with page.context.expect_page() as following:
        link.click()
    expect(verdict(following.value)).to_have_text(f"Connect {lapsed.platform}")
    allowed_at = clock()
    following.value.get_by_role("button", name="Allow access").click()
    expect(verdict(following.value)).to_have_text(f"{lapsed.platform} is connected.")
    following.value.close()
    expect(link).to_have_count(0)

    def is_read_again() -> bool:
        company = stack.queries.find_company(lapsed.company_id)
        reads = [
            each.succeeded_at
            for each in stack.queries.find_feeds(company)
            if each.connection_id == lapsed.connection_id
        ]
        is_linked = company.connections[lapsed.connection_id].is_linked
        return is_linked and any(read_at and read_at > allowed_at for read_at in reads)

    wait_for(is_read_again)


def test_what_the_console_of_the_sandbox_does_is_shown_by_the_page(
    browser: Browser, stack: RunningStack, page: Page, lapsed: Connection
) -> None:
    with opened(browser, stack.page_url) as other:
        other.get_by_text("Make something go wrong at Codat").click()
        console = other.frame_locator("iframe.console")
        console.get_by_role("button", name=f"Revoke access: {lapsed.company_name}, {lapsed.platform}").first.click()
        expect(console.get_by_text("The customer revoked access.")).to_be_visible()
        link = page.get_by_role("button", name=f"Open the link for {lapsed.company_name}")
        expect(link).to_have_count(1)


@pytest.fixture(scope="module")
def kept(page: Page, stack: RunningStack, sandbox: Sandbox, lapsed: Connection) -> Iterator[Page]:
    """The page once everything that keeps a promise broken is solved."""
    offline, refused = obstructed(sandbox, "the machine is offline"), obstructed(sandbox, "may not read this data type")
    for connection in (lapsed, refused):
        relink(sandbox, connection)
    change(sandbox, offline, machineOnline=True)

    def settled() -> bool:
        for view in stack.queries.fleet(clock()).feeds:
            if view.next_reason == Reason.OUTSIDE_WINDOW and not view.keeps_promise:
                company = stack.queries.find_company(view.company_id)
                feeds = stack.queries.find_feeds(company, [view.data_type])
                stack.deployed.operations.request_refreshes(company, feeds)
        return KEPT.match(verdict(page).inner_text()) is not None

    wait_for(settled)
    yield page
    change(sandbox, offline, machineOnline=False)


def test_the_page_shows_that_a_link_lapses_and_returns_and_opens_what_is_clicked(
    kept: Page, sandbox: Sandbox, lapsed: Connection
) -> None:
    page = kept
    page.evaluate("window.kept = true")
    change(sandbox, lapsed, status="Deauthorized")
    why = f"the link to {lapsed.platform} has lapsed"
    must_act = f"{lapsed.company_name} must act, because {why}, but every promise is still kept."
    expect(verdict(page)).to_have_text(must_act)
    assert page.evaluate("window.kept"), "the page was loaded again"
    assert violations(page) == []

    page.get_by_role("row", name=re.compile(re.escape(lapsed.company_name))).get_by_role("link").first.click()
    expect(verdict(page)).to_contain_text(f"of {lapsed.company_name}, from")
    expect(page.locator("dt").filter(has_text="Next")).to_be_visible()
    page.get_by_role("link", name="All companies").click()
    expect(verdict(page)).to_have_text(must_act)

    change(sandbox, lapsed, status="Linked")
    expect(verdict(page)).to_have_text(KEPT)


def test_the_page_shows_that_the_quota_runs_out_and_returns(
    kept: Page, sandbox: Sandbox, stack: RunningStack, lapsed: Connection
) -> None:
    page, company = kept, stack.queries.find_company(lapsed.company_id)
    with sandbox.with_quota(stack, 1):
        stack.deployed.operations.request_refreshes(company, stack.queries.find_feeds(company))
        spent = "Today's quota of calls to Codat is spent until 00:00 UTC, but every promise is still kept."
        expect(verdict(page)).to_have_text(spent)
        expect(page.locator("#verdict")).to_contain_text("Wait until 00:00 UTC, when Codat grants new calls.")
    expect(verdict(page)).to_have_text(KEPT)
