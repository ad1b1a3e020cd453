"""`freshness restore`, over the local AWS, which restores tables to how they are now, whatever time is asked for."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import boto3
import pytest
from typer.testing import CliRunner, Result

import cli.restore
from cli.commands import app
from freshness.app.operations import Operations
from freshness.app.reading.text import moment
from freshness.aws.dynamodb.tables import TableNames, Tables
from freshness.domain.audit import AuditEntry, Operation
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import Pause
from freshness.domain.datasets.dataset import Dataset, Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.times import BEGINNING
from freshness.policy.loader import load
from local.settings import ROOT
from simulate.loop import OPERATOR
from stack_access.recovery import Recovery
from tests.builders import HOUR, NOON
from tests.services import services_of

COMPANY = Company(company_id="company", name="Harbour Books", check_at=NOON)
FEED = Feed(company_id="company", data_type="invoices", connection_id="connection", due_at=NOON, succeeded_at=NOON)
OPERATION = AuditEntry(
    at=datetime.now(UTC) - 2 * HOUR, operation=Operation.RESUME, who="ann", source="the command line", what=""
)
RUNNING = Dataset(
    company_id="company",
    dataset_id="dataset",
    data_type="invoices",
    connection_id="connection",
    trigger=Trigger.PROMISE,
    requested_at=NOON,
    state="Queued",
)


@pytest.fixture
def tables(stored_tables: Tables) -> Tables:
    return stored_tables


def names(tables: Tables) -> TableNames:
    return TableNames(
        companies=tables.companies._table.name,
        feeds=tables.feeds._table.name,
        datasets=tables.datasets._table.name,
        control=tables.control._table.name,
    )


def audited(tables: Tables) -> list[AuditEntry]:
    now = datetime.now(UTC)
    return list(tables.audit.since(now - 3 * HOUR, now))


def restore(tables: Tables, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    services = services_of(tables, load(ROOT / "freshness.toml"))
    stack = SimpleNamespace(
        tables=tables,
        outputs=SimpleNamespace(tables=names(tables)),
        session=boto3.Session(),
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        operations=Operations(services=services, actor=OPERATOR),
        services=services,
        actor=OPERATOR,
    )
    monkeypatch.setattr(cli.restore, "selected_stack", lambda _: stack)
    return CliRunner().invoke(app, ["--region", "eu-west-2", "restore", *arguments])


def test_what_was_changed_or_deleted_is_as_it_was_what_came_since_stays_and_everything_is_paused(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    company, feed = tables.companies.put(COMPANY), tables.feeds.put(FEED)
    lost = tables.feeds.put(replace(FEED, data_type="bills"))
    tables.datasets.start([RUNNING])
    tables.control.put_done("list of companies", NOON)
    assert tables.control.acquire("tick", "holder", NOON + HOUR, NOON)
    # The local AWS restores what is there now, so the recovery begins before the damage.
    to = datetime.now(UTC).replace(microsecond=0) - HOUR
    recovery = Recovery(dynamodb=boto3.client("dynamodb"), names=names(tables), to=to)
    tables.audit.put(OPERATION)
    recovery.begin()
    tables.audit.put(replace(OPERATION, failed="throttled"))
    damaged = tables.companies.put(replace(company, name="Garbage", deleted_at=NOON))
    for _ in range(3):
        feed = tables.feeds.put(replace(feed, succeeded_at=BEGINNING))
    tables.feeds.delete(lost, NOON)
    tables.datasets.end([replace(RUNNING, state="Complete", ended_at=NOON + HOUR)])
    tables.feeds.put(replace(FEED, data_type="since"))
    tables.control.release("tick", "holder")

    result = restore(tables, monkeypatch, "--to", to.isoformat(), "--json")

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["written"] == {
        names(tables).companies: 1,
        names(tables).feeds: 2,
        names(tables).datasets: 0,
        names(tables).control: 0,
    }
    assert tables.companies.get("company") == replace(COMPANY, version=damaged.version + 1)
    kept = {each.data_type: each for each in tables.feeds.of_company("company")}
    assert kept.keys() == {"invoices", "bills", "since"}
    assert replace(kept["invoices"], version=1) == replace(FEED, version=1)
    assert kept["invoices"].version > feed.version
    assert [each.data_type for each in next(tables.feeds.due(NOON, 10))].count("bills") == 1
    assert [each.state for each in tables.datasets.of_company("company")] == ["Complete"]
    assert tables.control.acquire("tick", "another", NOON + HOUR, NOON)
    pause = tables.control.paused()
    assert pause and pause.reason.startswith("restore to ")
    failed, restored, paused = audited(tables)
    assert failed == replace(OPERATION, failed="throttled")
    assert (restored.operation, restored.what, restored.failed) == ("restore", f"to {moment(to)} UTC", "")
    assert paused.operation == "pause"

    again = restore(tables, monkeypatch, "--to", to.isoformat())
    assert again.exit_code == 0, again.output
    assert f"0 items of {names(tables).feeds} were written." in again.output
    assert f"aws dynamodb delete-table --table-name {names(tables).feeds}-restored" in again.output


def test_a_pause_that_holds_already_is_kept(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.control.pause(Pause(reason="an incident"))

    assert restore(tables, monkeypatch, "--to", "2h").exit_code == 0
    assert tables.control.paused() == Pause(reason="an incident")


@pytest.mark.parametrize("to", ["2999-01-01 12:00", "yesterday", "-1h", ""])
def test_a_time_that_is_none_or_to_come_is_refused_and_nothing_is_paused(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    assert restore(tables, monkeypatch, "--to", to).exit_code == 2
    assert tables.control.paused() is None
