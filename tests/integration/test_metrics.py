"""What the handlers emit and log, run for real against the sandbox, while everything that alarms watch goes wrong."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from svix.webhooks import Webhook

import apply_webhook
import check_freshness
import queue_refreshes
import receive_webhook
from freshness import wiring
from freshness.company import Company
from freshness.metrics import DIMENSION, NAMESPACE
from freshness.policy import load
from freshness.store import Store
from local.codat_sandbox.model import ConnectionStatus
from local.codat_sandbox.prescribed import PrescribedAnswer
from local.codat_sandbox.serving import RunningSandbox, running_sandbox
from local.codat_sandbox.settings import Settings
from tests import webhook_bodies
from tests.infra.conftest import synthesise

ROOT = Path(__file__).parents[2]
API_KEY = "canary-of-the-api-key"
SIGNING_SECRET = "whsec_canaryOfTheSigningSecret00"
INSTANT = timedelta(0)
SETTINGS = Settings(companies=4, sync_time_min=INSTANT, sync_time_max=INSTANT, needs_relink=0, machine_offline=0)
NO_ACCOUNT = PrescribedAnswer(path="*", status=402, times=1000)
Emitted = set[tuple[str, str]]


def context(remaining: timedelta = timedelta(minutes=5)) -> LambdaContext:
    """What Lambda tells a function of its run."""
    made = LambdaContext()
    vars(made).update(
        _function_name="test",
        _invoked_function_arn="test",
        _memory_limit_in_mb=512,
        _aws_request_id=uuid4().hex,
        get_remaining_time_in_millis=lambda: int(remaining / timedelta(milliseconds=1)),
    )
    return made


class Deployed:
    """The four functions with an environment of their own, on a clock that can be put forward."""

    def __init__(self, store: Store, sandbox: RunningSandbox, patch: pytest.MonkeyPatch) -> None:
        self.store, self.sandbox, self._patch = store, sandbox, patch
        self.ahead = INSTANT
        patch.setattr(wiring, "clock", lambda: datetime.now(UTC) + self.ahead)
        policy = load(ROOT / "freshness.toml")
        patch.setattr(wiring, "policy", lambda: policy)
        patch.setattr(wiring, "store", lambda: store)
        patch.setenv("EVENT_BUS", "default")
        patch.setenv("CODAT_BASE_URL", sandbox.base_url)
        patch.setenv("DRY_RUN", "false")
        patch.setenv("WEBHOOK_SIGNING_SECRET", secret(SIGNING_SECRET))
        self.key(API_KEY)
        for cached in (wiring.bus, receive_webhook._sqs, receive_webhook._signing_secrets):
            cached.cache_clear()

    def key(self, value: str) -> None:
        self._patch.setenv("CODAT_API_KEY_SECRET", secret(value))

    def check(self, within: timedelta = timedelta(minutes=5), *, listing: bool = True) -> None:
        if listing:
            # The list of companies is otherwise read only every so often.
            lease = {"name": {"S": check_freshness.LISTING}}
            self.store._dynamodb.delete_item(TableName=self.store.tables.control, Key=lease)
        check_freshness.handler({}, context(within))

    def queue(self, within: timedelta = timedelta(minutes=5)) -> None:
        queue_refreshes.handler({}, context(within))

    def apply(self, body: str) -> None:
        attribute = {"stringValue": uuid4().hex, "dataType": "String"}
        record = {
            "messageId": "m",
            "eventSource": "aws:sqs",
            "body": body,
            "messageAttributes": {"webhook-id": attribute},
        }
        apply_webhook.handler({"Records": [record]}, context())

    def linked(self) -> tuple[Company, str]:
        """A company, and a connection through which Codat can read."""
        return next(
            (company, connection.connection_id)
            for company in self.store.every_company()
            for connection in company.connections.values()
            if connection.is_linked
        )


def secret(value: str) -> str:
    """A secret of the local AWS; its name."""
    name = uuid4().hex
    boto3.client("secretsmanager").create_secret(Name=name, SecretString=value)
    return name


@pytest.fixture
def deployed(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    with running_sandbox(SETTINGS, API_KEY) as sandbox:
        yield Deployed(store, sandbox, monkeypatch)


def go_wrong(deployed: Deployed) -> None:
    """Let everything that alarms watch go wrong, one after the other."""
    deployed.check()
    deployed.queue()
    deployed.ahead += timedelta(minutes=10)
    deployed.check()  # finds what ended, of which no webhook told
    company, connection_id = deployed.linked()
    deployed.sandbox.do(
        lambda sandbox: sandbox.world.set_connection_status(
            company.company_id, connection_id, ConnectionStatus.DEAUTHORIZED, sandbox.now()
        )
    )
    deployed.check()
    company, connection_id = deployed.linked()
    deployed.apply(
        webhook_bodies.connection(
            wiring.clock(), "disconnected", "Deauthorized", connection_id=connection_id, company_id=company.company_id
        )
    )
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "m",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook("whsec_" + "A" * 32).sign("m", now, "{}"),
    }
    receive_webhook.handler({"headers": headers, "body": "{}"}, context())
    deployed.ahead += timedelta(days=8)
    deployed.queue(timedelta(seconds=1))
    refuse(deployed, deployed.queue)
    deployed.check()
    make_all_due(deployed)
    deployed.check(timedelta(seconds=1), listing=False)
    refuse(deployed, deployed.check)


def refuse(deployed: Deployed, run: Callable[[], None]) -> None:
    """Run a tick with a key that is wrong, and one for an account that is used up."""
    deployed.key("canary-of-a-wrong-key")
    run()
    deployed.key(API_KEY)
    deployed.sandbox.do(lambda sandbox: sandbox.prescribed.add(NO_ACCOUNT))
    run()
    deployed.sandbox.do(lambda sandbox: sandbox.prescribed.clear())


def make_all_due(deployed: Deployed) -> None:
    now = wiring.clock()
    for company in deployed.store.every_company():
        deployed.store.change_company(company, lambda company: replace(company, check_at=now, checked_at=None))


def emitted(output: str) -> Emitted:
    """Pairs of a function and a metric that it emitted."""
    found: Emitted = set()
    for line in output.splitlines():
        if '"_aws"' in line:
            blob: dict[str, Any] = json.loads(line)
            [directive] = blob["_aws"]["CloudWatchMetrics"]
            assert (directive["Namespace"], directive["Dimensions"]) == (NAMESPACE, [[DIMENSION]])
            found |= {(blob[DIMENSION], metric["Name"]) for metric in directive["Metrics"]}
    return found


def test_every_metric_that_an_alarm_watches_is_emitted_and_no_secret_is_logged(
    deployed: Deployed, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    alarms = synthesise(tmp_path).properties("AWS::CloudWatch::Alarm").values()
    watched = {
        (alarm["Dimensions"][0]["Value"], alarm["MetricName"]) for alarm in alarms if alarm["Namespace"] == NAMESPACE
    }
    assert len(watched) > 10
    capsys.readouterr()

    go_wrong(deployed)

    told = capsys.readouterr()
    assert watched - emitted(told.out) == set()
    assert "canary" not in told.out + told.err
