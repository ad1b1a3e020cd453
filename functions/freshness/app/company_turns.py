"""The turns of companies in a tick. Companies that Codat did not respond about must not delay the others."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from freshness.app.services import Services
from freshness.app.tick import MAX_CONCURRENCY, Failures, for_each
from freshness.codat.client import Codat
from freshness.codat.errors import CodatError
from freshness.domain import backoff
from freshness.domain.companies.company import Company
from freshness.domain.companies.company_facts import CompanyCalled
from freshness.domain.times import BEGINNING

AT_FIRST = 2
"""How many doubtful companies have their turns at once, until Codat responds about one of them."""


class CompanyTurn(NamedTuple):
    """The turn of one company: `work` is what to do about it."""

    company: Company
    work: Callable[[], Awaitable[None]]
    calls_codat: bool = True
    has_failed: bool = False
    """Whether the last call about the company failed. If it fails again, that does not suggest that Codat is down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyTurns:
    """Takes the turns of companies, for as long as `should_continue()`.

    A call that gets no response takes ten seconds. So the companies whose last call got none, the doubtful ones, are
    tried two at a time, beside the others. After each response one more is tried at a time. If Codat was down, all
    companies are doubtful: a few calls show whether it is back, and the first success lets the rest follow.
    """

    services: Services
    codat: Codat
    failures: Failures
    should_continue: Callable[[], bool]

    def is_doubtful(self, company: Company) -> bool:
        """Return whether a call about a company may get no response."""
        is_known = company.unanswered_at is not None or self.codat.reachability.responds(company.company_id) is False
        return is_known or self.codat.may_be_down

    async def take_all(self, turns: Iterable[CompanyTurn]) -> bool:
        """Take all turns. Return whether all were reached, not counting those of doubtful companies."""
        ready: list[CompanyTurn] = []
        doubtful: list[CompanyTurn] = []
        for turn in turns:
            (doubtful if turn.calls_codat and self.is_doubtful(turn.company) else ready).append(turn)
        async with asyncio.TaskGroup() as group:
            done = group.create_task(
                for_each(ready, self.take, max_concurrency=MAX_CONCURRENCY, should_continue=self.should_continue)
            )
            group.create_task(self.try_again(doubtful))
        return done.result()

    async def try_again(self, turns: Iterable[CompanyTurn]) -> None:
        """Take the turns of doubtful companies: those that did not fail come first, then those tried longest ago.

        A company whose call got no response in this tick has no second turn.
        """
        untried = [turn for turn in turns if self.codat.reachability.responds(turn.company.company_id) is not False]
        remaining = iter(sorted(untried, key=lambda turn: (turn.has_failed, turn.company.unanswered_at or BEGINNING)))
        workers = 0

        async def work() -> None:
            nonlocal workers
            workers += 1
            for turn in remaining:
                if not self.should_continue():
                    break
                self.codat.reachability.doubt(turn.company.company_id)
                await self.take(turn)
                if self.codat.reachability.is_failing(turn.company.company_id):
                    break
                if workers < MAX_CONCURRENCY:
                    group.create_task(work())
            workers -= 1

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_FIRST):
                group.create_task(work())

    async def take(self, turn: CompanyTurn) -> None:
        """Take a turn. Record on the company whether Codat responded about it, if that has changed."""
        company = turn.company
        if turn.has_failed and self.codat.reachability.is_back:
            self.codat.reachability.doubt(company.company_id)
        await turn.work()
        responds = self.codat.reachability.responds(company.company_id)
        if responds is None or (responds and company.unanswered_at is None):
            return
        fact = CompanyCalled(at=self.services.clock(), is_answered=responds)
        with self.failures.collected({"company_id": company.company_id}):
            await asyncio.to_thread(self.services.recorder.record_company, company, fact)


def longest_wait(error: CodatError, codat: Codat) -> timedelta:
    """Return the longest wait before a call that failed with this error is repeated."""
    return backoff.LONGEST_OUTAGE if error.status is None or codat.may_be_down else backoff.LONGEST
