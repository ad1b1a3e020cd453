"""`./freshness report`: what it prints of the attainment that the tables have."""

import csv
import io
import json
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import report
from cli.commands import app
from freshness.app.reading.queries import Queries
from freshness.aws.dynamodb.tables import Tables
from freshness.domain.promises.promise import AttainmentKey
from freshness.domain.slo.attainment import HOUR, Breakdown, hour_of
from freshness.domain.slo.breach import BreachTime
from freshness.policy.policy import Policy
from simulate.clock import START
from tests.services import services_of

POLICY = Policy.model_validate({"default": {"fresh_within": "1 day", "objective": 0.9}})
NOW = START + HOUR


@pytest.fixture
def recorded(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ten feeds be promised for an hour. One was late for half of it."""
    tables.attainment.put_feeds({(Breakdown.RULE, "[default]"): 10, (Breakdown.PLATFORM, "Xero"): 10}, hour_of(START))
    late = BreachTime(
        data_type="invoices",
        group=AttainmentKey(rule="[default]", platform="Xero"),
        waiting=False,
        start=START,
        end=START + HOUR / 2,
    )
    tables.attainment.add([late], NOW)
    queries = Queries(services=services_of(tables, POLICY))
    monkeypatch.setattr(report, "selected_stack", lambda _: SimpleNamespace(queries=queries))
    monkeypatch.setattr(report, "clock", lambda: NOW)


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["report", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("recorded")
def test_json_and_csv_have_the_whole_fleet_and_each_part_of_it() -> None:
    records: list[dict[str, Any]] = json.loads(printed("--json", "--since", "24h"))
    by_part = {(record["kind"], record["name"]): record for record in records}

    assert next(iter(by_part)) == ("all", "")
    rule = by_part["rule", "[default]"]
    assert (rule["attainment"], rule["objective"]) == (0.95, 0.9)
    assert rule["budgetLeft"] == pytest.approx(0.5)
    assert (rule["promised"], rule["late"]) == (36_000, 1_800)
    rows = list(csv.DictReader(io.StringIO(printed("--csv", "--since", "24h"))))
    assert [(row["kind"], row["name"]) for row in rows] == list(by_part)
    assert rows[0]["attainment"] == "0.95"


@pytest.mark.usefixtures("recorded")
def test_the_table_begins_with_one_sentence_about_everything() -> None:
    output = printed()

    assert output.startswith("95.00% of promises were kept since 2026-10-24 00:00:00 UTC.")
    assert "[default]" in output


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("by", ["hour", "day"])
def test_the_hours_or_days_add_up_to_the_whole(by: str) -> None:
    whole = json.loads(printed("--json", "--since", "24h"))
    parts = json.loads(printed("--json", "--since", "24h", "--by", by))

    assert len({part["since"] for part in parts}) == (24 if by == "hour" else 2)
    for record in whole:
        same = [part for part in parts if (part["kind"], part["name"]) == (record["kind"], record["name"])]
        for column in ("promised", "late", "waiting"):
            assert sum(part[column] for part in same) == record[column]
    output = printed("--since", "24h", "--by", by)
    assert "95.00%" in output
    assert "[default]" in output


@pytest.mark.usefixtures("recorded")
def test_hours_that_are_not_kept_are_refused() -> None:
    result = CliRunner().invoke(app, ["report", "--by", "hour"])
    assert result.exit_code == 2
    assert "kept by hour for two days" in result.output
