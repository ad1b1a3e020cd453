"""What an operator may do: request refreshes, pause and resume, erase a company, and confirm that much was deleted."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from freshness.app import audit
from freshness.app.services import Services
from freshness.domain.audit import Actor, Operation
from freshness.domain.companies.company import Company
from freshness.domain.companies.company_facts import CompanyPaused
from freshness.domain.companies.listing import Listing
from freshness.domain.companies.pause import UNTIL_RESUMED, Pause, in_force
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds import schedule
from freshness.domain.feeds.facts import RefreshRequested, Rescheduled
from freshness.domain.feeds.feed import Feed


class Paused(Exception):
    """Refreshes are paused, so none may be requested. The message says how to resume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """The operations of an actor on the tables. Each one is recorded in the audit."""

    services: Services
    actor: Actor

    def request_refreshes(self, company: Company, feeds: Iterable[Feed]) -> list[Feed]:
        """Request a refresh of each feed that can be queued and is not in flight. Return these feeds as they are now.

        The next tick queues them.

        Raises:
            Paused: refreshes of the company, or all, are paused.
        """
        now = self.services.clock()
        if pause := in_force(company.pause, now):
            raise Paused(f'{company.name} is {pause}. Resume it with "./freshness resume {company.company_id}".')
        if pause := in_force(self.services.tables.control.paused(), now):
            raise Paused(f'Everything is {pause}. Resume it with "./freshness resume".')
        fact = RefreshRequested(at=now, trigger=Trigger.OPERATOR)
        wanted = [feed for feed in feeds if self._can_be_queued(company, feed)]
        if not wanted:
            return []
        with self._recorded(Operation.REFRESH, ", ".join(sorted({feed.data_type for feed in wanted})), company):
            recorded = self.services.recorder.record_feeds(company, [(feed, (fact,)) for feed in wanted])
        return [each.feed for each in recorded]

    def pause(self, company: Company, pause: Pause = UNTIL_RESUMED) -> None:
        """Pause the refreshes of a company. What is in flight continues, and so do checks."""
        before = company.pause
        with self._recorded(Operation.PAUSE, _without_reason(pause), company):
            company = self.services.recorder.record_company(company, CompanyPaused(pause=pause))
            if before:
                self._reschedule(company)  # some may wait for the end of the former pause

    def resume(self, company: Company) -> None:
        """Resume the refreshes of a company. Its feeds are due again as their promises say."""
        with self._recorded(Operation.RESUME, company=company):
            self._reschedule(self.services.recorder.record_company(company, CompanyPaused(pause=None)))

    def _reschedule(self, company: Company) -> None:
        feeds = self.services.tables.feeds.of_company(company.company_id, consistent=True)
        self.services.recorder.record_feeds(company, [(feed, (Rescheduled(),)) for feed in feeds])

    def erase(self, company_id: str) -> int:
        """Delete what the tables hold of a company, for good. Return how many items that were.

        The company is not recorded again, although Codat may still list it.
        """
        items, erased = self.services.tables.company_items, 0
        with self._recorded(Operation.ERASE, company=Company(company_id=company_id)):
            items.put_tombstone(company_id, self.services.clock())
            # A function that read the company before may write once more.
            while deleted := items.delete(company_id):
                erased += deleted
        return erased

    def pause_all(self, pause: Pause = UNTIL_RESUMED) -> None:
        """Pause all refreshes."""
        with self._recorded(Operation.PAUSE, _without_reason(pause)):
            self.services.tables.control.pause(pause)

    def resume_all(self) -> None:
        """Resume all refreshes, except those of companies that were paused individually."""
        with self._recorded(Operation.RESUME):
            self.services.tables.control.resume(self.services.clock())

    def confirm_deletions(self) -> Listing:
        """For `CONFIRMED_FOR`, treat what Codat's lists lack as deleted, however much it is."""
        control, now = self.services.tables.control, self.services.clock()
        with self._recorded(Operation.CONFIRM_DELETIONS):
            return control.update(control.read(Listing), lambda listing: listing.confirmed(now))

    def _recorded(
        self, operation: Operation, what: str = "", company: Company | None = None
    ) -> AbstractContextManager[None]:
        return audit.recorded(self.services, self.actor, operation, what, company=company)

    def _can_be_queued(self, company: Company, feed: Feed) -> bool:
        connection = company.connections.get(feed.connection_id)
        if connection is None or feed.in_flight:
            return False
        promise = self.services.policy.promise(feed.data_type, company, connection)
        return schedule.due_at(feed, promise, connection) is not None


def _without_reason(pause: Pause) -> str:
    """Return a pause in words, without its reason, which may name a customer: erasing a company leaves the audit."""
    return str(replace(pause, reason=""))
