"""Names in the policy that select nothing are found, with the nearest known name."""

from dataclasses import replace
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cli.doctor import selections
from freshness.domain.companies.company import Company
from freshness.policy.loader import load
from freshness.policy.policy import Policy
from freshness.policy.unmatched import unmatched, warnings
from local.run import print_unmatched
from tests.builders import a_connection

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
