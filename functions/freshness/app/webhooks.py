"""Applying Codat's webhooks: each is parsed into facts, which are recorded."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.ensure.finish import Finisher
from freshness.app.record import Recorder
from freshness.app.services import Services
from freshness.aws.dynamodb.table import ContentionError
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.metrics import Metric
from freshness.codat.webhooks import parser as webhook_parser
from freshness.codat.webhooks.parser import Malformed
from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.company import Company
from freshness.domain.companies.company_facts import (
    CheckNeeded,
    CompanyCreated,
    CompanyDeleted,
    CompanyFact,
    ConnectionChanged,
    ReadsEnded,
)
from freshness.domain.datasets.dataset import OUTCOMES, Outcome
from freshness.domain.feeds.facts import (
    DatasetEnded,
    DataWritten,
    LimitReached,
    LimitReset,
    ReadEnded,
    Rescheduled,
    WebhookFact,
)
from freshness.domain.feeds.feed import Feed
from freshness.domain.transitions.company_transition import ReadEnd, reads_ended, reads_of

Facts = tuple[WebhookFact, ...]
_ENDED = {
    Outcome.COMPLETE: Metric.READS_COMPLETED,
    Outcome.TRY_AGAIN: Metric.READS_FAILED_FOR_NOW,
    Outcome.PERSON_MUST_ACT: Metric.READS_FAILED_UNTIL_A_PERSON_ACTS,
    Outcome.NEVER: Metric.READS_FAILED_FOR_GOOD,
}

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A webhook from the queue, whose signature was verified."""

    id: str
    """The id of the message in SQS."""
    webhook_id: str
    body: str
    received_at: datetime | None
    """When the queue received it, the same time at each delivery; `None` if that is not known."""
    deliveries: int
    """How often it was delivered, this time included."""


def apply_batch(
    services: Services,
    messages: Iterable[Message],
    *,
    until: datetime,
    most_deliveries: int,
    move_to_dead_letters: Callable[[Message, Exception], bool],
) -> list[Message]:
    """Apply webhooks, and return those that must be delivered again: they failed, or there was no time for them.

    A webhook that is malformed, or failed at the last of `most_deliveries`, is given to `move_to_dead_letters` with the
    error. If that returns false, it is delivered again. From `until` on, no more are applied.
    """
    recorder = services.recorder
    applier = WebhookApplier(tables=services.tables, recorder=recorder, clock=services.clock)
    returned: list[Message] = []
    try:
        # Those that were delivered most often come first, so none is left over every time.
        parsed = [(each, _parsed(applier, each)) for each in sorted(messages, key=lambda each: -each.deliveries)]
        applier.load_companies(fact for _, (facts, _) in parsed for fact in facts)
        for message, (facts, malformed) in parsed:
            if services.clock() >= until:
                applier.counts[Metric.WEBHOOKS_LEFT_OVER] += 1
                returned.append(message)
                continue
            error = _error(applier, message, facts, malformed)
            if error is None:
                continue
            is_final = isinstance(error, Malformed) or message.deliveries >= most_deliveries
            if not (is_final and move_to_dead_letters(message, error)):
                returned.append(message)
        _end_requests(services)
    finally:
        recorder.write_collected()
        counts = applier.counts + recorder.counts
        services.emit(counts)
        logger.info("Batch of webhooks ended", extra={"counts": dict(counts)})
    return returned


def reason_of(error: Exception) -> str:
    """Return why a webhook could not be applied."""
    return str(error) if isinstance(error, Malformed) else f"{type(error).__name__}: {error}"


def _parsed(applier: "WebhookApplier", message: Message) -> tuple[Facts, Malformed | None]:
    """Return the facts of a webhook; if it is malformed, those of its readable parts, and what is wrong with it."""
    try:
        return applier.parse(message.body, message.received_at), None
    except Malformed as error:
        return error.facts, error


def _error(applier: "WebhookApplier", message: Message, facts: Facts, malformed: Malformed | None) -> Exception | None:
    """Record the facts of a webhook. Return why it failed, if it did."""
    context = {"message_id": message.webhook_id}
    try:
        applier.record(facts)
    except Exception as error:
        logger.warning("A webhook could not be applied", exc_info=error, extra=context | {"reason": reason_of(error)})
        return error
    if malformed:
        # The content of a malformed message, which its traceback has, does not belong in the log.
        logger.warning("A webhook could not be applied", extra=context | {"reason": reason_of(malformed)})
        return malformed
    applier.counts[Metric.WEBHOOKS_APPLIED] += bool(facts)
    return None


