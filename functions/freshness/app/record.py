"""Recording facts: the only place that publishes what follows from a fact, and writes feeds and companies.

What follows from a fact is computed by `freshness.domain.transition` and `freshness.domain.company_transition`. Every
write is conditional on the version that was read. After a lost race the transition is computed again from the current
item, and what then follows is published and recorded. Notifications are published, and datasets recorded, before the
feed is written: a crash in between repeats them under the same ids, and loses none.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.tally import Tally
from freshness.aws.event_bus import EventBus
from freshness.aws.metrics import Metric
from freshness.aws.tables import Tables
from freshness.domain.breach import BreachTime, until_deleted
from freshness.domain.company import Company
from freshness.domain.company_facts import CompanyFact
from freshness.domain.company_transition import company_transition, connection_notifications
from freshness.domain.dataset import Trigger
from freshness.domain.facts import FeedFact, PromiseReviewed
from freshness.domain.feed import Feed
from freshness.domain.notifications import (
    CompanyDataRefreshed,
    DeadlineAtRisk,
    Notification,
    PromiseBroken,
    PromiseKeptAgain,
    RelinkNeeded,
)
from freshness.domain.transition import Transition, abandoned, transitions
from freshness.policy.policy import Policy

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Records facts. `tally` counts the notifications that were published. May be used from several threads.

    Times of breach that have ended, and refreshes, are collected for one write of many: call `write_collected` at the
    end of each run. What a killed run has collected is lost. Only what a write of a feed accounts for is added, so
    that repeated facts and lost races add nothing; a call that AWS carried out and did not answer may be added twice.

    Its methods raise `freshness.aws.event_bus.NotPublished` or `freshness.aws.table.ContentionError` if nothing could
    be recorded now, and botocore's errors. Recording the same facts again is then safe.
    """

    tables: Tables
    bus: EventBus
    policy: Policy
    clock: Callable[[], datetime]
    tally: Tally = field(default_factory=Tally)
    breach_times: list[BreachTime] = field(default_factory=list)
    refreshes: list[str] = field(default_factory=list)
    """The platforms of the refreshes that were requested."""

    def feed(self, known: Feed, company: Company, *facts: FeedFact) -> Transition:
        """Record facts about a feed, as it was read, and return what followed, with the feed as it is now.

        A feed that was deleted since it was read stays deleted. One that is new continues what is kept of it, if it was
        deleted before.
        """
        if not known.version:
            known = self.tables.feeds.deleted(known, self.clock()) or known
        if self._transition(known, company, facts).has_effects:
            # A read that is not consistent may be from before the last write: nothing may be published because of it.
            current = self.tables.feeds.get(*known.key, consistent=True)
            if known.version and not current.version:
                return Transition(feed=known)
            known = current if current.version else known
        before, last = known, Transition(feed=known)
        published = set[str]()

        def compute(feed: Feed) -> Feed:
            nonlocal before, last
            before = feed
            # A promise that was published as broken before a lost race is published as kept again if it is.
            feed = replace(feed, broken_at=feed.broken_at or _published_as_broken(last))
            last = self._transition(feed, company, facts)
            self._publish(tuple(each for each in last.notifications if each.id not in published))
            published.update(each.id for each in last.notifications)
            for dataset in last.datasets:
                self.tables.datasets.merge(dataset)
            return last.feed

        written = self.tables.feeds.update(known, compute)
        self.breach_times.extend(last.breach_times)
        connection = company.connections.get(known.connection_id)
        if connection and _was_requested_by_us(before, written):
            self.refreshes.append(connection.platform)
        return replace(last, feed=written)

    def review(self, feed: Feed, company: Company) -> Feed:
        """Record that time passed: a promise may have broken by now. Return the feed as it is now.

        A feed whose promise did not break is not written, even if it would be due at another time: the planner decides
        about that.
        """
        reviewed = self._transition(feed, company, (PromiseReviewed(),))
        if reviewed.feed.broken_at == feed.broken_at:
            return feed
        return self.feed(feed, company, PromiseReviewed()).feed

    def company(self, known: Company, fact: CompanyFact) -> Company:
        """Record a fact about a company, as it was read or empty, and return the company as it is now.

        The feeds of a company that was deleted are deleted with it.
        """
        if company_transition(known, fact, self.clock()).notifications:
            known = self.tables.companies.get(known.company_id, consistent=True) or known
        published: Company | None = None
        notifications: tuple[Notification, ...] = ()

        def compute(company: Company) -> Company:
            nonlocal published, notifications
            changed = company_transition(company, fact, self.clock()).company
            # After a lost race, what was published before it must be corrected.
            notifications = connection_notifications(published or company, changed, fact)
            self._publish(notifications)
            published = changed if notifications else published
            return changed

        written = self.tables.companies.update(known, compute)
        if written.deleted_at:
            for feed in self.tables.feeds.of_company(written.company_id):
                self.delete(feed)
        return written

    def delete(self, feed: Feed) -> None:
        """Delete a feed that is no longer to be kept fresh, and record that its dataset in flight was abandoned."""
        for dataset in abandoned(feed, self.clock()):
            self.tables.datasets.merge(dataset)
        self.tables.feeds.delete(feed, self.clock())
        self.breach_times.extend(until_deleted(feed, self.clock()))

    def write_collected(self) -> None:
        """Add what was collected to what is known of attainment, and of spending at platforms with a cap."""
        breach_times = self.breach_times.copy()
        refreshes = Counter(platform for platform in self.refreshes if platform in self.policy.budget.spending)
        self.breach_times.clear()
        self.refreshes.clear()
        with _logged("Attainment could not be written: times of breach are lost"):
            self.tables.attainment.add(breach_times, self.clock())
        with _logged("Spending could not be written: refreshes are not counted"):
            if refreshes:
                self.tables.spending.add(refreshes, self.clock())

    def _transition(self, feed: Feed, company: Company, facts: tuple[FeedFact, ...]) -> Transition:
        connection = company.connections.get(feed.connection_id)
        promise = self.policy.promise(feed.data_type, company, connection) if connection else None
        return transitions(feed, facts, promise, connection, self.clock())

    def _publish(self, notifications: tuple[Notification, ...]) -> None:
        self.bus.publish(notifications)
        for notification in notifications:
            match notification:
                case PromiseBroken():
                    self.tally.count(Metric.PROMISES_BROKEN)
                case DeadlineAtRisk():
                    self.tally.count(Metric.DEADLINES_AT_RISK)
                case PromiseKeptAgain():
                    self.tally.count(Metric.PROMISES_KEPT_AGAIN)
                case RelinkNeeded():
                    self.tally.count(Metric.RELINKS_NEEDED)
                case CompanyDataRefreshed(trigger=Trigger.EXTERNAL):
                    self.tally.count(Metric.REFRESHES_BY_OTHERS)
                case _:
                    pass


@contextmanager
def _logged(loss: str) -> Iterator[None]:
    """Log that something could not be written to the tables: the facts are recorded, and failing would repeat them."""
    try:
        yield
    except (BotoCoreError, ClientError):
        logger.exception(loss)


def _was_requested_by_us(before: Feed, after: Feed) -> bool:
    request = after.request
    if request is None or request.trigger is Trigger.EXTERNAL:
        return False
    return before.request is None or before.request.at != request.at


def _published_as_broken(transition: Transition) -> datetime | None:
    """Return when the promise broke, if that is among what was published."""
    broken = (each for each in transition.notifications if isinstance(each, PromiseBroken))
    return next((each.broken_at for each in broken), None)
