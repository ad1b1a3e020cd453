"""The four functions as they are deployed, apart from the clock: real handlers, tables and sandbox."""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest

import apply_webhook
import check_freshness
import queue_refreshes
import receive_webhook
from codat_sandbox.server import RunningSandbox
from codat_sandbox.settings import Settings
from freshness.app import services
from freshness.app.services import CodatAccess, Services
from freshness.app.tick import LISTING
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus
from freshness.aws.tasks import Tasks
from freshness.domain.companies.company import Company
from freshness.domain.times import BEGINNING
from freshness.policy.loader import load
from freshness.policy.policy import Policy
from local.http_api import context
from tests.integration.roles import Roles

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient

ROOT = Path(__file__).parents[2]
API_KEY = "canary-of-the-api-key"
SIGNING_SECRET = "whsec_canaryOfTheSigningSecret00"
INSTANT = timedelta(0)
SETTINGS = Settings(companies=4, sync_time_min=INSTANT, sync_time_max=INSTANT, needs_relink=0, machine_offline=0)


class Deployed:
    """The four functions with their environment, on a clock that a test can move forward."""

    def __init__(self, tables: Tables, sandbox: RunningSandbox, patch: pytest.MonkeyPatch, roles: Roles) -> None:
        self.tables, self.sandbox, self._patch, self.roles = tables, sandbox, patch, roles
        self.ahead = INSTANT
        self.waiting_callers = 2
        self.policy = load(ROOT / "freshness.toml")
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

    def linked(self) -> tuple[Company, str]:
        """Return a company, and the id of a connection of it that is linked."""
        return next(
            (company, connection.connection_id)
            for company in self.tables.companies.scan()
            for connection in company.connections.values()
            if connection.is_linked
        )


@cache
def default_bus() -> EventBus:
    """Return the bus that every account has."""
    return EventBus(boto3.client("events"), "default")


def policy_with_deadline(at: datetime) -> Policy:
    """Return a policy with a deadline at the time of day of a time in UTC."""
    deadline = {"name": "ready", "by": f"{at:%H:%M}", "fresh_within": "30 minutes"}
    return Policy.model_validate({"default": {"fresh_within": "1 day"}, "deadlines": [deadline]})


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
