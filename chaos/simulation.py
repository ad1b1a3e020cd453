"""The system in simulated time, where every call may fail and functions interleave."""

import asyncio
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from random import Random
from typing import Any, cast

import httpx

from chaos.dynamodb import FaultyDynamoDB, Past
from chaos.faults import Dice, Faults, KillSwitch, client_error
from chaos.interleaving import pause
from estimate.memory_dynamodb import TABLE_NAMES
from freshness.app.operations import Operations, Paused
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus
from freshness.domain.companies.company import Company
from simulate.loop import OPERATOR, OUTAGES, Crash, Fuse, Simulation

ANSWER_WITHIN = 10
"""Seconds after which the client gives up."""


@dataclass
class _FaultyEvents:
    """A client for EventBridge that fails at times, and keeps what it accepted."""

    simulation: "ChaosSimulation"
    switch: KillSwitch

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        pause()
        self.switch.burn()
        dice = self.simulation.dice
        fails = dice.throws(dice.faults.bus)
        if fails and dice.random.random() < 0.5:
            raise client_error("InternalFailure", "PutEvents")
        for entry in Entries:
            detail = json.loads(entry["Detail"])
            self.simulation.published[detail["id"]] += 1
            self.simulation.events[detail["id"]] = entry["DetailType"], detail
        self.switch.burnt()
        pause()
        if fails:
            raise client_error("InternalFailure", "PutEvents")
        return {"FailedEntryCount": 0}


@dataclass
class ChaosSimulation(Simulation):
    """A simulation with faults, until `dice.enabled` is set to false."""

    faults: Faults = field(kw_only=True)
    random: Random = field(kw_only=True)
    events: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    """The kind and detail of each notification published, by id."""
    io: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.dice = Dice(self.faults, self.random)
        self.past = Past(self.loop.clock)
        super().__post_init__()

    def _tables(self, fuse: Fuse) -> Tables:
        if not isinstance(fuse, KillSwitch):
            return super()._tables(fuse)
        dynamodb = FaultyDynamoDB(self._dynamodb, self.past, self.dice, fuse, self.loop.clock)
        return Tables.open(cast(Any, dynamodb), TABLE_NAMES, sleep=pause)

    def _bus(self, fuse: Fuse) -> EventBus:
        if not isinstance(fuse, KillSwitch):
            return super()._bus(fuse)
        return EventBus(cast(Any, _FaultyEvents(self, fuse)), "bus")

    async def _exchange(self, request: httpx.Request, fuse: Fuse) -> httpx.Response:
        faults = self.dice.faults
        if self.dice.throws(faults.request_lost):
            fuse.burn()
            await asyncio.sleep(ANSWER_WITHIN)
            raise httpx.ReadTimeout("no response")
        if self.dice.throws(faults.error):
            fuse.burn()
            return httpx.Response(500, json={"error": "internal"}, request=request)
        response = await super()._exchange(request, fuse)
        if self.dice.throws(faults.response_lost):
            await asyncio.sleep(ANSWER_WITHIN)
            raise httpx.ReadTimeout("no response")
        return response

    async def deliver_webhook(self, body: str, switch: KillSwitch) -> bool:
        """Apply a webhook, and return whether that was completed."""
        deliver = partial(self.deliver, body, switch)
        return await self.loop.run_in_executor(None, deliver)

    async def operate(self, command: str, company: Company, switch: KillSwitch) -> bool:
        """Carry out an operator's command for a company, and return whether that was completed."""
        operations = Operations(services=self.services(switch), actor=OPERATOR)

        def run() -> bool:
            try:
                match command:
                    case "pause":
                        operations.pause(company)
                    case "resume":
                        operations.resume(company)
                    case _:
                        feeds = operations.services.tables.feeds.of_company(company.company_id)
                        operations.request_refreshes(company, feeds)
            except (Crash, Paused, *OUTAGES):
                return False
            return True

        return await self.loop.run_in_executor(None, run)

    def refreshes(self) -> dict[tuple[str, str], list[tuple[datetime, str]]]:
        """Return the times and ids of the refreshes that were published, by connection and data type."""
        found: dict[tuple[str, str], list[tuple[datetime, str]]] = defaultdict(list)
        for event_id, (kind, detail) in self.events.items():
            if kind == "Company data refreshed":
                at = datetime.fromisoformat(detail["refreshedAt"])
                found[detail["connectionId"], detail["dataType"]].append((at, event_id))
        return found
