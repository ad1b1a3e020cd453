"""A check: finding out which companies there are, and asking Codat how fresh the data of those due is.

The check is the truth. Whatever a webhook failed to tell, it finds: datasets that ended, that others asked for,
companies and connections that came, changed or went.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from aws_lambda_powertools import Logger

from freshness.app.concurrency import for_each
from freshness.aws.event_bus import Bus, CompanyDataRefreshed, NotPublished, RelinkNeeded, connection_news
from freshness.aws.metrics import Metric
from freshness.aws.store import ContentionError, Store
from freshness.codat import status_poller
from freshness.codat.client import Codat
from freshness.codat.errors import AccountLimit, CodatError, NotFound, RateLimited, Refused, Unauthorized
from freshness.codat.models import CompanyAnswer
from freshness.codat.status_poller import Key
from freshness.domain import backoff
from freshness.domain.company import Company, Connection
from freshness.domain.dataset import Dataset, DatasetState, Trigger, has_ended
from freshness.domain.feed import LONGEST_SYNC, Feed
from freshness.domain.reconcile import Sighting, sighted
from freshness.domain.times import sortable
from freshness.planning.sync_durations import SyncDurations
from freshness.policy.policy import Policy

CHECK_EVERY = timedelta(days=1)
"""How long a company may go unheard of."""
KEEP_ALIVE_AFTER = timedelta(days=28)
"""After how long without a sync a connection is read from, lest its token expire: Codat advises once a month."""
AT_ONCE = 10
PAGE = 100
"""Companies looked up together while the list is read."""

logger = Logger(service="codat-freshness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One tick of checking. `until` is when to leave the rest to the next tick; `tally` counts what happened."""

    store: Store
    codat: Codat
    bus: Bus
    policy: Policy
    clock: Callable[[], datetime]
    until: datetime
    tally: Counter[Metric] = field(default_factory=Counter)
    stopped_by: list[CodatError] = field(default_factory=list)
    failures: list[NotPublished | ContentionError] = field(default_factory=list)
    """Why some companies were left as they are to the next tick, which does not keep others from their turn."""
    samples: defaultdict[tuple[str, str], list[timedelta]] = field(default_factory=lambda: defaultdict(list))
    """How long syncs took that were seen to end, by platform and data type."""

    async def list_companies(self) -> bool:
        """Read Codat's list of companies, and make those that are new or have changed due for a check.

        A page at a time: all of a large fleet would not fit in memory. Returns whether time sufficed for the whole
        list; what was noted need not be again, so that the next tick gets further.

        Raises:
            CodatError: the list could not be read to its end.
        """
        page: list[tuple[datetime, CompanyAnswer]] = []
        async with aclosing(self.codat.companies()) as companies:
            async for listed in companies:
                page.append(listed)
                if len(page) < PAGE:
                    continue
                if not self._may_go_on():
                    return False
                await asyncio.to_thread(self._note_listed, page)
                page = []
        await asyncio.to_thread(self._note_listed, page)
        return True

    def _note_listed(self, page: list[tuple[datetime, CompanyAnswer]]) -> None:
        known = self.store.companies(answer.id for _, answer in page)
        for at, answer in page:
            company = known.get(answer.id) or Company(company_id=answer.id)
            listed = self._listed(company, answer, at)
            if listed == company:
                continue
            try:
                self._publish_connections(company, listed)
                self.store.change_company(company, partial(self._listed, answer=answer, at=at))
            except (NotPublished, ContentionError) as error:
                self.failures.append(error)

    def _publish_connections(self, before: Company, after: Company) -> None:
        """Tell of connections that lapsed, or came back, without a webhook telling it."""
        for connection_id, connection in after.connections.items():
            event_id = f"{connection_id}/{sortable(connection.status_at)}"
            known = before.connections.get(connection_id)
            news = connection_news(event_id, after.company_id, known, connection)
            if news is None:
                continue
            self.bus.publish([news])
            if known and isinstance(news, RelinkNeeded):
                self.tally[Metric.RELINKS_NEEDED] += 1

    def _listed(self, company: Company, answer: CompanyAnswer, at: datetime) -> Company:
        connections = [
            Connection(
                connection_id=connection.id,
                platform=connection.platform_name,
                source_type=connection.source_type,
                status=connection.status,
                status_at=at,
                link_url=connection.link_url,
            )
            for connection in answer.data_connections
        ]
        listed = company.listed(answer.name, answer.tags, connections, at, self.clock())
        if listed.planned_by != self.policy.fingerprint:
            return replace(listed, check_at=min(filter(None, (listed.check_at, self.clock()))))
        return listed

    async def check_due(self) -> bool:
        """Check the companies that are due. Returns whether all of them were reached."""
        due = self.store.companies_due_for_check(self.clock())
        times = await asyncio.to_thread(self.store.sync_durations)
        done = await for_each(due, partial(self._check_one, times=times), at_once=AT_ONCE, go_on=self._may_go_on)
        if self.samples:
            await asyncio.to_thread(self.store.change_sync_times, times, lambda times: times.learned(self.samples))
        return done

    async def read_sync_settings(self) -> None:
        """Read Codat's own schedule if that was long ago, and say so if it doubles what we promise."""
        known, now = await asyncio.to_thread(self.store.sync_settings), self.clock()
        if not known.are_old(now):
            return
        try:
            settings = await self.codat.sync_settings()
        except CodatError as error:
            # A key may lack the permission for this alone.
            logger.warning("Codat's own schedule could not be read", extra={"error": str(error)})
            return
        told = known.told(settings, now)
        if told.hours and told.hours != known.hours:
            self.tally[Metric.DOUBLED_SCHEDULES] += len(told.hours)
            logger.warning(
                "Codat syncs data types by its own schedule too, so that they are paid for twice: "
                "turn that off in Codat's portal, Settings > Integrations > Data types",
                extra={"hours_by_data_type": told.hours},
            )
        await asyncio.to_thread(self.store.change_sync_settings, known, lambda known: known.told(settings, now))

    def _may_go_on(self) -> bool:
        return not self.stopped_by and not self.codat.is_down and self.clock() < self.until

    async def _check_one(self, company_id: str, times: SyncDurations) -> None:
        try:
            await self._check(company_id, times)
        except NotFound:
            await asyncio.to_thread(self._forget, company_id)
        except (Unauthorized, AccountLimit, RateLimited) as error:
            logger.error("Codat refuses further calls", extra={"error": str(error)})
            self.stopped_by.append(error)
        except (NotPublished, ContentionError) as error:
            self.failures.append(error)
        except CodatError as error:
            logger.warning("A company could not be checked", extra={"company_id": company_id, "error": str(error)})
            self.tally[Metric.CHECKS_FAILED] += 1
            await asyncio.to_thread(self._check_failed, company_id, error)

    def _check_failed(self, company_id: str, error: CodatError) -> None:
        company, now = self.store.company(company_id), self.clock()
        first = backoff.FIRST_REFUSED if isinstance(error, Refused) else backoff.FIRST
        longest = backoff.LONGEST_UNANSWERED if error.status is None else backoff.LONGEST
        if company:
            self.store.change_company(company, lambda company: company.check_failed(now, first, longest))

    async def _check(self, company_id: str, times: SyncDurations) -> None:
        company = await asyncio.to_thread(self.store.company, company_id)
        if company is None:
            return
        if company.deleted_at:
            await asyncio.to_thread(self.store.forget, company, company.deleted_at)
            return
        feeds = await asyncio.to_thread(self.store.feeds, company_id)
        told = None
        if self._must_ask(company, feeds):
            told = await status_poller.ask(self.codat, company, feeds, self.clock())
            self.tally[Metric.COMPANIES_CHECKED] += 1
        await asyncio.to_thread(self._note, company, feeds, told, times)

    def _must_ask(self, company: Company, feeds: list[Feed]) -> bool:
        """Whether Codat can tell something that is not known: a company heard of lately is not asked for nothing."""
        if not company.was_linked:
            return False
        now = self.clock()
        checked_at = company.checked_at
        if checked_at is None or any(c.status_at > checked_at for c in company.connections.values()):
            return True
        if any(feed.late_at and feed.late_at <= now for feed in feeds):
            return True
        heard_at = max((feed.end.at for feed in feeds if feed.end), default=checked_at)
        return max(heard_at, checked_at) + CHECK_EVERY <= now

    def _note(
        self, company: Company, feeds: list[Feed], told: dict[Key, list[Sighting]] | None, times: SyncDurations
    ) -> None:
        asked, told = told is not None, told or {}
        known = {(feed.data_type, feed.connection_id): feed for feed in feeds}
        data_types = {data_type for data_type, _ in (*known, *told)} | self.policy.named_for(company)
        fed = {
            (data_type, connection.connection_id)
            for data_type in data_types
            for connection in company.active_connections(data_type)
        }
        noted = []
        for data_type, connection_id in sorted(fed):
            feed = known.get((data_type, connection_id)) or Feed(
                company_id=company.company_id, data_type=data_type, connection_id=connection_id
            )
            noted.append(self._note_feed(feed, company, told.get((data_type, connection_id), ()), times))
        for key in known.keys() - fed:
            self.store.delete_feed(known[key])
        self._keep_alive(company, noted)
        self.store.change_company(company, partial(self._checked, known=company, asked=asked))

    def _checked(self, company: Company, known: Company, asked: bool) -> Company:
        if company.version != known.version:
            # The company changed during the check, so the check may have missed something: it stays due.
            return company
        now = self.clock()
        return replace(
            company,
            check_at=now + CHECK_EVERY,
            checked_at=now if asked else company.checked_at,
            failed_checks=0,
            planned_by=self.policy.fingerprint,
        )

    def _note_feed(self, feed: Feed, company: Company, told: Sequence[Sighting], times: SyncDurations) -> Feed:
        connection = company.connections[feed.connection_id]
        promise = self.policy.promise(feed.data_type, company, connection)

        def note(feed: Feed) -> Feed:
            for sighting in told:
                feed = sighted(feed, sighting, connection.status_at)
            return feed.expecting(times.typical(connection.platform, feed.data_type)).planned(promise, connection)

        noted = note(feed)
        # A crash must leave a feed that still waits for the end of its dataset, not a dataset that no feed waits for.
        running, ended = ([s for s in told if s.dataset_id and has_ended(s.state) is over] for over in (False, True))
        for sighting in ended:
            self._note_dataset(feed, noted, sighting)
        if feed.version and noted.succeeded_at != feed.succeeded_at:
            self._publish_refreshed(noted)
        if feed.version and noted.tells_of_others(feed):
            self.tally[Metric.REFRESHES_BY_OTHERS] += 1
        self._learn(feed, noted, connection)
        changed = self.store.change_feed(feed, note)
        for sighting in running:
            self._note_dataset(feed, noted, sighting)
        return changed

    def _learn(self, before: Feed, after: Feed, connection: Connection) -> None:
        """Keep how long a sync took: the one that this check found the end of, or those that webhooks told of."""
        request, end = before.in_flight, after.end
        took = None
        if request and request.dataset_id and end and end.dataset_id == request.dataset_id:
            # When others requested theirs is not always known, only when it was first seen.
            ours = request.trigger is not Trigger.EXTERNAL
            took = end.at - request.at if ours and end.state == DatasetState.COMPLETE else None
        elif before.has_sync_times:
            took = before.usual_sync_time
        if took and took <= LONGEST_SYNC:
            self.samples[connection.platform, before.data_type].append(took)

    def _keep_alive(self, company: Company, feeds: list[Feed]) -> None:
        """Have the quickest data type refreshed of each connection that nothing was read from for long."""
        now = self.clock()
        for connection in company.connections.values():
            fed = [feed for feed in feeds if feed.connection_id == connection.connection_id and not feed.is_unsupported]
            fed = [feed for feed in fed if not feed.is_blocked(connection)]
            read_at = max((feed.succeeded_at for feed in fed if feed.succeeded_at), default=connection.status_at)
            if (
                not fed
                or read_at + KEEP_ALIVE_AFTER > now
                or any(feed.in_flight or feed.refresh_requested_at for feed in fed)
            ):
                continue
            quickest = min(fed, key=lambda feed: (feed.usual_sync_time, feed.data_type))
            self.store.change_feed(quickest, partial(self._asked_for, company=company, now=now))
            self.tally[Metric.CONNECTIONS_KEPT_ALIVE] += 1

    def _asked_for(self, feed: Feed, company: Company, now: datetime) -> Feed:
        connection = company.connections[feed.connection_id]
        promise = self.policy.promise(feed.data_type, company, connection)
        return feed.asked_for(now, Trigger.KEEP_ALIVE).planned(promise, connection)

    def _note_dataset(self, before: Feed, after: Feed, sighting: Sighting) -> None:
        """Keep the state that a dataset was seen in; one that had ended before it was ever in flight here is past."""
        requests = [request for request in (before.request, after.request) if request]
        request = next((request for request in requests if request.dataset_id == sighting.dataset_id), None)
        if request is None or not (before.in_flight or after.in_flight):
            return
        ended_at = None
        if has_ended(sighting.state):
            completed_at = sighting.succeeded_at if sighting.state == DatasetState.COMPLETE else None
            ended_at = sighting.ended_at or completed_at or sighting.at
        self.store.merge_dataset(
            Dataset(
                company_id=after.company_id,
                dataset_id=sighting.dataset_id,
                data_type=after.data_type,
                connection_id=after.connection_id,
                trigger=request.trigger,
                requested_at=request.at,
                states={sighting.state: ended_at or sighting.at},
                ended_at=ended_at,
            )
        )

    def _publish_refreshed(self, feed: Feed) -> None:
        if feed.succeeded_at is None or feed.end is None:
            return
        self.tally[Metric.REFRESHES_FOUND_BY_CHECK] += 1
        self.bus.publish(
            [
                CompanyDataRefreshed(
                    id=feed.end.dataset_id or f"{feed.connection_id}-{feed.data_type}-{feed.succeeded_at.isoformat()}",
                    company_id=feed.company_id,
                    connection_id=feed.connection_id,
                    data_type=feed.data_type,
                    refreshed_at=feed.succeeded_at,
                    records_modified=None,
                )
            ]
        )

    def _forget(self, company_id: str) -> None:
        """Stop watching a company that Codat no longer knows."""
        company = self.store.company(company_id) or Company(company_id=company_id)
        self.store.forget(company, self.clock())
        self.tally[Metric.COMPANIES_DELETED] += 1
        logger.info("Codat no longer knows a company", extra={"company_id": company_id})
