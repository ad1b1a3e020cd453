"""Recording facts: the only place that publishes what follows from a fact, and writes feeds and companies.

Each attempt reads consistently, computes what follows (`freshness.domain.transitions`), publishes it, and records the
ends of datasets. It writes only if the version is still the one that was read. Then it records the datasets that run.
After a lost race there is a new attempt. A crash between publishing and writing repeats notifications under the same
ids, and loses none.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import compress

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from freshness.aws.dynamodb.table import VersionConflict
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus
from freshness.aws.metrics import Counts, Metric
from freshness.domain.companies.company import Company
from freshness.domain.companies.company_facts import CompanyFact
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.facts import FeedFact, PromiseReviewed
from freshness.domain.feeds.feed import Feed
from freshness.domain.slo.breach import BreachTime, until_deleted
from freshness.domain.transitions.company_transition import CompanyTransition, company_transition
from freshness.domain.transitions.notifications import (
    CompanyDataRefreshed,
    DeadlineAtRisk,
    Notification,
    PromiseBroken,
    PromiseKeptAgain,
    RelinkNeeded,
)
from freshness.domain.transitions.transition import Transition, abandoned, transitions
from freshness.policy.policy import Policy

logger = Logger(service="codat-freshness")


@dataclass(slots=True)
class _Change:
    """Facts to record on a feed, and what followed from them at the last attempt."""

    feed: Feed
    facts: Sequence[FeedFact]
    followed: Transition
    published: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Records facts. `counts` counts the notifications that were published. Threads may share it.

    Times of breach that have ended, and refreshes, are collected and written together: call `write_collected` at the
    end of each run. What a killed run has collected is lost. Only a write of a feed collects anything, so repeated
    facts and lost races add nothing. A call that AWS carried out and did not answer may be added twice.

    Its methods raise `freshness.aws.event_bus.NotPublished` or `freshness.aws.dynamodb.table.ContentionError` if
    nothing could be recorded now, and botocore's errors. Recording the same facts again is then safe.
    """

    tables: Tables
    bus: EventBus
    policy: Policy
    clock: Callable[[], datetime]
    counts: Counts = field(default_factory=Counts)
    breach_times: list[BreachTime] = field(default_factory=list)
    refreshes: list[str] = field(default_factory=list)
    """The platform of each requested refresh that a cap on spending counts, as the policy names it."""
    satisfied: set[str] = field(default_factory=set)
    """The ids of companies with a feed that has become as fresh as callers need."""

    def record_feed(self, known: Feed, company: Company, *facts: FeedFact) -> Transition:
        """Record facts about one feed, as `record_feeds` does."""
        [followed] = self.record_feeds(company, [(known, facts)])
        return followed

    def record_feeds(self, company: Company, facts: Iterable[tuple[Feed, Sequence[FeedFact]]]) -> list[Transition]:
        """Record facts about feeds of a company. Return what followed for each, with the feed as it is now.

        A given feed may be out of date, or empty if it is new. All are read again, consistently, so nothing is
        published because of a value that others have changed since. A feed that was deleted since stays deleted. A new
        feed that was deleted before continues the history that is kept of it.
        """
        changes = [_Change(known, of_feed, Transition(feed=known)) for known, of_feed in facts]
        remaining = changes
        for _ in self.tables.feeds.races():
            remaining = self._read(remaining)
            for change in remaining:
                self._follow(change, company)
            self._publish_changes(remaining)
            self.tables.datasets.end(each for change in remaining for each in change.followed.datasets)
            is_written = [self._write(change, company) for change in remaining]
            # Only after the write, so that a dataset recorded as running is in flight in its feed, and ends with it.
            running = (change.followed.running for change in compress(remaining, is_written))
            self.tables.datasets.start(filter(None, running))
            remaining = [change for change, done in zip(remaining, is_written, strict=True) if not done]
            if not remaining:
                break
        return [change.followed for change in changes]

    def review(self, feed: Feed, company: Company) -> Feed:
        """Record that time passed: a promise may have broken by now. Return the feed as it is now.

        A feed whose promise did not break is not written, even if it would be due at another time: the planner decides
        about that.
        """
        reviewed = self._transition(feed, company, (PromiseReviewed(),))
        if reviewed.feed.broken_at == feed.broken_at:
            return feed
        return self.record_feed(feed, company, PromiseReviewed()).feed

    def record_company(self, known: Company, fact: CompanyFact) -> Company:
        """Record a fact about a company, and return the company as it is now. `known` may be out of date, or empty.

        A fact that changes nothing in `known` is not recorded. If the company is deleted, so are its feeds, also if a
        killed run had left them.
        """
        is_known = self._company_transition(known, fact).company == known
        if is_known and known.version and not known.deleted_at:
            return known
        after, announced = known, None
        for _ in self.tables.companies.races():
            current = self.tables.companies.get(known.company_id, consistent=True)
            if current is None and (known.version or self._is_erased(known.company_id)):
                return known
            company = current or known
            after, notifications = self._company_transition(company, fact, announced)
            self._publish(notifications)
            announced = after if notifications else announced
            if after == company and company.version:
                break
            with suppress(VersionConflict):
                after = self.tables.companies.put(replace(after, version=company.version))
                break
        if after.deleted_at:
            for feed in self.tables.feeds.of_company(after.company_id):
                self.delete(feed)
        return after

    def delete(self, feed: Feed) -> None:
        """Delete a feed that is no longer to be kept fresh, whatever others write meanwhile.

        Record that its dataset in flight was abandoned. If it is to be kept fresh again, the next check continues it.
        """
        for _ in self.tables.feeds.races():
            self.tables.datasets.end(abandoned(feed, self.clock()))
            changed = self.tables.feeds.delete(feed, self.clock())
            if changed is None:
                break
            feed = changed
        self.breach_times.extend(until_deleted(feed, self.clock()))

    def _read(self, changes: Iterable[_Change]) -> list[_Change]:
        """Read the feeds. Return the changes, without those of feeds that were deleted since."""
        by_key = {change.feed.key: change for change in changes}
        current = self.tables.feeds.get_many(by_key, consistent=True)
        new = [change.feed for key, change in by_key.items() if key not in current and not change.feed.version]
        if new and self._is_erased(new[0].company_id):
            new = []
        if new:
            current |= {feed.key: feed for feed in new} | self.tables.feeds.deleted(new, self.clock())
        for key, feed in current.items():
            by_key[key].feed = feed
        return [by_key[key] for key in current]

    def _is_erased(self, company_id: str) -> bool:
        """Return whether a company was erased: nothing is recorded of it again."""
        is_erased = self.tables.company_items.is_erased(company_id)
        if is_erased:
            logger.warning("Codat still has a company that was erased here: delete it there as well")
        return is_erased

    def _follow(self, change: _Change, company: Company) -> None:
        """Compute what follows from the facts for the feed as it was read."""
        feed = change.feed
        # A promise that was published as broken before a lost race is published as kept again if it is.
        feed = replace(feed, broken_at=feed.broken_at or _published_as_broken(change.followed))
        change.followed = self._transition(feed, company, change.facts)

    def _publish_changes(self, changes: Iterable[_Change]) -> None:
        """Publish what an earlier attempt did not publish."""
        self._publish(
            [each for change in changes for each in change.followed.notifications if each.id not in change.published]
        )
        for change in changes:
            change.published.update(each.id for each in change.followed.notifications)

    def _write(self, change: _Change, company: Company) -> bool:
        """Write a feed if it has changed, and collect its breaches and refreshes. Return false after a lost race."""
        before, followed = change.feed, change.followed
        if followed.feed != before or not before.version:
            try:
                written = self.tables.feeds.put(replace(followed.feed, version=before.version))
            except VersionConflict:
                return False
            change.followed = replace(followed, feed=written)
        self.breach_times.extend(followed.breach_times)
        connection = company.connections.get(before.connection_id)
        if connection and _was_requested_by_us(before, followed.feed):
            self.refreshes.extend(filter(None, [self.policy.capped_as(connection)]))
        if before.wanted and not followed.feed.wanted:
            self.satisfied.add(before.company_id)
        return True

    def write_collected(self) -> None:
        """Add the collected times of breach to attainment, and the collected refreshes to spending."""
        breach_times = self.breach_times.copy()
        refreshes = Counter(self.refreshes)
        self.breach_times.clear()
        self.refreshes.clear()
        with _logged("Attainment could not be written: times of breach are lost"):
            if breach_times:
                self.tables.attainment.add(breach_times, self.clock())
        with _logged("Spending could not be written: refreshes are not counted"):
            if refreshes:
                self.tables.spending.add(refreshes, self.clock())

    def _company_transition(
        self, company: Company, fact: CompanyFact, announced: Company | None = None
    ) -> CompanyTransition:
        policy = self.policy
        return company_transition(company, fact, self.clock(), announced, policy.reads_once, policy.consent)

    def _transition(self, feed: Feed, company: Company, facts: Sequence[FeedFact]) -> Transition:
        connection = company.connections.get(feed.connection_id)
        promise = self.policy.promise(feed.data_type, company, connection) if connection else None
        followed = transitions(feed, facts, promise, connection, self.clock())
        return replace(followed, notifications=tuple(each.about(company) for each in followed.notifications))

    def _publish(self, notifications: Sequence[Notification]) -> None:
        self.bus.publish(notifications)
        for notification in notifications:
            match notification:
                case PromiseBroken():
                    self.counts.count(Metric.PROMISES_BROKEN)
                case DeadlineAtRisk():
                    self.counts.count(Metric.DEADLINES_AT_RISK)
                case PromiseKeptAgain():
                    self.counts.count(Metric.PROMISES_KEPT_AGAIN)
                case RelinkNeeded():
                    self.counts.count(Metric.RELINKS_NEEDED)
                case CompanyDataRefreshed(trigger=Trigger.EXTERNAL):
                    self.counts.count(Metric.REFRESHES_BY_OTHERS)
                case _:
                    pass


@contextmanager
def _logged(loss: str) -> Iterator[None]:
    """Log that a write failed, and go on: the facts are recorded, and failing would only repeat them."""
    try:
        yield
    except (BotoCoreError, ClientError):
        logger.exception(loss)


def _was_requested_by_us(before: Feed, after: Feed) -> bool:
    request = after.last_dataset
    if request is None or request.trigger is Trigger.EXTERNAL:
        return False
    return before.last_dataset is None or before.last_dataset.at != request.at


def _published_as_broken(transition: Transition) -> datetime | None:
    """Return when the promise broke, if that was published."""
    broken = (each for each in transition.notifications if isinstance(each, PromiseBroken))
    return next((each.broken_at for each in broken), None)
