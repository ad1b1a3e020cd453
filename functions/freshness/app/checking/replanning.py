"""Rescheduling feeds after a new policy is put in force. They would otherwise stay due as the former policy said."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from aws_lambda_powertools import Logger

from freshness.app.services import Services
from freshness.app.tick import MAX_CONCURRENCY, Failures, for_each
from freshness.aws.dynamodb.control import Replanned
from freshness.domain.companies.company import Company
from freshness.domain.feeds.facts import Deferred, FeedFact, Rescheduled
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import Decided
from freshness.domain.feeds.schedule import promise_event_at, with_due_at
from freshness.planning.decision import Action, Decision
from freshness.planning.planner import decide

PAGE = 100
"""How many companies are read together."""

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replanning:
    """Reschedules all feeds by the policy in force. At `until` the rest is left to the next tick.

    A feed is written only if the policy makes it due at another time, or if it is new.
    """

    services: Services
    until: datetime
    failures: Failures

    async def run(self) -> bool:
        """Reschedule the feeds of all companies, unless that was done for this policy. Return whether all are done."""
        control, policy = self.services.tables.control, self.services.policy.fingerprint
        known = await asyncio.to_thread(control.read, Replanned)
        if known.policy == policy and known.is_done:
            return True
        position = known.position if known.policy == policy else ""
        companies = self.services.tables.companies.known_from(position)
        is_done = True
        while is_done and (page := await asyncio.to_thread(lambda: list(islice(companies, PAGE)))):
            is_done = await self._replan_page([company_id for _, company_id in page])
            position = page[-1][0] if is_done else position
        await asyncio.to_thread(
            control.put_replanned, Replanned(policy=policy, position="" if is_done else position, is_done=is_done)
        )
        logger.info("Feeds were rescheduled by another policy", extra={"policy": policy, "all": is_done})
        return is_done

    async def _replan_page(self, company_ids: list[str]) -> bool:
        companies = await asyncio.to_thread(self.services.tables.companies.get_many, company_ids)

        async def replan(company: Company) -> None:
            with self.failures.collected({"company_id": company.company_id}):
                await asyncio.to_thread(self._replan, company)

        return await for_each(
            companies.values(),
            replan,
            max_concurrency=MAX_CONCURRENCY,
            should_continue=lambda: self.services.clock() < self.until,
        )

    def _replan(self, company: Company) -> None:
        if company.deleted_at:
            return
        services, now = self.services, self.services.clock()
        feeds = services.tables.feeds.of_company(company.company_id)
        facts = list(self._changes(company, feeds, now))
        known = {(feed.data_type, feed.connection_id) for feed in feeds}
        for data_type, connection_id in services.policy.feeds_of(company, known) - known:
            new = Feed(company_id=company.company_id, data_type=data_type, connection_id=connection_id)
            facts.append((new, Rescheduled()))
        if facts:
            services.recorder.record_feeds(company, [(feed, (fact,)) for feed, fact in facts])

    def _changes(self, company: Company, feeds: list[Feed], now: datetime) -> Iterator[tuple[Feed, FeedFact]]:
        """Yield each feed of a company whose due time changes, with the fact that changes it."""
        for decision in decide(feeds, {company.company_id: company}, self.services.policy, now):
            if fact := self._change(decision, now):
                yield decision.feed, fact

    def _change(self, decision: Decision, now: datetime) -> FeedFact | None:
        feed, company = decision.feed, decision.company
        connection = company.connections.get(feed.connection_id)
        if connection is None:
            return None
        promise = self.services.policy.promise(feed.data_type, company, connection)
        is_due = feed.due_at is not None and feed.due_at <= now
        event_at = promise_event_at(feed, promise, connection)
        if decision.action is Action.QUEUE or (event_at and event_at <= now):
            return None if is_due else Rescheduled()
        if decision.action in (Action.RESCHEDULE, Action.HIDE):
            # Deferred as by the planner, which knows of quotas and pauses. The promise alone does not.
            decided = Decided(at=now, reason=decision.reason)
            is_other = feed.due_at != decision.until
            return Deferred(until=decision.until, decided=decided, version=feed.version) if is_other else None
        if feed.in_flight and with_due_at(feed, promise, connection).due_at != feed.due_at:
            return Rescheduled()
        return None
