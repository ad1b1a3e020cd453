"""`freshness refresh --wait`, with the real tick: it waits for the ends, and fails if a read did not succeed."""

import json
import time
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

import cli.refresh
from cli.commands import app
from freshness.app.operations import Operations
from freshness.app.reading.queries import Queries
from freshness.domain.company import Company
from tests import webhook_bodies
from tests.integration.deployed import Deployed
from tests.integration.test_serve_api import feeds, read_an_hour_ago


def refreshed(deployed: Deployed, monkeypatch: pytest.MonkeyPatch, ends_in: str) -> tuple[Company, Result]:
    """Refresh a company's invoices, whose end a webhook reports while the command waits."""
    deployed.check()
    company = next(
        company
        for company in deployed.tables.companies.scan()
        if (mine := feeds(deployed, company, ["invoices"]))
        and all(company.connections[feed.connection_id].is_linked for feed in mine)
    )
    for feed in feeds(deployed, company, ["invoices"]):
        deployed.tables.feeds.update(feed, read_an_hour_ago)
    stack = SimpleNamespace(
        queries=Queries(services=deployed.services()),
        operations=Operations(services=deployed.services()),
        outputs=SimpleNamespace(queue_refreshes_function="queue_refreshes"),
    )

    def sleep(_: float) -> None:
        waited_for = [feed for feed in feeds(deployed, company, ["invoices"]) if feed.in_flight]
        assert waited_for
        reads = [(feed.connection_id, feed.data_type, ends_in) for feed in waited_for]
        deployed.apply(webhook_bodies.read_completed(deployed.clock(), *reads, company_id=company.company_id))

    monkeypatch.setattr(cli.refresh, "selected_stack", lambda _: stack)
    monkeypatch.setattr(cli.refresh, "tick_client", lambda _: None)
    monkeypatch.setattr(cli.refresh, "run_tick", lambda *_: deployed.queue())
    monkeypatch.setattr(cli.refresh, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    command = ["--region", "eu-west-2", "refresh", company.company_id, "invoices", "--wait", "--json"]
    return company, CliRunner().invoke(app, command)


def test_the_command_waits_until_the_refreshes_have_ended(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    company, result = refreshed(deployed, monkeypatch, "Complete")

    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout[result.stdout.rindex("[\n") :])
    assert {each["outcome"] for each in printed} == {"queued"}
    assert not any(feed.in_flight for feed in feeds(deployed, company, ["invoices"]))


def test_a_read_that_did_not_succeed_is_an_error_with_its_state(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, result = refreshed(deployed, monkeypatch, "FetchError")

    assert result.exit_code == 1
    assert "invoices (FetchError)" in result.stderr
