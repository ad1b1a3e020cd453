"""The four functions as they are deployed, apart from the clock: real handlers, tables and sandbox."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from svix.webhooks import Webhook

import apply_webhook
import check_freshness
import queue_refreshes
import receive_webhook
from codat_sandbox.model import ConnectionStatus
from codat_sandbox.server import RunningSandbox
from codat_sandbox.settings import Settings
from codat_sandbox.stubs import StubResponse
from freshness.app import services
from freshness.app.services import CodatAccess, Services
from freshness.app.tick import LISTING
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus
from freshness.aws.tasks import Tasks
from freshness.domain.companies.company import Company
from freshness.domain.datasets.dataset import DatasetState, Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End, Request
from freshness.domain.times import BEGINNING
from freshness.policy.loader import load
from freshness.policy.policy import Policy
from local.http_api import context
from tests import webhook_bodies
from tests.builders import a_policy
from tests.integration.roles import Roles

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient

ROOT = Path(__file__).parents[2]
API_KEY = "canary-of-the-api-key"
SIGNING_SECRET = "whsec_canaryOfTheSigningSecret00"
ANOTHER_SECRET = "whsec_" + "A" * 32
INSTANT = timedelta(0)
SETTINGS = Settings(
    companies=4,
    sync_time_min=INSTANT,
    sync_time_max=INSTANT,
    needs_relink=0,
    machine_offline=0,
    calls_per_minute=100_000,
)


class Deployed:
    """The four functions with their environment, on a clock that a test can move forward."""

    def __init__(self, tables: Tables, sandbox: RunningSandbox, patch: pytest.MonkeyPatch, roles: Roles) -> None:
        self.tables, self.sandbox, self._patch, self.roles = tables, sandbox, patch, roles
        self.ahead = INSTANT
        self.waiting_callers = 2
        policy = load(ROOT / "freshness.toml")
        # At the pace of Codat's limit, a tick with fifty calls would take five seconds.
        unpaced = policy.budget.model_copy(update={"calls_per_minute": 100_000})
        self.policy = policy.model_copy(update={"budget": unpaced})
        self.bus: EventBus | None = None
        patch.setattr(Services, "deployed", self.services)
        patch.setenv("WEBHOOK_SIGNING_SECRET", secret(SIGNING_SECRET))
        patch.setenv("MAX_RECEIVE_COUNT", "20")
        self.key(API_KEY)
        for cached in (receive_webhook._sqs, receive_webhook._signing_secrets, apply_webhook._dead_letters):
            cached.cache_clear()

    def key(self, value: str) -> None:
        self.key_is_in(secret(value))

    def key_is_in(self, name: str) -> None:
        """Have the key read from a secret, which need not exist."""
        services._kept_keys.cache_clear()
        self._patch.setenv("CODAT_API_KEY_SECRET", name)
        self._access = CodatAccess(
            base_url=self.sandbox.base_url, key=lambda reload: services.stored_key(name, reload=reload)
        )

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def services(self) -> Services:
        """Return the services of one invocation."""
        return Services(
            tables=self.tables,
            bus=self.bus or default_bus(),
            policy=self.policy.with_learned(self.tables.learned.fleet()),
            clock=self.clock,
            codat_access=self._access,
            waiting_callers=self.waiting_callers,
            tasks=Tasks(_step_functions()),
        )

    def check(self, within: timedelta = timedelta(minutes=5), *, listing: bool = True) -> None:
        if listing:
            # The list of companies is otherwise read only every so often.
            self.tables.control.put_done(LISTING, BEGINNING)
        check_freshness.handler({}, context(within))

    def queue(self, within: timedelta = timedelta(minutes=5)) -> None:
        queue_refreshes.handler({}, context(within))

    def receive(self, event: dict[str, Any]) -> dict[str, int]:
        return receive_webhook.handler(event, context())

    def apply(self, body: str) -> None:
        attribute = {"stringValue": uuid4().hex, "dataType": "String"}
        record = {
            "messageId": "m",
            "eventSource": "aws:sqs",
            "body": body,
            "attributes": {"ApproximateReceiveCount": "1"},
            "messageAttributes": {"webhook-id": attribute},
        }
        apply_webhook.handler({"Records": [record]}, context())

    def stub(self, method: str = "*", path: str = "*", status: int = 200, body: str = "", times: int = 1000) -> None:
        """Have Codat respond to some calls as a test prescribes."""
        stub = StubResponse(method=method, path=path, status=status, body=body, times=times)
        self.sandbox.do(lambda sandbox: sandbox.stubs.add(stub))

    def unstub(self) -> None:
        """Have Codat respond by itself again."""
        self.sandbox.do(lambda sandbox: sandbox.stubs.clear())

    def let_syncs_take(self, took: timedelta, **settings: float) -> None:
        """Have every sync that begins from now on take this long."""
        changes = {"sync_time_min": took, "sync_time_max": took, **settings}
        self.sandbox.do(
            lambda sandbox: sandbox.backend.change_settings(sandbox.settings.model_copy(update=changes), sandbox.now())
        )

    def deauthorize(self, company_id: str, connection_id: str) -> None:
        """Let a connection lapse at Codat."""
        ids, status = (company_id, connection_id), ConnectionStatus.DEAUTHORIZED
        self.sandbox.do(lambda sandbox: sandbox.backend.set_connection_status(*ids, status, sandbox.now()))

    def report_lapse(self, company_id: str, connection_id: str) -> None:
        """Apply the webhook of a connection that lapsed."""
        lapse = partial(webhook_bodies.connection, self.clock(), "disconnected", "Deauthorized")
        self.apply(lapse(connection_id=connection_id, company_id=company_id))

    def feeds(self, company: Company, data_types: Collection[str]) -> list[Feed]:
        """Return the feeds of a company that are of some data types."""
        known = self.tables.feeds.of_company(company.company_id)
        return [feed for feed in known if feed.data_type in data_types]

    def read_an_hour_ago(self, data_types: Collection[str]) -> Company:
        """Return a company whose data types can be read, and were read an hour ago."""
        for company in self.tables.companies.scan():
            mine = self.feeds(company, data_types)
            if {feed.data_type for feed in mine} == set(data_types) and all(
                company.connections[feed.connection_id].is_linked for feed in mine
            ):
                for feed in mine:
                    self.tables.feeds.update(feed, read_an_hour_ago)
                return company
        raise AssertionError("the sandbox has no such company")

    def linked(self) -> tuple[Company, str]:
        """Return a company, and the id of a connection of it that is linked."""
        return next(
            (company, connection.connection_id)
            for company in self.tables.companies.scan()
            for connection in company.connections.values()
            if connection.is_linked
        )


def read_an_hour_ago(feed: Feed) -> Feed:
    """Return a feed as it is an hour after its first read."""
    at = datetime.now(UTC) - timedelta(hours=1)
    new = Feed(company_id=feed.company_id, data_type=feed.data_type, connection_id=feed.connection_id)
    new = new.requested(Request(at=at, trigger=Trigger.PROMISE, dataset_id="earlier"))
    return new.ended(End(at=at + timedelta(seconds=1), state=DatasetState.COMPLETE), records_modified=True)


def signed(body: str = "{}", secret: str = SIGNING_SECRET, webhook_id: str = "m") -> dict[str, Any]:
    """Return a webhook as Codat signs it, in the format of an API Gateway event."""
    now = datetime.now(UTC)
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, now, body),
    }
    return {"headers": headers, "body": body}


@cache
def default_bus() -> EventBus:
    """Return the bus that every account has."""
    return EventBus(boto3.client("events"), "default")


def policy_with_deadline(at: datetime) -> Policy:
    """Return a policy with a deadline at the time of day of a time in UTC."""
    deadline = {"name": "ready", "by": f"{at:%H:%M}", "fresh_within": "30 minutes"}
    return a_policy("1 day", deadlines=[deadline])


def secret(value: str) -> str:
    """Create a secret in the local AWS, and return its name."""
    name = uuid4().hex
    _ssm().put_parameter(Name=name, Value=value, Type="SecureString")
    return name


@cache
def _step_functions() -> "SFNClient":
    return boto3.client("stepfunctions")


@cache
def _ssm() -> "SSMClient":
    # Creating a client takes longer than a test's calls of it.
    return boto3.client("ssm")
