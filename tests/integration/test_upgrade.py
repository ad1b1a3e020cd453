"""An upgrade from the last release, and back: each revision's functions go on with the items that the other wrote."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import httpx
import pytest

from codat_sandbox.server import RunningSandbox, running_sandbox
from freshness.app.api.routes import Route
from freshness.app.tick import LISTING
from freshness.aws.dynamodb.tables import Tables
from freshness.domain.feeds.feed import Feed, FeedKey
from freshness.domain.times import BEGINNING
from stack_access.api import api_event
from tests.end_to_end.conftest import queue_of_events
from tests.integration.deployed import API_KEY, ROOT, SETTINGS, secret

RUN = """
import importlib, json, sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4
from freshness.app.services import Services
from freshness.policy import compiled

folder, minutes, *runs = sys.argv[1:]
Path(folder, compiled.FILE).write_text(compiled.compiled(Path(folder, "freshness.toml")))
deployed, ahead = Services.deployed, timedelta(minutes=int(minutes))

def later():
    services = deployed()
    now = services.clock
    return replace(services, clock=lambda: now() + ahead)

Services.deployed = later
for run in runs:
    name, event = json.loads(run)
    context = SimpleNamespace(
        aws_request_id=uuid4().hex, function_name=name, invoked_function_arn=name, memory_limit_in_mb=256,
        get_remaining_time_in_millis=lambda: 300_000,
    )
    importlib.import_module(name).handler(event, context)
"""
"""Runs functions of a revision, by the clock or some minutes ahead of it."""


def git(*arguments: str) -> bytes:
    """Return what git prints, nothing where it fails."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False).stdout


def last_release() -> str:
    """Return the newest tag before this revision, or else the revision whose changelog first named this version."""
    if tag := git("describe", "--tags", "--abbrev=0", "HEAD^").decode().strip():
        return tag
    if git("rev-parse", "--is-shallow-repository").decode().strip() != "false":
        pytest.skip("The history that an upgrade is tested from is not in this clone: git fetch --unshallow --tags")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    *_, first = git("log", "-S", f"## [{version}]", "--format=%H", "--", "CHANGELOG.md").decode().split()
    return first


@dataclass(frozen=True, slots=True)
class Revision:
    """The functions of a revision, in a folder of their own."""

    folder: Path

    def tick(self, *others: tuple[str, Any], minutes: int = 0) -> None:
        """Run both ticks and then other functions with their events, some minutes ahead of the clock."""
        runs = [json.dumps(each) for each in (("check_freshness", {}), ("queue_refreshes", {}), *others)]
        command = [sys.executable, "-c", RUN, str(self.folder), str(minutes), *runs]
        environment = os.environ | {"PYTHONPATH": str(self.folder)}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr


@pytest.fixture
def old(tmp_path: Path) -> Revision:
    """Return the last release."""
    with tarfile.open(fileobj=BytesIO(git("archive", last_release(), "functions", "freshness.toml"))) as files:
        files.extractall(tmp_path, filter="data")
    folder = tmp_path / "functions"
    shutil.move(tmp_path / "freshness.toml", folder / "freshness.toml")
    return Revision(folder)


@pytest.fixture
def new(old: Revision, tmp_path: Path) -> Revision:
    """Return the working tree, with the policy of the last release."""
    folder = tmp_path / "new"
    shutil.copytree(ROOT / "functions", folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(old.folder / "freshness.toml", folder)
    return Revision(folder)


@pytest.fixture
def published(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Let the functions use the tables and a bus of their own, and return what tells the events published so far."""
    bus = uuid4().hex
    boto3.client("events").create_event_bus(Name=bus)
    sqs, url = queue_of_events(bus, bus, {"source": ["codat-freshness"]})
    seen: list[dict[str, Any]] = []

    def events() -> list[dict[str, Any]]:
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                seen.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return seen

    for name in ("companies", "feeds", "datasets", "control"):
        monkeypatch.setenv(f"{name.upper()}_TABLE", getattr(tables, name)._table.name)
    monkeypatch.setenv("EVENT_BUS", bus)
    return events


@pytest.fixture
def codat(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSandbox]:
    """Return a Codat for the functions, whose webhooks are lost."""
    with running_sandbox(SETTINGS.model_copy(update={"fails_first": 0.0}), API_KEY) as sandbox:
        monkeypatch.setenv("CODAT_BASE_URL", sandbox.base_url)
        monkeypatch.setenv("CODAT_API_KEY_SECRET", secret(API_KEY))
        yield sandbox


def test_nothing_is_lost_or_refreshed_twice_or_announced_twice_by_an_upgrade_and_back(
    old: Revision, new: Revision, tables: Tables, codat: RunningSandbox, published: Callable[[], list[dict[str, Any]]]
) -> None:
    old.tick()
    by_old = feeds(tables)
    assert any(feed.in_flight for feed in by_old.values())

    added = httpx.post(f"{codat.base_url}/sandbox/companies", json={"platforms": ["Xero"]}).json()["id"]
    tables.control.put_done(LISTING, BEGINNING)
    asked = {"dataTypes": ["invoices"], "maxAge": "PT1S", "within": "PT1H"}
    new.tick(("serve_api", api_event("POST", Route.ENSURE_FRESH.path(added), body=asked)))
    by_both, calls = feeds(tables), refreshes(codat)
    assert by_both.keys() > by_old.keys()
    assert [feed.data_type for feed in by_both.values() if feed.company_id == added and feed.in_flight] == ["invoices"]

    for revision, minutes in ((old, 30), (new, 32), (old, 34)):
        revision.tick(minutes=minutes)

    ended = feeds(tables)
    first_read = {key for key, feed in ended.items() if feed.last_dataset != by_both[key].last_dataset}
    assert ended.keys() == by_both.keys()
    assert not [feed for feed in ended.values() if feed.in_flight]
    assert not [key for key in first_read if by_both[key].last_dataset]
    assert refreshes(codat) - calls == len(first_read)
    announced = Counter(
        (each["detail"]["connectionId"], each["detail"]["dataType"], each["detail"].get("datasetId"))
        for each in published()
        if each["detail-type"] == "Company data refreshed"
    )
    refreshed = {
        (feed.connection_id, feed.data_type, feed.in_flight.dataset_id)
        for known in (by_old, by_both)
        for key, feed in known.items()
        if feed.in_flight and ended[key].succeeded_at
    }
    assert {announced[each] for each in refreshed} == {1}
    assert max(announced.values()) == 1


def feeds(tables: Tables) -> dict[FeedKey, Feed]:
    """Return all feeds, by their keys."""
    found = [feed for each in tables.companies.scan() for feed in tables.feeds.of_company(each.company_id)]
    return {feed.key: feed for feed in found}


def refreshes(codat: RunningSandbox) -> int:
    """Return how many calls have queued refreshes."""
    return sum(codat.sandbox.calls[each] for each in ("refresh-data-type", "refresh-company-data"))
