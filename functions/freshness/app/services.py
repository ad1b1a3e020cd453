"""The composition root: what the use cases need from outside. Only `Services.deployed` reads the environment."""

import math
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from freshness.app.policy_in_force import DEPLOYED_ONLY, PolicyInForce
from freshness.app.record import Recorder
from freshness.aws import metrics
from freshness.aws.clients import client
from freshness.aws.dynamodb.tables import TableNames, Tables
from freshness.aws.event_bus import EventBus
from freshness.aws.metrics import Counts, Metric
from freshness.aws.tasks import Tasks
from freshness.codat.client import Codat
from freshness.codat.errors import CodatError, WrongAccount
from freshness.codat.http import connection_to
from freshness.codat.rate_limiter import RateLimiter
from freshness.domain.api_limits import ApiLimits
from freshness.planning.in_flight import InFlight
from freshness.policy import compiled
from freshness.policy.policy import Policy

if TYPE_CHECKING:
    import httpx

KEY_KEPT = 300
"""Seconds for which a process keeps the key for Codat's API, so that it can be rotated."""

_IN_FLIGHT = InFlight()
"""What this process remembers from run to run."""

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodatAccess:
    """How to reach Codat.

    `key` returns the API key; called with true, it reads the key again. `transport` replaces the network.
    """

    base_url: str
    key: Callable[[bool], str]
    transport: "httpx.AsyncBaseTransport | None" = None
    checked_keys: set[str] = field(default_factory=set, repr=False)
    """The keys that are known to belong to the account that the policy names."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """What one invocation works with. `counts` counts what happens in it.

    `emit` publishes metrics. In a `dry_run` nothing is queued.
    """

    tables: Tables
    bus: EventBus
    policy: Policy
    clock: Callable[[], datetime]
    codat_access: CodatAccess | None = None
    """`None` where Codat is not called."""
    dry_run: bool = False
    start_paused: bool = False
    """Whether a stack that has never run is paused."""
    waiting_callers: int = 0
    """How many callers may wait for fresh data at once."""
    tasks: Tasks | None = None
    """`None` where no task of Step Functions is ended."""
    emit: Callable[[Mapping[Metric, int]], None] = metrics.emit
    record_deployed_policy: Callable[[datetime], None] = lambda _: None
    """Records that the deployed policy is in force from a time on, where people see it."""
    counts: Counts = field(default_factory=Counts)
    in_flight: InFlight = field(default_factory=InFlight)
    """The feeds in flight that earlier ticks of this process have read."""

    @classmethod
    def deployed(cls) -> Self:
        """Return the services of a deployed function, as its environment variables name them."""
        tables = _tables()
        return cls(
            tables=tables,
            bus=_bus(),
            policy=_policy_in_force().policy().with_learned(tables.learned.fleet()),
            clock=lambda: datetime.now(UTC),
            codat_access=_codat_access() if "CODAT_BASE_URL" in os.environ else None,
            dry_run=os.environ.get("DRY_RUN") == "true",
            start_paused=os.environ.get("START_PAUSED") == "true",
            waiting_callers=int(os.environ.get("WAITING_CALLERS", "0")),
            tasks=_tasks() if os.environ.get("ENDS_TASKS") == "true" else None,
            record_deployed_policy=_policy_in_force().record_deployed,
            in_flight=_IN_FLIGHT,
        )

    @cached_property
    def recorder(self) -> Recorder:
        """Return the recorder of facts."""
        return Recorder(tables=self.tables, bus=self.bus, policy=self.policy, clock=self.clock, counts=self.counts)

    def accepts_calls(self, limits: ApiLimits) -> bool:
        """Return whether Codat may be called now, as its limits say."""
        until = limits.stopped_before(self.clock())
        if until:
            logger.warning("Codat accepts no calls", extra={"until": until.isoformat()})
        return until is None

    @asynccontextmanager
    async def codat(
        self, until: datetime, *, on_demand: bool = False, known: ApiLimits | None = None
    ) -> AsyncIterator[Codat]:
        """Yield a client for Codat, for work until a time. A key that Codat refuses is read again for the next client.

        `on_demand` is whether callers wait for the calls. `known` has Codat's limits, if they were read a moment ago.
        If the policy names an account and the key belongs to another, every call raises
        `freshness.codat.errors.WrongAccount`.
        """
        access = self.codat_access
        if access is None:
            raise RuntimeError("this function does not call Codat")
        limiter = RateLimiter(
            self.tables.control,
            clock=self.clock,
            until=until,
            calls_per_minute=self.policy.budget.calls_per_minute,
            on_demand=on_demand,
            known=known,
        )
        async with connection_to(access.base_url, access.transport) as http:
            key = access.key(False)
            was_down = known is not None and known.down_since is not None
            codat = Codat(http, key, clock=self.clock, limiter=limiter, was_down=was_down)
            try:
                await self._require_account(codat, key, access.checked_keys)
                yield codat
            finally:
                await limiter.finish(is_down=True if codat.is_down else False if codat.reachability.is_back else None)
        if codat.key_is_refused:
            access.key(True)

    async def _require_account(self, codat: Codat, key: str, checked: set[str]) -> None:
        """Let a client refuse all calls, unless the key belongs to the account that the policy names."""
        account = self.policy.codat.account
        if not account or key in checked:
            return
        try:
            found = await codat.account()
        except CodatError as error:
            codat.refuse_calls(error)
            return
        if found == account:
            checked.add(key)
            return
        message = f'the key belongs to "{found}", but [codat] of the policy names "{account}"'
        codat.refuse_calls(WrongAccount("GET /profile", message, at=self.clock()))


@cache
def _tables() -> Tables:
    names = TableNames(
        companies=os.environ["COMPANIES_TABLE"],
        feeds=os.environ["FEEDS_TABLE"],
        datasets=os.environ["DATASETS_TABLE"],
        control=os.environ["CONTROL_TABLE"],
    )
    return Tables.open(client("dynamodb"), names)


@cache
def _bus() -> EventBus:
    return EventBus(client("events"), os.environ["EVENT_BUS"])


@cache
def _tasks() -> Tasks:
    return Tasks(client("stepfunctions"))


@cache
def _policy_in_force() -> PolicyInForce:
    bundle = Path(__file__).parents[2]
    deployed_only = os.environ.get("POLICY_SOURCE") == DEPLOYED_ONLY
    return PolicyInForce(_tables().policies, lambda: compiled.read(bundle), deployed_only=deployed_only)


@cache
def _codat_access() -> CodatAccess:
    secret = os.environ["CODAT_API_KEY_SECRET"]
    return CodatAccess(base_url=os.environ["CODAT_BASE_URL"], key=lambda reload: stored_key(secret, reload=reload))


@cache
def _kept_keys() -> dict[str, tuple[float, str]]:
    """Return the keys for Codat's API by the names of their secrets. Each has the time at which it was read."""
    return {}


def stored_key(secret: str, *, reload: bool = False) -> str:
    """Return the key for Codat's API from Systems Manager; an empty one, which Codat refuses, until one is stored."""
    now = time.monotonic()
    read_at, key = _kept_keys().get(secret, (-math.inf, ""))
    if reload or now >= read_at + KEY_KEPT:
        try:
            key = client("ssm").get_parameter(Name=secret, WithDecryption=True)["Parameter"]["Value"].strip()
        except ClientError as error:
            if error.response["Error"]["Code"] == "ParameterNotFound":
                return ""
            raise
        _kept_keys()[secret] = (now, key)
    return key
