"""How the policy names platforms, and which connections that selects."""

from datetime import UTC, datetime

import pytest

from codat_sandbox.platforms import PLATFORMS
from freshness.domain.companies.company import Company, Connection
from freshness.domain.companies.platforms import is_known, most_specific, selects
from freshness.policy.policy import Policy
from tests.builders import a_connection


@pytest.mark.parametrize(
    ("name", "selected"),
    [
        ("Sage 50 (UK & Ireland)", True),
        ("hbql", True),
        ("sage 50 (uk & ireland)", True),
        ("Sage 50", True),
        ("SAGE", True),
        ("Sage 5", False),
        ("Sage 500", False),
        ("HBQL", False),
        ("50", False),
        ("", False),
    ],
)
def test_a_platform_is_selected_by_its_key_its_name_or_the_beginning_of_its_name(name: str, selected: bool) -> None:
    assert selects(name, "Sage 50 (UK & Ireland)", "hbql") is selected


def test_a_beginning_ends_with_a_word() -> None:
    assert not selects("Sage 50", "Sage 500", "zzzz")
    assert not selects("", "Sage 50", "")


def test_the_key_counts_before_a_name_and_a_longer_name_before_a_shorter() -> None:
    assert most_specific(["Sage", "Sage 50", "hbql"], "Sage 50 (UK)", "hbql") == "hbql"
    assert most_specific(["Sage", "Sage 50"], "Sage 50 (UK)", "hbql") == "Sage 50"
    assert most_specific(["Sage 50"], "Sage 500", "zzzz") is None


def connection(platform: str, key: str = "") -> Connection:
    return a_connection("1", datetime(2026, 11, 1, tzinfo=UTC), platform=platform, integration_key=key)


@pytest.mark.parametrize("name", ["Sage 50", "hbql", "sage 50 (uk)"])
def test_rules_windows_prices_caps_and_limits_name_platforms_alike(name: str) -> None:
    policy = Policy.model_validate(
        {
            "default": {"fresh_within": "1 day"},
            "rules": [{"name": "a", "platforms": [name], "fresh_within": "3 days"}],
            "windows": [{"name": "b", "platforms": [name], "never": "02:00 to 03:00"}],
            "prices": {name: "1 USD per refresh"},
            "budget": {"spending": {name: "50 USD a month"}, "refreshes_per_connection": {name: 7}},
        }
    )
    sage, other = connection("Sage 50 (UK)", "hbql"), connection("Sage 500", "zzzz")

    promises = [policy.promise("bills", Company(company_id="1"), each) for each in (sage, other)]
    assert [promise.fresh_within.days for promise in promises] == [3, 1]
    assert [len(promise.windows) for promise in promises] == [1, 0]
    assert [policy.refreshes_a_day(each) for each in (sage, other)] == [7, None]
    assert [policy.capped_as(each) for each in (sage, other)] == [name, None]
    assert [policy.price(each) is None for each in (sage, other)] == [False, True]


def test_a_changed_name_of_a_platform_changes_no_promise_that_names_its_key() -> None:
    tables = {
        "default": {"fresh_within": "1 day"},
        "rules": [{"name": "a", "platforms": ["hbql"], "fresh_within": "3 days"}],
    }
    policy, company = Policy.model_validate(tables), Company(company_id="1")

    for name in ("Sage 50 (UK)", "Sage 50 (UK & Ireland)", "Sage Fifty"):
        assert policy.promise("bills", company, connection(name, "hbql")).fresh_within.days == 3
    assert policy.promise("bills", company, connection("Sage 50 (UK)")).fresh_within.days == 1


@pytest.mark.parametrize(
    ("platform", "key", "is_on_premise"),
    [("Sage 50 (UK)", "", True), ("Sage 500", "", False), ("QuickBooks Desktop", "", True), ("Renamed", "hbql", True)],
)
def test_on_premise_platforms_are_known_by_key_or_name(platform: str, key: str, is_on_premise: bool) -> None:
    assert connection(platform, key).is_on_premise is is_on_premise


def test_the_sandbox_has_platforms_of_codats() -> None:
    assert all(is_known(platform.integration_key) and is_known(platform.name) for platform in PLATFORMS.values())
