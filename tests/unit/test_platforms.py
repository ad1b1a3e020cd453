"""How the policy names platforms, and names in it that select nothing."""

from dataclasses import replace
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cli.doctor import selections
from codat_sandbox.platforms import PLATFORMS
from freshness.domain.companies.company import Company, Connection
from freshness.domain.companies.platforms import is_known, most_specific, selects
from freshness.policy.loader import load
from freshness.policy.policy import Policy
from freshness.policy.unmatched import unmatched, warnings
from local.run import print_unmatched
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


ID = "7e1b7e0c-6a0e-4a39-b0a6-1e1a4b0f6c55"
OTHER_ID = "0498e921-9b53-4396-a412-4f2f5983b0a2"
XERO = a_connection("1", datetime(2026, 11, 1, tzinfo=UTC), integration_key="gbol")
COMPANY = Company(company_id=ID, tags={"plan": "free"}, products=("credit-model",), connections={"1": XERO})
RULE = "[[rules]]\nname = 'a'\nfresh_within = '2 days'\n"


def policy_of(folder: Path, text: str) -> Policy:
    path = folder / "freshness.toml"
    path.write_text('[default]\nfresh_within = "1 day"\n' + text)
    return load(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            RULE + "platforms = ['Xerro']",
            "rule \"a\" (freshness.toml:3): no connection is to 'Xerro'; did you mean 'Xero'?",
        ),
        (RULE + "platforms = ['xero', 'Wave']", "no connection is to 'Wave'"),
        (RULE + "tags = { plann = 'free' }", "no company has a tag 'plann'; did you mean 'plan'?"),
        (RULE + "tags = { plan = 'Free' }", "no company is tagged plan = 'Free'; did you mean 'free'?"),
        (RULE + f"groups = ['{OTHER_ID}']", f"no company is or belongs to {OTHER_ID}"),
        (RULE + f"companies = ['{OTHER_ID}']", f"there is no company {OTHER_ID}"),
        ("[[windows]]\nname = 'w'\nnever = '02:00 to 03:00'\nplatforms = ['Wave']", 'window "w" (freshness.toml:3)'),
        (
            "[[deadlines]]\nname = 'd'\nby = '08:00'\nfresh_within = '2 hours'\ntags = { plan = 'paid' }",
            'deadline "d" (freshness.toml:3): no company is tagged plan',
        ),
        (
            "[prices]\nZero = '1 USD per refresh'",
            "[prices] (freshness.toml:4): no connection is to 'Zero'; did you mean 'Xero'?",
        ),
        ("[budget.refreshes_per_connection]\nWave = 9", "[budget.refreshes_per_connection] (freshness.toml:4)"),
        (
            "[prices]\nWave = '1 USD per refresh'\n[budget.spending]\nWave = '90 USD a month'",
            "[budget.spending] (freshness.toml:6): no connection is to 'Wave'",
        ),
        ("[products.credit]\ndata_types = ['bills']", "no company has this product; did you mean 'credit-model'?"),
        (
            "[[sets]]\nname = 's'\nwithin = '1 hour'\ndata_types = ['bills', 'invoices']\ntags = { team = 'x' }",
            'set "s" (freshness.toml:3): no company has a tag',
        ),
    ],
)
def test_a_name_that_selects_nothing_is_found(tmp_path: Path, text: str, found: str) -> None:
    policy = policy_of(tmp_path, text)
    assert any(found in each for each in unmatched(policy, [COMPANY]))
    finding = selections([COMPANY], policy)
    assert found in finding.found
    assert finding.to_do


def test_criteria_that_are_met_by_no_connection_together_are_found(tmp_path: Path) -> None:
    shop = replace(XERO, connection_id="2", platform="Shopify", integration_key="fztf")
    other = Company(company_id=OTHER_ID, tags={"plan": "paid"}, connections={"2": shop})
    policy = policy_of(tmp_path, RULE + "platforms = ['Shopify']\ntags = { plan = 'free' }")
    [found] = unmatched(policy, [COMPANY, other])
    assert found.endswith("no connection matches all of its criteria")


def test_what_matches_is_not_found_and_nothing_is_where_no_company_is_known(tmp_path: Path) -> None:
    policy = policy_of(
        tmp_path,
        RULE
        + f"platforms = ['gbol', 'XERO']\ntags = {{ plan = 'free' }}\ngroups = ['{ID}']\n"
        + "[products.credit-model]\ndata_types = ['bills']\n[prices]\nXero = '1 USD per refresh'",
    )

    assert list(unmatched(policy, [COMPANY])) == []
    assert not selections([COMPANY], policy).to_do
    assert list(unmatched(policy_of(tmp_path, RULE + "platforms = ['Xerro']"), [])) == []


def test_a_deleted_company_or_connection_is_not_known(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, RULE + "platforms = ['Xero']")
    shop = replace(XERO, connection_id="2", platform="Shopify", integration_key="fztf")
    gone = replace(COMPANY, connections={"1": replace(XERO, status="Deleted"), "2": shop})
    assert len(list(unmatched(policy, [gone]))) == 1
    other = replace(COMPANY, company_id=OTHER_ID, connections={"2": shop})
    assert len(list(unmatched(policy, [replace(COMPANY, deleted_at=XERO.status_at), other]))) == 1


@pytest.mark.parametrize(
    ("name", "warning"),
    [("Sage 50", ""), ("hbql", ""), ("xero", ""), ("Sage 50 (UK & Ireland)", ""), ("Xerro", "did you mean 'Xero'?")],
)
def test_a_platform_that_is_in_no_list_of_codats_is_warned_of(tmp_path: Path, name: str, warning: str) -> None:
    warned = list(warnings(policy_of(tmp_path, RULE + f"platforms = ['{name}']"), date(2026, 12, 25)))
    assert [warning in each for each in warned] == [True] * bool(warning)


def test_a_date_that_is_past_is_warned_of(tmp_path: Path) -> None:
    close = "[[windows]]\nname = 'close'\nnever = '08:00 to 24:00'\ndays = [2026-12-24, '2026-12-25']"
    assert list(warnings(policy_of(tmp_path, close), date(2026, 12, 25))) == [
        'window "close" (freshness.toml:3): 2026-12-24 is past'
    ]


def test_the_summary_of_a_local_run_names_them(tmp_path: Path) -> None:
    console = Console(record=True, file=StringIO(), width=200)
    print_unmatched(console, policy_of(tmp_path, RULE + "platforms = ['Xerro']"), [COMPANY])
    assert "Matches nothing: rule \"a\" (freshness.toml:3): no connection is to 'Xerro'" in console.export_text()
