"""`freshness refresh --wait`, with the real tick: it waits for the ends, and fails if a read did not succeed."""

import json
import time
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner, Result

import cli.refresh
from cli.commands import app
from cli.errors import CommandError
from freshness.app.operations import Operations
from freshness.app.reading.queries import Queries
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.feed_values import Request
from simulate.loop import OPERATOR
from tests import webhook_bodies
from tests.integration.deployed import Deployed


def refreshed(deployed: Deployed, monkeypatch: pytest.MonkeyPatch, ends_in: str) -> tuple[Company, Result]:
    """Refresh a company's invoices, whose end a webhook reports while the command waits."""
    deployed.check()
    company = deployed.read_an_hour_ago(["invoices"])
    stack = SimpleNamespace(
        queries=Queries(services=deployed.services()),
        operations=Operations(services=deployed.services(), actor=OPERATOR),
        outputs=SimpleNamespace(queue_refreshes_function="queue_refreshes"),
        invoke=lambda _: deployed.queue(),
    )

    def sleep(_: float) -> None:
        waited_for = [feed for feed in deployed.feeds(company, ["invoices"]) if feed.in_flight]
        assert waited_for
        reads = [(feed.connection_id, feed.data_type, ends_in) for feed in waited_for]
        deployed.apply(webhook_bodies.read_completed(deployed.clock(), *reads, company_id=company.company_id))

    monkeypatch.setattr(cli.refresh, "selected_stack", lambda _: stack)
    monkeypatch.setattr(cli.refresh, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    command = ["--region", "eu-west-2", "refresh", company.company_id, "invoices", "--wait", "--json"]
    return company, CliRunner().invoke(app, command)


def test_the_command_waits_until_the_refreshes_have_ended(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    company, result = refreshed(deployed, monkeypatch, "Complete")

    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout[result.stdout.rindex("[\n") :])
    assert {each["outcome"] for each in printed} == {"queued"}
    assert "Waiting for invoices (Queued)" in result.stderr
    assert not any(feed.in_flight for feed in deployed.feeds(company, ["invoices"]))


def test_a_read_that_did_not_succeed_is_an_error_with_its_state(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, result = refreshed(deployed, monkeypatch, "FetchError")

    assert result.exit_code == 1
    assert "invoices (FetchError)" in result.stderr


def test_a_refresh_that_waits_for_a_customers_machine_is_not_waited_for_and_the_reason_is_said(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed.check()
    company, feed = next(
        (company, feed)
        for company in deployed.tables.companies.scan()
        for feed in deployed.tables.feeds.of_company(company.company_id)
        if company.connections[feed.connection_id].is_on_premise and company.connections[feed.connection_id].is_linked
    )
    asked_at = deployed.clock() - timedelta(hours=2)
    request = Request(at=asked_at, trigger=Trigger.OPERATOR, dataset_id="1")
    deployed.tables.feeds.update(feed, lambda each: replace(each, last_dataset=request, end=None))
    stack = SimpleNamespace(queries=Queries(services=deployed.services()))

    with pytest.raises(CommandError, match=r"waits until the customer's machine with .* Ask the customer to switch"):
        cli.refresh._wait(cast(Any, stack), company, {feed.key})
