"""The widget of the dashboard: one function shows the page, and another does what its buttons ask for."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import act_on_page
import show_page
from freshness.app import services
from freshness.app.page import read, refresh
from freshness.app.page.read import page_view
from freshness.app.page.view import PageView, Selection
from freshness.app.reading.queries import Queries
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import Pause
from freshness.policy.loader import load
from local.http_api import context
from tests.integration.deployed import Deployed
from tests.integration.roles import Permission, allowed


def shown(deployed: Deployed, **event: Any) -> str:
    """Return what the widget shows for an event, on a dashboard with the dark theme."""
    page: str = show_page.handler(event | {"widgetContext": {"theme": "dark"}}, context())
    return page


def acted(**event: Any) -> str:
    """Return what is shown after a button was pressed."""
    html: str = act_on_page.handler(event, context())
    return html


@pytest.fixture(autouse=True)
def _acting_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACT_ON_PAGE_FUNCTION", "the function for buttons")


def make_stale(deployed: Deployed) -> None:
    """Let all promises break of companies whose data was read before."""
    deployed.check()
    deployed.queue()
    deployed.ahead += timedelta(days=8)
    deployed.queue(timedelta(seconds=20))


def let_link_lapse(deployed: Deployed) -> tuple[Company, str]:
    """Let the link of a company lapse, and return the company and the connection's id."""
    company, connection_id = deployed.linked()
    deployed.deauthorize(company.company_id, connection_id)
    deployed.check()
    return deployed.tables.companies.get(company.company_id) or company, connection_id


def let_less_be_promised_meanwhile(deployed: Deployed, patch: pytest.MonkeyPatch, policy: Path) -> None:
    """Let companies get a tag by which less is promised, after it was read which promises are broken.

    Promises are then kept again without a refresh, which whoever sees it first publishes.
    """
    rule = '[[rules]]\nname = "lax"\ntags = { plan = "lax" }\nfresh_within = "30 days"\n'
    policy.write_text(f'[default]\nfresh_within = "1 day"\n{rule}')
    patch.setattr(deployed, "policy", load(policy))
    tagged = [replace(each, tags={"plan": "lax"}) for each in deployed.tables.companies.scan()]

    def read_before(queries: Queries, now: datetime, selection: Selection) -> PageView:
        view = page_view(queries, now, selection)
        with ThreadPoolExecutor() as other_functions:
            list(other_functions.map(deployed.tables.companies.put, tagged))
        return view

    patch.setattr(refresh, "page_view", read_before)


def test_the_widget_describes_itself_without_reading_anything(deployed: Deployed) -> None:
    assert shown(deployed, describe=True).startswith("## Codat Freshness")
    assert deployed.roles.used == set()
    assert "No company with data has been found" in shown(deployed)
    assert "There is no company nobody any more." in shown(deployed, explain="nobody", dataType="invoices")


def unused(deployed: Deployed, function: str) -> set[Permission]:
    """Return what the role of a function allows it and it did not need."""
    used = {permission for of, permission in deployed.roles.used if of == function}
    return {permission for permission in allowed(function) if not permission[0].startswith("logs:")} - used


def test_the_role_of_the_page_allows_what_it_shows_and_nothing_else(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_stale(deployed)
    company, connection_id = let_link_lapse(deployed)
    services._kept_keys.cache_clear()

    html = shown(deployed)
    assert '<div class="cf" data-theme="dark">' in html
    assert f"<strong>{company.name}</strong>: the link to" in html
    actions = [each for each in html.split("<cwdb-action")[1:] if '{"refresh"' in each or '{"pause"' in each]
    assert len(actions) == 2
    assert all('endpoint="the function for buttons" confirmation="' in each for each in actions)
    with monkeypatch.context() as patch:
        patch.setattr(read, "COMPANIES", 1)
        assert "3 others" in shown(deployed)

    link = shown(deployed, link=company.company_id, connection=connection_id)
    assert f"{company.name} authorises" in link
    assert 'href="http' in link
    data_type = deployed.tables.feeds.of_company(company.company_id)[0].data_type
    assert f"{data_type} of {company.name}" in shown(deployed, explain=company.company_id, dataType=data_type)

    assert unused(deployed, "ShowPage") == set()
    assert deployed.roles.refused == set()


def test_who_may_only_see_the_page_cannot_pause_or_refresh(deployed: Deployed) -> None:
    make_stale(deployed)
    for request in ({"pause": True}, {"refresh": True}):
        shown(deployed, **request)
    assert not deployed.tables.control.paused()
    assert not [feed for feed in deployed.tables.feeds.scan() if feed.refresh_requested_at]


def test_the_role_of_the_buttons_allows_what_they_do_and_nothing_else(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_stale(deployed)
    company, _ = let_link_lapse(deployed)
    with monkeypatch.context() as patch:
        patch.setattr(read, "COMPANIES", 1)
        acted(refresh=True)

    deployed.tables.companies.put(replace(company, pause=Pause()))
    assert "refreshes are requested, which the next tick queues" in acted(refresh=True)
    requested = {feed.company_id for feed in deployed.tables.feeds.scan() if feed.refresh_requested_at}
    assert requested
    assert company.company_id not in requested
    with monkeypatch.context() as patch:
        let_less_be_promised_meanwhile(deployed, patch, tmp_path / "policy.toml")
        acted(refresh=True)
    assert "Everything is paused" in acted(pause=True)
    assert "Everything is paused. Resume it" in acted(refresh=True)
    assert "Refreshes are resumed" in acted(pause=False)
    assert not deployed.tables.control.paused()

    assert unused(deployed, "ActOnPage") == set()
    assert deployed.roles.refused == set()
