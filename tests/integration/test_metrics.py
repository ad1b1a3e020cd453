"""What the handlers emit and log, run for real against the sandbox, while everything that alarms watch goes wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from freshness.aws.metrics import DIMENSION, NAMESPACE, WATCHED
from freshness.domain.companies.company import Company
from freshness.domain.companies.listing import FEW
from tests.integration.deployed import ANOTHER_SECRET, API_KEY, Deployed, policy_with_deadline, signed

LONG = timedelta(days=1000)


def go_wrong(deployed: Deployed, patch: pytest.MonkeyPatch) -> None:
    """Let everything that alarms watch go wrong, one after the other."""
    deployed.check()
    deployed.queue()
    deployed.ahead += timedelta(minutes=10)
    deployed.check()  # finds what ended, whose webhooks were lost
    company, connection_id = deployed.linked()
    deployed.deauthorize(company.company_id, connection_id)
    deployed.check()
    company, connection_id = deployed.linked()
    deployed.report_lapse(company.company_id, connection_id)
    foresee_a_miss(deployed, patch)
    deployed.receive(signed(secret=ANOTHER_SECRET))
    deployed.ahead += timedelta(days=8)
    control = deployed.tables.control
    control.update_api_limits(control.api_limits(), lambda limits: limits.with_quota(1000, 94, deployed.clock()))
    deployed.queue(timedelta(seconds=1))
    refuse(deployed, deployed.queue)
    deployed.stub("POST", status=403)
    deployed.queue()
    deployed.unstub()
    deployed.check()
    for number in range(FEW + 1):
        deployed.tables.companies.put(Company(company_id=f"not listed {number}", check_at=deployed.clock() + LONG))
    deployed.check()
    make_all_due(deployed)
    deployed.check(timedelta(seconds=1), listing=False)
    refuse(deployed, deployed.check)


def foresee_a_miss(deployed: Deployed, patch: pytest.MonkeyPatch) -> None:
    """Run a tick an hour before a deadline while everything is paused."""
    policy = policy_with_deadline(deployed.clock() + timedelta(hours=1))
    with patch.context() as deadlines:
        deadlines.setattr(deployed, "policy", policy)
        deployed.tables.control.pause()
        deployed.queue()
    deployed.tables.control.resume(deployed.clock())


def refuse(deployed: Deployed, run: Callable[[], None]) -> None:
    """Run a tick with a key that is wrong, and one for an account that is used up."""
    deployed.key("canary-of-a-wrong-key")
    run()
    deployed.key(API_KEY)
    deployed.stub(status=402)
    run()
    deployed.unstub()


def make_all_due(deployed: Deployed) -> None:
    now = deployed.clock()
    for company in deployed.tables.companies.scan():
        deployed.tables.companies.update(company, lambda company: replace(company, check_at=now, checked_at=None))


def emitted(output: str) -> set[str]:
    """Return the metrics that were emitted."""
    found: set[str] = set()
    for line in output.splitlines():
        if '"_aws"' in line:
            blob: dict[str, Any] = json.loads(line)
            [directive] = blob["_aws"]["CloudWatchMetrics"]
            assert (directive["Namespace"], directive["Dimensions"]) == (NAMESPACE, [[DIMENSION]])
            found |= {metric["Name"] for metric in directive["Metrics"]}
    return found


def test_only_metrics_that_an_alarm_watches_are_emitted_and_no_secret_is_logged(
    deployed: Deployed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    capsys.readouterr()

    go_wrong(deployed, monkeypatch)

    output = capsys.readouterr()
    assert emitted(output.out) == set(WATCHED)
    assert "canary" not in output.out + output.err


def test_items_that_cannot_be_read_are_counted_by_the_function_that_read_them(
    deployed: Deployed, caplog: pytest.LogCaptureFixture
) -> None:
    listing = json.dumps({"results": [{"id": 1}, {"id": 2}]})
    deployed.stub(path="/companies", body=listing, times=1)

    deployed.check()

    [record] = [vars(record) for record in caplog.records if record.msg == "Tick of check_freshness ended"]
    assert record["counts"]["ResponseItemsSkipped"] == 2