def _end_requests(services: Services) -> None:
    """End the requests for fresh data that the webhooks satisfied."""
    if not services.recorder.satisfied:
        return
    try:
        Finisher(services=services).finish_of_companies(services.recorder.satisfied)
    except (ContentionError, BotoCoreError, ClientError) as error:
        logger.warning("Requests for fresh data were left to the next tick", extra={"error": str(error)})


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookApplier:
    """Applies webhooks to the tables. `counts` counts what happened.

    A webhook may arrive several times, and in any order: neither changes the result.
    """

    tables: Tables
    recorder: Recorder
    clock: Callable[[], datetime]
    counts: Counter[Metric] = field(default_factory=Counter)
    companies: dict[str, Company] = field(default_factory=dict)
    """Companies as they were last read or written, empty ones if they are not known."""

    def parse(self, body: str, received_at: datetime | None = None) -> Facts:
        """Return the facts of a webhook that was received at `received_at`, or now; none if its kind is not used.

        Raises:
            freshness.codat.webhooks.parser.Malformed: it is not a webhook as Codat describes it.
        """
        facts = webhook_parser.parse(body, received_at or self.clock())
        self.counts[Metric.WEBHOOKS_NOT_USED] += facts is None
        return facts or ()

    def load_companies(self, facts: Iterable[WebhookFact]) -> None:
        """Read the companies that facts are about, 100 in each call. If that fails, each is read alone later."""
        company_ids = {fact.company_id for fact in facts if not isinstance(fact, LimitReached | LimitReset)}
        try:
            found = self.tables.companies.get_many(company_ids)
        except (ContentionError, BotoCoreError, ClientError, ValueError) as error:
            logger.warning("Companies could not be read together", extra={"error": str(error)})
            return
        self.companies.update({each: Company(company_id=each) for each in company_ids} | found)

    def record(self, facts: Facts) -> None:
        """Record the facts of one webhook.

        Raises:
            NotPublished, ContentionError, ClientError, BotoCoreError: they could not be recorded now.
        """
        of_feeds: defaultdict[str, list[ReadEnded | DataWritten]] = defaultdict(list)
        for fact in facts:
            match fact:
                case LimitReached() | LimitReset():
                    self._record_limit(fact)
                case ReadEnded() | DataWritten():
                    of_feeds[fact.company_id].append(fact)
                case DatasetEnded():
                    self._record_dataset(fact)
                case ConnectionChanged():
                    self._record_connection(fact)
                case CompanyCreated() | CompanyDeleted():
                    self._record_company(self._company(fact.company_id), fact)
        for company_id, of_company in of_feeds.items():
            self._record_on_feeds(company_id, of_company)
        self._record_reads(facts)

    def _company(self, company_id: str) -> Company:
        if company_id not in self.companies:
            self.companies[company_id] = self.tables.companies.get(company_id) or Company(company_id=company_id)
        return self.companies[company_id]

    def _record_company(self, known: Company, fact: CompanyFact) -> Company:
        company = self.recorder.record_company(known, fact)
        self.companies[company.company_id] = company
        return company

    def _record_limit(self, fact: LimitReached | LimitReset) -> None:
        now = self.clock()

        def compute(limits: ApiLimits) -> ApiLimits:
            match fact:
                case LimitReached():
                    return limits.with_stop(fact.until, fact.at)
                case LimitReset():
                    # Codat's clock may be ahead: a refusal that follows must still count as later.
                    return limits.with_reset(min(fact.at, now))

        self.tables.control.update_api_limits(self.tables.control.api_limits(), compute)

    def _record_reads(self, facts: Iterable[WebhookFact]) -> None:
        """Record on companies which connections refused reads, or can be read again.

        A company is only written where that changes it. It is read after the feeds were written, and the feeds after a
        refusal was written. So a refusal and a later success that arrive together are both seen.
        """
        ends: dict[str, list[ReadEnd]] = defaultdict(list)
        for fact in facts:
            if isinstance(fact, ReadEnded):
                ends[fact.company_id].append(ReadEnd(fact.connection_id, fact.state, fact.at, fact.reason))
        for company_id, of_company in ends.items():
            reads = reads_ended(of_company)
            if not reads.refused and not reads.succeeded:
                continue
            if reads.refused:
                known = replace(reads, succeeded=self._successes(company_id))
                self._record_on_company(company_id, known)
                self._record_on_company(company_id, ReadsEnded(succeeded=self._successes(company_id)))
            if reads.succeeded:
                self._record_on_company(company_id, ReadsEnded(succeeded=reads.succeeded))

    def _record_on_company(self, company_id: str, reads: ReadsEnded) -> None:
        known = self.tables.companies.get(company_id, consistent=True)
        if known is None:
            return
        company = self._record_company(known, reads)
        refused = [
            {each.connection_id for each in of.connections.values() if each.is_refused} for of in (known, company)
        ]
        if changed := refused[0] ^ refused[1]:
            self._reschedule(company, changed)

    def _reschedule(self, company: Company, connection_ids: Collection[str]) -> None:
        """Reschedule the feeds of connections that have changed."""
        feeds = self.tables.feeds.of_company(company.company_id)
        self.recorder.record_feeds(
            company, [(feed, (Rescheduled(),)) for feed in feeds if feed.connection_id in connection_ids]
        )

    def _successes(self, company_id: str) -> dict[str, datetime]:
        """Return when the latest successful read through each connection of a company ended."""
        return dict(reads_of(self.tables.feeds.of_company(company_id)).succeeded)

    def _record_on_feeds(self, company_id: str, facts: Iterable[ReadEnded | DataWritten]) -> None:
        """Record facts about feeds of a company. An unknown connection makes the company due for a check."""
        by_feed: defaultdict[tuple[str, str], list[ReadEnded | DataWritten]] = defaultdict(list)
        for fact in facts:
            if isinstance(fact, DataWritten) or self._has_ended(fact):
                by_feed[fact.data_type, fact.connection_id].append(fact)
        company = self._company(company_id)
        if company.deleted_at or not by_feed:
            return
        if not company.connections.keys() >= {connection_id for _, connection_id in by_feed}:
            company = self._record_company(company, CheckNeeded())
        self.recorder.record_feeds(
            company,
            [
                (Feed(company_id=company_id, data_type=data_type, connection_id=connection_id), of_feed)
                for (data_type, connection_id), of_feed in by_feed.items()
            ],
        )

    def _has_ended(self, fact: ReadEnded) -> bool:
        """Return whether a read has ended, and count how it ended."""
        ended = OUTCOMES[fact.state]
        if ended is Outcome.IN_FLIGHT:
            return False
        self.counts[_ENDED.get(ended, Metric.READS_FAILED_FOR_NOW)] += 1
        self.counts[Metric.READS_FAILED] += ended is not Outcome.COMPLETE
        return True

    def _record_dataset(self, fact: DatasetEnded) -> None:
        """Record the end of a feed's latest dataset. Only a check can find out what any other dataset means."""
        company = self._company(fact.company_id)
        if company.deleted_at or OUTCOMES[fact.state] is Outcome.IN_FLIGHT:
            return
        feed = self._feed_of(fact)
        if feed is None or feed.connection_id not in company.connections:
            company = self._record_company(company, CheckNeeded())
        if feed:
            self.recorder.record_feed(feed, company, fact)
            if feed.last_dataset and OUTCOMES[fact.state] is Outcome.COMPLETE:
                succeeded = {feed.connection_id: feed.last_dataset.at}
                self._record_on_company(fact.company_id, ReadsEnded(succeeded=succeeded))

    def _feed_of(self, fact: DatasetEnded) -> Feed | None:
        feeds = self.tables.feeds.of_company(fact.company_id)
        return next((f for f in feeds if f.last_dataset and f.last_dataset.dataset_id == fact.dataset_id), None)

    def _record_connection(self, fact: ConnectionChanged) -> None:
        company = self._record_company(self._company(fact.company_id), fact)
        if not company.deleted_at:
            self._reschedule(company, [fact.connection.connection_id])
