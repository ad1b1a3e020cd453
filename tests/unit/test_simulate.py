"""The output of `make simulate`."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner, Result

from estimate.days import Report, run
from freshness.policy.loader import load
from simulate.__main__ import START, application
from simulate.fleet import generate_fleet
from simulate.tighter import tighten

POLICY = """
[default]
fresh_within = "6 hours"
[data_types.invoices]
fresh_within = "3 hours"
[[rules]]
name = "free"
tags.plan = "free"
fresh_within = "1 day"
[[windows]]
name = "night"
never = "01:00 to 02:00"
[[sets]]
name = "statements"
data_types = ["balanceSheet", "profitAndLoss"]
within = "1 hour"
"""
EXPORTED = {
    "companyId": "c",
    "companyName": "Acme",
    "dataType": "invoices",
    "connectionId": "x",
    "platform": "Xero",
    "sourceType": "Accounting",
    "state": "fresh",
    "tags": {"plan": "free"},
    "succeededAt": "2026-11-20T10:00:00Z",
    "syncs": [{"endedAt": "2026-11-20T10:00:00Z", "recordsModified": True, "took": 12.5}],
}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "freshness.toml"
    path.write_text(POLICY)
    return path


def simulated(policy: Path, *arguments: str, draws: bool = False, columns: int = 200) -> Result:
    """Return what is printed. To import what draws a chart takes a second, and so does drawing it."""
    common = ("--policy", str(policy), "--companies", "4", "--days", "1", "--chart", str(policy.parent / "chart.png"))
    with pytest.MonkeyPatch.context() as patch:
        if not draws:
            patch.setitem(sys.modules, "simulate.chart", cast(Any, SimpleNamespace(draw=lambda *_: None)))
        return CliRunner().invoke(application, [*common, *arguments], env={"COLUMNS": str(columns)})


def report(policy: Path, change: str = "", companies: int = 3) -> Report:
    loaded = load(policy)
    return run(
        generate_fleet(companies, 4.0, 1, START),
        tighten(loaded, change) if change else loaded,
        START,
        1,
        on_day=lambda: None,
    )


def test_the_tables_are_printed_and_the_chart_is_written(policy: Path) -> None:
    result = simulated(policy, "--tighter", "invoices=1 hour", "--companies", "9", draws=True)
    assert result.exit_code == 0, result.output
    for shown in ("[data_types.invoices] (freshness.toml:4)", 'rule "free" (freshness.toml:6)', "invoices=1 hour"):
        assert shown in result.output
    assert (policy.parent / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_what_holds_on_none_of_the_days_simulated_is_named_with_the_next_day_on_which_it_does(policy: Path) -> None:
    close = "[[deadlines]]\nname = 'close'\nby = '08:00'\nfresh_within = '2 hours'\ndays = ['month end']\n"
    policy.write_text(POLICY + close + close.replace("close", "new year").replace("month end", "1st"))
    assert 'deadline "close" holds on none of the days simulated: it does on 2026-11-30, with --days 7' in simulated(
        policy
    ).output.replace("\n", " ")
    assert "holds on none" not in simulated(policy, "--days", "8", "--companies", "1").output


def test_the_tables_fit_into_80_columns_and_are_printed_even_if_the_chart_cannot_be_written(policy: Path) -> None:
    result = simulated(policy, "--chart", "/nowhere/chart.png", draws=True, columns=80)
    assert result.exit_code == 1
    assert "/nowhere/chart.png: cannot write the chart: No such file" in " ".join(result.output.split())
    words = set(result.output.split())
    assert {"found", "nothing", "refreshes", "AWS,", "month"} <= words
    assert max(len(line) for line in result.output.splitlines()) <= 80


def test_promises_within_the_budget_are_kept_and_a_tighter_promise_takes_more_calls(policy: Path) -> None:
    loose, tight = report(policy), report(policy, "invoices=2 hours")
    assert loose.total.attained.share == tight.total.attained.share == 1
    assert tight.calls[0] > loose.calls[0]
    assert tight.total.current_days > loose.total.current_days
    assert report(policy) == loose


def test_a_cap_on_spending_is_kept_and_what_each_rule_costs_is_shown(policy: Path) -> None:
    platforms = {each.connection.platform for each in generate_fleet(3, 4.0, 1, START)}
    prices = "".join(f'"{name}" = "0.01 USD per refresh"\n' for name in sorted(platforms))
    policy.write_text(f"{POLICY}\n[prices]\n{prices}")
    free = report(policy)
    policy.write_text(f'{POLICY}\n[prices]\n{prices}[budget.spending]\nXero = "2.30 USD a month"\n')

    capped, shown = report(policy), simulated(policy)

    assert 0 < free.total.cost_of_nothing <= free.total.cost == pytest.approx(0.01 * free.total.refreshes)
    assert capped.total.cost < free.total.cost
    assert "Charges of the platforms" in shown.output


def test_each_rule_with_hours_and_each_deadline_has_a_row_with_those_missed_or_a_hint(policy: Path) -> None:
    hours = "[[rules]]\nname = '{}'\nhours = '{}'\ndays = ['{}']\nfresh_within = '1 hour'\n"
    policy.write_text(
        POLICY
        + hours.format("daytime", "08:00 to 18:00", "Tuesday")
        + hours.format("on Sundays", "08:00 to 18:00", "Sunday")
        + hours.format("of nobody", "08:00 to 18:00", "Tuesday").replace("fresh", "tags.a = 'b'\nfresh")
        + "[[deadlines]]\nname = 'weekly'\nby = '08:00'\ndays = ['Sunday']\nfresh_within = '2 hours'\n"
        + "[[deadlines]]\nname = 'ready'\nby = '08:00'\nfresh_within = '2 hours'\n"
    )

    shown, found = " ".join(simulated(policy).output.split()), report(policy)

    assert re.search(r'rule "daytime" \(freshness.toml:\d+\) \d+ 100.0%', shown)
    assert re.search(r'deadline "ready" \(\S+\) \d+ 0 100.0%', shown)
    for name in ('rule "on Sundays"', 'deadline "weekly"'):
        assert f"{name} holds on none of the days simulated: it does on 2026-11-29" in shown
    assert 'rule "of nobody" sets the freshness of no feed of this fleet.' in shown
    [daytime] = [rule for source, rule in found.rules.items() if "daytime" in source]
    assert daytime.days == pytest.approx(found.total.days * 10 / 24)
    assert daytime.refreshes > found.total.refreshes / 2


@pytest.mark.parametrize("companies", [1, 9, 40])
def test_as_many_companies_are_simulated_as_were_asked_for(companies: int) -> None:
    assert len({each.company.company_id for each in generate_fleet(companies, 4.0, 1, START)}) == companies


def test_a_budget_that_is_too_small_is_not_exceeded(policy: Path) -> None:
    policy.write_text(POLICY + "[budget]\nshare_of_quota = 0.045\n")
    short = report(policy, companies=2)
    assert short.calls[0] <= 0.045 * short.quota
    assert short.total.attained.share is not None
    assert 0 < short.total.attained.share < 1


def test_an_exported_fleet_is_simulated_and_an_invalid_line_reported_with_its_number(policy: Path) -> None:
    fleet = policy.parent / "fleet.jsonl"
    named = EXPORTED | {"companyName": "Acme\u2028Ltd\u0085"}
    blocked = EXPORTED | {"dataType": "bills", "state": "blocked"}
    fleet.write_text(json.dumps(named, ensure_ascii=False) + "\n" + json.dumps(blocked) + "\n")

    result = simulated(policy, "--fleet", str(fleet))

    assert result.exit_code == 0, result.output
    assert re.search(r"1 companies, 1 ", result.output)
    fleet.write_text(json.dumps(EXPORTED) + "\n{}\n")
    assert "fleet.jsonl:2: expected a line" in simulated(policy, "--fleet", str(fleet)).output


def test_a_policy_that_refreshes_nothing_is_simulated(policy: Path) -> None:
    policy.write_text("[default]\noff = true\nfresh_within = '1 day'\n")
    result = simulated(policy)
    assert result.exit_code == 0, result.output
    assert "companies, 0 feeds" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tighter", "invoicez=1 hour"], "expected a data type and a duration"),
        (["--tighter", "invoices=soon"], "expected a duration such as"),
        (["--fleet", "/nowhere.jsonl"], "expected a file written by `freshness export`"),
        (["--policy", "/nowhere.toml"], "expected a file here"),
    ],
)
def test_an_invalid_option_is_reported_in_one_sentence(policy: Path, arguments: list[str], message: str) -> None:
    result = simulated(policy, *arguments)
    assert result.exit_code == 1
    assert message in result.output
