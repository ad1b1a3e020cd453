"""Feeds that callers wait for: how often they are queued, however many functions decide to queue them."""

import asyncio
from datetime import datetime, timedelta
from itertools import count
from typing import cast
from uuid import UUID

from estimate.memory_dynamodb import MemoryDynamoDB, tables_in_memory
from freshness.app.ensure.accept import Ask, EnsureFresh
from freshness.app.queueing.calls import LONGEST_CALL, Queueing
from freshness.codat.client import Codat
from freshness.codat.errors import Temporary, Unreadable
from freshness.codat.models import PullOperation
from freshness.domain.companies.company import Company
from freshness.domain.companies.company_facts import CheckNeeded
from freshness.domain.feeds.facts import DataWanted
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import Wanted
from freshness.planning.decision import Action, Decision, Reason
from simulate.loop import OPERATOR
from tests.builders import MINUTE, NOON, a_connection, a_policy, a_read
from tests.services import services_of

POLICY = a_policy("6 hours")


class World:
    """A company with one feed, and a Codat that accepts refreshes of it after a moment, or fails."""

    def __init__(self) -> None:
        self.now = NOON
        self.dynamodb = MemoryDynamoDB()
        self.tables = tables_in_memory(self.dynamodb)
        self.services = services_of(self.tables, POLICY, clock=lambda: self.now)
        self.recorder = self.services.recorder
        connection = a_connection("connection", NOON - timedelta(days=30))
        self.company = Company(company_id="company", connections={"connection": connection})
        self.keys: list[UUID] = []
        self.is_down = False
        self.ahead = timedelta(0)
        self.is_unreadable = False
        self._numbers = count()

    @property
    def calls(self) -> int:
        return len(self.keys)

    @property
    def feed(self) -> Feed:
        return self.tables.feeds.get("company", "invoices", "connection", consistent=True)

    def want(self, not_before: datetime) -> None:
        self.recorder.record_feed(
            self.feed, self.company, DataWanted(wanted=Wanted(not_before=not_before, deadline=NOON + 10 * MINUTE))
        )

    def end(self) -> None:
        self.recorder.record_feed(self.feed, self.company, a_read(self.now))

    async def queue(
        self, company_id: str, data_type: str, connection_id: str, key: UUID, *, on_demand: bool
    ) -> PullOperation:
        """Respond as Codat to a queueing call."""
        assert on_demand
        self.keys.append(key)
        await asyncio.sleep(0.01)
        if self.is_down:
            raise Temporary("queue", "no response", at=self.now)
        if self.is_unreadable:
            raise Unreadable("queue", "not as Codat describes it", at=self.now, status=200)
        return PullOperation.model_validate(
            {
                "id": f"dataset-{next(self._numbers)}",
                "companyId": company_id,
                "connectionId": connection_id,
                "dataType": data_type,
                "status": "Queued",
                "requested": self.now.isoformat(),
                "progress": 0,
            }
        )

    def queue_at_once(self, feed: Feed, functions: int) -> None:
        """Let functions, all of which have read the feed in this state, queue it at the same moment."""
        decision = Decision(feed=feed, company=self.company, action=Action.QUEUE, reason=Reason.ON_DEMAND)

        async def run() -> None:
            await asyncio.gather(*(self._queueing().queue(decision) for _ in range(functions)))

        asyncio.run(run())

    def _queueing(self) -> Queueing:
        return Queueing(services=self.services, codat=cast(Codat, self))


def test_functions_that_queue_a_feed_at_the_same_moment_make_one_call_together() -> None:
    world = World()
    world.want(NOON)
    seen = world.feed

    world.queue_at_once(seen, 20)
    world.queue_at_once(seen, 5)

    assert world.calls == 1
    assert world.feed.in_flight
    assert world.feed.in_flight.trigger == "on demand"


def test_what_is_wanted_after_the_read_in_flight_was_requested_is_read_exactly_once_more() -> None:
    world = World()
    world.want(NOON)
    world.queue_at_once(world.feed, 3)
    for seconds in range(1, 5):
        world.want(NOON + timedelta(seconds=seconds))
    world.queue_at_once(world.feed, 3)
    world.now = NOON + MINUTE
    world.end()
    assert world.feed.wanted
    world.queue_at_once(world.feed, 3)
    world.now = NOON + 2 * MINUTE
    world.end()

    assert world.calls == len(set(world.keys)) == 2
    assert world.feed.wanted is None
    assert world.feed.as_of
    assert world.feed.as_of.at == NOON + MINUTE


def test_a_call_that_failed_is_not_repeated_before_its_delay() -> None:
    world = World()
    world.want(NOON)
    world.is_down = True
    world.queue_at_once(world.feed, 3)
    world.queue_at_once(world.feed, 3)

    assert world.calls == 1
    assert world.feed.wanted
    assert world.feed.retry_at
    world.now, world.is_down = world.feed.retry_at, False
    world.queue_at_once(world.feed, 3)
    assert world.calls == 2
    assert world.feed.in_flight


def test_a_dataset_whose_repeated_call_is_answered_unreadably_is_as_of_when_the_key_was_first_sent() -> None:
    world = World()
    world.want(NOON)
    world.is_down = True
    world.queue_at_once(world.feed, 1)
    world.now, world.is_down, world.is_unreadable = NOON + 50 * MINUTE, False, True
    world.queue_at_once(world.feed, 1)

    assert world.keys[0] == world.keys[1]
    assert world.feed.in_flight
    assert world.feed.in_flight.at == NOON
    world.end()
    assert world.feed.as_of
    assert world.feed.as_of.at == NOON


def test_a_function_that_was_killed_while_it_queued_keeps_others_from_it_for_a_minute_only() -> None:
    world = World()
    world.want(NOON)
    world.tables.control.acquire("queue company/invoices/connection", "killed", NOON + LONGEST_CALL, NOON)

    world.queue_at_once(world.feed, 3)
    assert world.calls == 0
    world.now = NOON + LONGEST_CALL + MINUTE
    world.queue_at_once(world.feed, 3)
    assert world.calls == 1


def test_a_tick_reads_a_company_once_for_all_of_its_open_requests_and_leaves_the_rest_when_its_time_is_over() -> None:
    world = World()
    world.want(NOON)
    world.recorder.record_company(world.company, CheckNeeded())
    ensure = EnsureFresh(services=world.services)
    ask = Ask(data_types=("invoices",), not_before=NOON, deadline=NOON + 10 * MINUTE)
    for number in range(20):
        ensure.accept(world.company, world.tables.control.account(), ask, actor=OPERATOR, key=f"{number}")

    world.dynamodb.calls.clear()
    assert ensure.end_due_requests(NOON) == 0
    before = world.dynamodb.calls.total()
    assert ensure.end_due_requests(NOON + MINUTE) == 20
    assert world.dynamodb.calls.total() - before == before + 2  # the company, and its feeds
    assert world.feed.wanted
    world.now = NOON + 10 * MINUTE
    ensure.end_due_requests(world.now)
    assert len(world.tables.requests.open_of_company("company")) == 20
    assert ensure.end_due_requests(world.now + MINUTE) == 0
    assert world.tables.requests.open_of_company("company") == []
