"""The page of the deployed stack in a real browser, as `make run` serves it."""

import base64
import os
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from local.settings import ROOT, Settings
from local.stack import RunningStack
from local.watch import running_ticks
from tests.page.browser import chromium, opened, violations

SOON = 120_000
"""Milliseconds within which a few ticks have run and the page has updated itself."""
EVERYTHING = 300_000
"""Milliseconds within which every feed was read, also one whose first read failed."""
KEPT = re.compile("^Every promise is kept")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def codat(stack: RunningStack) -> Iterator[httpx.Client]:
    """The sandbox, in which nothing keeps data from being read any more."""
    authorization = "Basic " + base64.b64encode(stack.codat.api_key.encode()).decode()
    with httpx.Client(base_url=stack.codat.base_url, headers={"Authorization": authorization}) as http:
        feeds = http.get("/sandbox/state").json()["feeds"]
        for company_id, connection_id in {(each["companyId"], each["connectionId"]) for each in feeds}:
            # Permissions return with a new link.
            for status in ("Deauthorized", "Linked"):
                change = {"status": status, "machineOnline": True}
                path = f"/sandbox/companies/{company_id}/connections/{connection_id}"
                http.patch(path, json=change).raise_for_status()
        yield http


@pytest.fixture
def page(browser: Browser, stack: RunningStack, codat: httpx.Client) -> Iterator[Page]:
    """The page, once every promise is kept."""
    with running_ticks(stack.deployed), opened(browser, stack.page_url) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text(KEPT, timeout=EVERYTHING)
        yield page


@pytest.fixture
def connection(codat: httpx.Client, stack: RunningStack) -> dict[str, Any]:
    """A feed of a connection that is linked."""
    known = {(feed.company_id, feed.connection_id) for feed in stack.tables.feeds.scan()}
    feeds = codat.get("/sandbox/state").json()["feeds"]
    linked = (each for each in feeds if each["connectionStatus"] == "Linked" and each["obstacle"] is None)
    return next(each for each in linked if (each["companyId"], each["connectionId"]) in known)


def test_the_page_shows_that_a_link_lapses_and_returns_and_opens_what_is_clicked(
    page: Page, codat: httpx.Client, connection: dict[str, Any]
) -> None:
    path = f"/sandbox/companies/{connection['companyId']}/connections/{connection['connectionId']}"
    name, platform = connection["companyName"], connection["platformName"]
    verdict = page.get_by_role("heading", level=1)

    codat.patch(path, json={"status": "Deauthorized"}).raise_for_status()
    expected = f"{name} must act, because the link to {platform} has lapsed, but every promise is still kept."
    expect(verdict).to_have_text(expected, timeout=SOON)
    assert violations(page) == []
    # The address is not of this machine.
    page.context.route("https://link-api.codat.io/**", lambda route: route.fulfill(body="Authorise"))
    with page.context.expect_page() as following:
        page.get_by_role("button", name=f"Open the link for {name}").click()
    following.value.wait_for_url(f"**/companies/{connection['companyId']}/connections/{connection['connectionId']}/**")

    page.get_by_role("row", name=re.compile(re.escape(name))).get_by_role("link").first.click()
    expect(verdict).to_contain_text(f"of {name}, from")
    expect(page.locator("dt").filter(has_text="Next")).to_be_visible()
    page.get_by_role("link", name="All companies").click()

    codat.patch(path, json={"status": "Linked"}).raise_for_status()
    expect(verdict).to_have_text(KEPT, timeout=SOON)


def test_the_page_shows_that_the_quota_runs_out(
    page: Page, codat: httpx.Client, stack: RunningStack, settings: Settings, connection: dict[str, Any]
) -> None:
    codat.patch("/sandbox/settings", json={"daily_quota": 0}).raise_for_status()
    try:
        command = [ROOT / "freshness", "--local", "refresh", connection["companyId"]]
        subprocess.run(command, env={**os.environ, "LOCAL_FOLDER": str(settings.local_folder)}, check=False)
        verdict = page.get_by_role("heading", level=1)
        expect(verdict).to_contain_text("Today's quota of calls to Codat is spent until 00:00 UTC", timeout=SOON)
        expect(page.locator("#verdict")).to_contain_text("Wait until 00:00 UTC, when Codat grants new calls.")
    finally:
        codat.patch("/sandbox/settings", json={"daily_quota": None}).raise_for_status()
        # The ticks would respect the written limits until midnight.
        boto3.client("dynamodb").delete_item(TableName=stack.outputs.control_table, Key={"name": {"S": "api limits"}})
    expect(verdict).to_have_text(KEPT, timeout=SOON)
