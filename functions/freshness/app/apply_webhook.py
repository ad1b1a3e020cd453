"""What Codat's webhooks do to the tables, and which of it is told to others."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from freshness.aws.event_bus import Bus, CompanyDataRefreshed, RelinkNeeded, connection_news
from freshness.aws.metrics import Metric
from freshness.aws.store import Store
from freshness.codat import webhook_parser
from freshness.domain.api_limits import ApiLimits
from freshness.domain.company import Company, Connection, ConnectionStatus
from freshness.domain.dataset import Dataset, DatasetState, Outcome, outcome
from freshness.domain.facts import (
    CompanyCreated,
    CompanyDeleted,
    CompanyEvent,
    ConnectionTold,
    DatasetEnded,
    DataWritten,
    QuotaReached,
    QuotaReset,
    ReadEnded,
)
from freshness.domain.feed import End, Feed, Request
from freshness.policy.policy import Policy

SAME_END = timedelta(minutes=1)
"""By how much the time in a webhook may differ from the one at which a check saw the same sync end."""
_FAILED = {
    Outcome.TRY_AGAIN: Metric.READS_FAILED_FOR_NOW,
    Outcome.PERSON_MUST_ACT: Metric.READS_FAILED_UNTIL_A_PERSON_ACTS,
    Outcome.NEVER: Metric.READS_FAILED_FOR_GOOD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Applies messages to the tables and tells others. `tally` counts what happened.

    A message may come again, and in any order: feeds and companies take in facts so that neither matters. What
    was published is remembered by the message's id, last of all: a message whose processing broke off is done
    again whole, so that nothing is lost, and at worst something is published twice under the same id.
    """

    store: Store
    bus: Bus
    policy: Policy
    clock: Callable[[], datetime]
    tally: Counter[Metric] = field(default_factory=Counter)

    def apply(self, message_id: str, body: str) -> None:
        """Apply one message, whose signature was verified.

        Raises:
            freshness.codat.webhook_parser.Malformed: it is not a message as Codat describes it.
            NotPublished, ContentionError, ClientError, BotoCoreError: it could not be applied now.
        """
        events = webhook_parser.events(body, self.clock())
        if events is None:
            self.tally[Metric.WEBHOOKS_NOT_USED] += 1
            return
        if self.store.was_applied(message_id):
            self.tally[Metric.WEBHOOKS_REPEATED] += 1
            return
        companies: dict[str, Company] = {}
        for event in events:
            if isinstance(event, QuotaReached | QuotaReset):
                self._apply_to_quota(event)
                continue
            company = companies.get(event.company_id) or self._company(event.company_id)
            companies[event.company_id] = self._apply(message_id, company, event)
        self.store.note_applied(message_id, self.clock())
        self.tally[Metric.WEBHOOKS_APPLIED] += 1

    def _apply_to_quota(self, event: QuotaReached | QuotaReset) -> None:
        def told(quota: ApiLimits) -> ApiLimits:
            match event:
                case QuotaReached():
                    return quota.stopped(event.until, event.at)
                case QuotaReset():
                    return quota.resumed(event.at)

        self.store.change_quota(self.store.quota(), told)

    def _company(self, company_id: str) -> Company:
        return self.store.company(company_id) or Company(company_id=company_id)

    def _apply(self, message_id: str, company: Company, event: CompanyEvent) -> Company:
        """Apply one event. Returns the company as it stands then, as do all that this calls."""
        match event:
            case CompanyDeleted():
                return self.store.forget(company, event.at)
            case _ if company.deleted_at:
                return company
            case ReadEnded() | DatasetEnded() if outcome(event.state) is Outcome.IN_FLIGHT:
                return company
            case ReadEnded():
                return self._read_ended(message_id, company, event)
            case DatasetEnded():
                return self._dataset_ended(message_id, company, event)
            case ConnectionTold():
                return self._connection_told(message_id, company, event)
            case DataWritten():
                feed = self.store.feed(company.company_id, event.data_type, event.connection_id)
                return self._change_feed(company, feed, lambda feed: feed.written(event.at))
            case CompanyCreated():
                return company if company.version else self._make_due_for_check(company)

    def _read_ended(self, message_id: str, company: Company, event: ReadEnded) -> Company:
        feed = self.store.feed(company.company_id, event.data_type, event.connection_id)
        if feed.request and event.at >= feed.request.at:
            self._note_dataset(feed, feed.request, event, event.at)
        if feed.end and feed.in_flight is None and event.at - feed.end.at > SAME_END:
            self.tally[Metric.REFRESHES_BY_OTHERS] += 1
        end = End(at=event.at, state=event.state)
        if event.state == DatasetState.AUTH_ERROR:
            self._publish_relink(message_id, company, feed.ended(end))
        learned = None if event.is_first else event.records_modified
        company = self._change_feed(company, feed, lambda feed: feed.ended(end, learned))
        self._publish_refreshed(f"{message_id}/{event.connection_id}/{event.data_type}", feed, event, event.at)
        return company

    def _dataset_ended(self, message_id: str, company: Company, event: DatasetEnded) -> Company:
        """End a feed's dataset. It is not told when it ended, but that was no sooner than it was requested.

        What any other dataset means, only a check can find out.
        """
        feeds = self.store.feeds(company.company_id)
        feed = next((feed for feed in feeds if feed.request and feed.request.dataset_id == event.dataset_id), None)
        if feed is None or feed.request is None:
            return self._make_due_for_check(company)
        end = End(at=feed.request.at, state=event.state, dataset_id=event.dataset_id)
        self._note_dataset(feed, feed.request, event, self.clock())
        company = self._change_feed(company, feed, lambda feed: feed.ended(end))
        self._publish_refreshed(f"{message_id}/{event.dataset_id}", feed, event, end.at)
        return company

    def _connection_told(self, message_id: str, company: Company, event: ConnectionTold) -> Company:
        told, now = event.connection, self.clock()
        published: list[Connection] = []

        def told_of(known: Company) -> Company:
            changed = known.told_of(told, now)
            if changed.deleted_at:
                return changed
            # Published before it is written, as what is written is no longer news to a second try; and once more if
            # another message was written meanwhile, so that what was published last is what stands.
            before = published[-1] if published else known.connections.get(told.connection_id)
            after = changed.connections[told.connection_id]
            if self._publish_connection(message_id, company, before, after):
                published.append(after)
            return changed

        company = self.store.change_company(company, told_of)
        for feed in self.store.feeds(company.company_id):
            if feed.connection_id == told.connection_id:
                self._change_feed(company, feed, lambda feed: feed)
        return company

    def _publish_connection(
        self, message_id: str, company: Company, before: Connection | None, after: Connection
    ) -> bool:
        """Tell of a connection that was as `before` and is as `after`. Returns whether there was anything to tell."""
        news = connection_news(f"{message_id}/{after.connection_id}", company.company_id, before, after)
        if news is None:
            return False
        self.bus.publish([news])
        self.tally[Metric.RELINKS_NEEDED] += before is not None and isinstance(news, RelinkNeeded)
        return True

    def _change_feed(self, company: Company, feed: Feed, change: Callable[[Feed], Feed]) -> Company:
        """Change a feed, and plan it anew; where its connection is not known, leave that to a check."""
        connection = company.connections.get(feed.connection_id)
        if connection is None:
            company = self._make_due_for_check(company)
            self.store.change_feed(feed, change)
            return company
        promise = self.policy.promise(feed.data_type, company, connection)
        self.store.change_feed(feed, lambda feed: change(feed).planned(promise, connection))
        return company

    def _make_due_for_check(self, company: Company) -> Company:
        now = self.clock()
        return self.store.change_company(company, lambda company: company.due_for_check(now))

    def _note_dataset(self, feed: Feed, request: Request, event: ReadEnded | DatasetEnded, at: datetime) -> None:
        if not request.dataset_id:
            return
        self.store.merge_dataset(
            Dataset(
                company_id=feed.company_id,
                dataset_id=request.dataset_id,
                data_type=feed.data_type,
                connection_id=feed.connection_id,
                trigger=request.trigger,
                requested_at=request.at,
                states={event.state: at},
                ended_at=at,
                records_modified=event.records_modified,
            )
        )

    def _publish_refreshed(self, news_id: str, feed: Feed, event: ReadEnded | DatasetEnded, at: datetime) -> None:
        if outcome(event.state) is not Outcome.COMPLETE:
            self.tally[Metric.READS_FAILED] += 1
            if why := _FAILED.get(outcome(event.state)):
                self.tally[why] += 1
            return
        self.tally[Metric.READS_COMPLETED] += 1
        news = CompanyDataRefreshed(
            id=news_id,
            company_id=feed.company_id,
            connection_id=feed.connection_id,
            data_type=feed.data_type,
            refreshed_at=at,
            records_modified=event.records_modified,
        )
        self.bus.publish([news])

    def _publish_relink(self, message_id: str, company: Company, refused: Feed) -> None:
        """Tell that a feed is refused, if its connection is thought to be linked, and no other of its feeds was."""
        connection, end = company.connections.get(refused.connection_id), refused.end
        if connection is None or end is None or not connection.is_linked or not _is_refused(refused, connection):
            return
        if not any(_is_refused(feed, connection) for feed in self.store.feeds(company.company_id)):
            lapsed = replace(connection, status=ConnectionStatus.DEAUTHORIZED, status_at=end.at)
            self._publish_connection(message_id, company, connection, lapsed)


def _is_refused(feed: Feed, connection: Connection) -> bool:
    """Whether the last read of a feed through a connection was refused, since when nothing was heard of it."""
    if feed.connection_id != connection.connection_id or feed.end is None:
        return False
    return feed.end.state == DatasetState.AUTH_ERROR and feed.is_blocked(connection)
