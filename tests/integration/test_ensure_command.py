"""`freshness ensure`, with the API's own function: what it prints, and its exit status."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import cli.ensure
import cli.receipt
import serve_api
from cli.commands import app
from freshness.app.reading.queries import Queries
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import DatasetState
from freshness.domain.feeds.feed_values import End
from local.http_api import context
from tests.integration.deployed import Deployed

OPERATOR = "arn:aws:iam::1:user/operator"


@pytest.fixture
def company(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> Company:
    """Return a company whose invoices were read an hour ago."""
    deployed.check()
    queries = Queries(services=deployed.services())
    stack = SimpleNamespace(
        queries=queries,
        outputs=SimpleNamespace(serve_api_function="serve_api"),
        invoke=lambda _, event: serve_api.handler(event, context()),
        caller=OPERATOR,
        tables=deployed.tables,
    )
    monkeypatch.setattr(cli.ensure, "selected_stack", lambda _: stack)
    monkeypatch.setattr(cli.receipt, "selected_stack", lambda _: stack)
    return deployed.read_an_hour_ago(["invoices"])


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["--region", "eu-west-2", "ensure", *arguments])


def printed(result: Result) -> Any:
    """Return the JSON that was printed, after what the function wrote in the same process."""
    return json.loads(result.stdout[result.stdout.index("{\n") :])


def test_data_that_is_fresh_in_time_has_exit_status_0(company: Company) -> None:
    result = run(company.name[:9], "invoices", "--max-age", "10m", "--within", "30s", "--json")

    assert result.exit_code == 0, result.output
    assert "Waiting for invoices" in result.stderr
    status = printed(result)
    assert status["done"] is True
    assert [each["state"] for each in status["dataTypes"]] == ["fresh"]


def test_the_result_is_a_table_without_json(company: Company) -> None:
    result = run(company.company_id, "invoices", "--max-age", "2h")

    assert result.exit_code == 0
    assert "fresh" in result.stdout
    assert "1 h" in result.stdout


def test_data_that_is_not_fresh_in_time_has_exit_status_3(company: Company, deployed: Deployed) -> None:
    deployed.let_syncs_take(timedelta(minutes=5))

    result = run(company.company_id, "invoices", "--max-age", "10m", "--within", "2s", "--json")

    assert result.exit_code == 3
    assert [each["state"] for each in printed(result)["dataTypes"]] == ["stale"]


def test_what_is_impossible_is_an_error_with_the_reason(company: Company, deployed: Deployed) -> None:
    unsupported = run(company.company_id, "inventory")
    for feed in deployed.feeds(company, ["invoices"]):
        deployed.tables.feeds.update(
            feed, lambda feed: feed.ended(End(at=datetime.now(UTC), state=DatasetState.PERMISSIONS_ERROR))
        )
    blocked = run(company.company_id, "invoices", "--max-age", "10m")

    for result, reason in ((unsupported, "The company has no inventory"), (blocked, "authorise")):
        assert result.exit_code == 1
        assert reason in result.stderr


def test_a_duration_that_is_none_is_a_usage_error(company: Company) -> None:
    result = run(company.company_id, "invoices", "--max-age", "soon")

    assert result.exit_code == 2
    assert "expected a duration such as" in result.stderr


def test_a_receipt_says_who_asked_what_for_and_what_was_answered(company: Company) -> None:
    asked = run(company.name[:9], "invoices", "--max-age", "2h", "--purpose", "loan 4711", "--json")

    status = printed(asked)
    receipt = CliRunner().invoke(app, ["--region", "eu-west-2", "receipt", status["id"]])
    assert status["done"]
    for part in (company.name, OPERATOR, "loan 4711", "fresh", status["dataTypes"][0]["asOf"][:10]):
        assert part in receipt.stdout, receipt.stdout
    assert "no longer kept" in CliRunner().invoke(app, ["--region", "eu-west-2", "receipt", "unknown"]).stderr
