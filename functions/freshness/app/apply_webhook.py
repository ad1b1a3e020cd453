"""Applying Codat's webhooks: each is parsed into facts, which are recorded."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from freshness.app.record import Recorder
from freshness.aws.metrics import Metric
from freshness.aws.tables import Tables
from freshness.codat import webhook_parser
from freshness.domain.api_limits import ApiLimits
from freshness.domain.company import Company
from freshness.domain.company_facts import CheckNeeded, CompanyCreated, CompanyDeleted, ConnectionChanged, ReadsEnded
from freshness.domain.company_transition import ReadEnd, reads_ended, reads_of
from freshness.domain.dataset import Outcome, outcome
from freshness.domain.facts import (
    DatasetEnded,
    DataWritten,
    LimitReached,
    LimitReset,
    ReadEnded,
    Rescheduled,
    WebhookFact,
)
from freshness.domain.feed import Feed

_ENDED = {
    Outcome.COMPLETE: Metric.READS_COMPLETED,
    Outcome.TRY_AGAIN: Metric.READS_FAILED_FOR_NOW,
    Outcome.PERSON_MUST_ACT: Metric.READS_FAILED_UNTIL_A_PERSON_ACTS,
    Outcome.NEVER: Metric.READS_FAILED_FOR_GOOD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookApplier:
    """Applies webhooks to the tables. `tally` counts what happened.

    A webhook may arrive several times, and in any order: neither changes the result.
    """

    tables: Tables
    recorder: Recorder
    clock: Callable[[], datetime]
    tally: Counter[Metric] = field(default_factory=Counter)

    def apply(self, body: str, received_at: datetime | None = None) -> None:
        """Apply one webhook, whose signature was verified, and which was received now or at a time.

        Raises:
            freshness.codat.webhook_parser.Malformed: it is not a webhook as Codat describes it. The parts of it that
                are were applied.
            NotPublished, ContentionError, ClientError, BotoCoreError: it could not be applied now.
        """
        try:
            facts = webhook_parser.parse(body, received_at or self.clock())
        except webhook_parser.Malformed as malformed:
            self._apply_all(malformed.facts)
            raise
        if facts is None:
            self.tally[Metric.WEBHOOKS_NOT_USED] += 1
            return
        self._apply_all(facts)
        self.tally[Metric.WEBHOOKS_APPLIED] += 1

    def _apply_all(self, facts: Iterable[WebhookFact]) -> None:
        for fact in facts:
            self._apply(fact)
        self._record_reads(facts)

    def _apply(self, fact: WebhookFact) -> None:
        match fact:
            case LimitReached() | LimitReset():
                self._record_limit(fact)
            case ReadEnded():
                self._record_read(fact)
            case DatasetEnded():
                self._record_dataset(fact)
            case DataWritten():
                self._record_on_feed(fact.company_id, fact.data_type, fact.connection_id, fact)
            case ConnectionChanged():
                self._record_connection(fact)
            case CompanyCreated() | CompanyDeleted():
                self.recorder.record_company(self._company(fact.company_id), fact)

    def _company(self, company_id: str) -> Company:
        return self.tables.companies.get(company_id) or Company(company_id=company_id)

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

    def _record_read(self, fact: ReadEnded) -> None:
        ended = outcome(fact.state)
        if ended is Outcome.IN_FLIGHT:
            return
        self.tally[_ENDED.get(ended, Metric.READS_FAILED_FOR_NOW)] += 1
        self.tally[Metric.READS_FAILED] += ended is not Outcome.COMPLETE
        self._record_on_feed(fact.company_id, fact.data_type, fact.connection_id, fact)

    def _record_reads(self, facts: Iterable[WebhookFact]) -> None:
        """Record on companies through which connections reads were refused, or succeed again.

        A company is only written where that changes it. It is read after the feeds were written, and the feeds after a
        refusal was written, so that of a refusal and a later success which arrive together both are seen.
        """
        ends: dict[str, list[ReadEnd]] = defaultdict(list)
        for fact in facts:
            if isinstance(fact, ReadEnded):
                ends[fact.company_id].append((fact.connection_id, fact.state, fact.at))
        for company_id, of_company in ends.items():
            reads = reads_ended(of_company)
            if reads.refused:
                known = replace(reads, succeeded=self._successes(company_id))
                self._record_on_company(company_id, known)
                reads = ReadsEnded(succeeded=self._successes(company_id))
            self._record_on_company(company_id, reads)

    def _record_on_company(self, company_id: str, reads: ReadsEnded) -> None:
        known = self.tables.companies.get(company_id, consistent=True)
        if known is None:
            return
        company = self.recorder.record_company(known, reads)
        refused = [
            {each.connection_id for each in of.connections.values() if each.is_refused} for of in (known, company)
        ]
        if changed := refused[0] ^ refused[1]:
            self._reschedule(company, changed)

    def _reschedule(self, company: Company, connection_ids: Collection[str]) -> None:
        """Record on the feeds of connections that these have changed."""
        feeds = self.tables.feeds.of_company(company.company_id)
        self.recorder.record_feeds(
            company, [(feed, (Rescheduled(),)) for feed in feeds if feed.connection_id in connection_ids]
        )

    def _successes(self, company_id: str) -> dict[str, datetime]:
        """Return when the latest successful read through each connection of a company ended."""
        return dict(reads_of(self.tables.feeds.of_company(company_id)).succeeded)

    def _record_on_feed(
        self, company_id: str, data_type: str, connection_id: str, fact: ReadEnded | DataWritten
    ) -> None:
        """Record a fact about a feed. A connection that is not known yet makes its company due for a check."""
        company = self._company(company_id)
        if company.deleted_at:
            return
        if connection_id not in company.connections:
            company = self.recorder.record_company(company, CheckNeeded())
        feed = Feed(company_id=company_id, data_type=data_type, connection_id=connection_id)
        self.recorder.record_feed(feed, company, fact)

    def _record_dataset(self, fact: DatasetEnded) -> None:
        """Record the end of a feed's latest dataset. What any other dataset means, only a check can find out."""
        company = self._company(fact.company_id)
        if company.deleted_at or outcome(fact.state) is Outcome.IN_FLIGHT:
            return
        feed = self._feed_of(fact)
        if feed is None or feed.connection_id not in company.connections:
            company = self.recorder.record_company(company, CheckNeeded())
        if feed:
            self.recorder.record_feed(feed, company, fact)
            self._record_on_company(fact.company_id, ReadsEnded(succeeded=self._successes(fact.company_id)))

    def _feed_of(self, fact: DatasetEnded) -> Feed | None:
        feeds = self.tables.feeds.of_company(fact.company_id)
        return next((feed for feed in feeds if feed.request and feed.request.dataset_id == fact.dataset_id), None)

    def _record_connection(self, fact: ConnectionChanged) -> None:
        company = self.recorder.record_company(self._company(fact.company_id), fact)
        if not company.deleted_at:
            self._reschedule(company, [fact.connection.connection_id])
