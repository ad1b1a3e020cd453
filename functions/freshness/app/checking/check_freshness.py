"""Checking freshness: polling Codat for the data status of the companies that are due.

A check finds whatever a webhook did not report: datasets that ended or that others requested, and companies and
connections that were added, changed or deleted.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from aws_lambda_powertools import Logger

from freshness.app.checking.list_companies import CompanyList
from freshness.app.checking.replanning import Replanning
from freshness.app.company_turns import CompanyTurn, CompanyTurns, longest_wait
from freshness.app.reading.report import burn_percent
from freshness.app.services import Services
from freshness.app.tick import LISTING, MAX_CONCURRENCY, Failures, Run, for_each, is_due, stop_metrics
from freshness.app.webhook_heartbeat import is_silent
from freshness.aws.metrics import TOO_FAST, Metric
from freshness.codat import status_poller
from freshness.codat.client import Codat
from freshness.codat.errors import AllRefused, CodatError, Forbidden, NotFound, Refused
from freshness.domain import backoff
from freshness.domain.companies.company import Company
from freshness.domain.companies.company_facts import CheckFailed, CheckSucceeded, CompanyFact, CompanyNotFound
from freshness.domain.companies.listing import Listing
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.codat_schedule import CodatSchedule
from freshness.domain.feeds.facts import DatasetPolled, FeedFact, RefreshRequested, SyncDurationLearned
from freshness.domain.feeds.feed import Feed, KeyInCompany
from freshness.domain.transitions.company_transition import CHECK_EVERY, reads_of
from freshness.domain.transitions.notifications import CompanyDataRefreshed
from freshness.domain.transitions.transition import Transition
from freshness.planning.sync_durations import SyncDurations

LIST_EVERY = timedelta(minutes=15)
KEEP_ALIVE_AFTER = timedelta(days=28)
"""After so long without a read, one is requested: a connection's token may expire. Codat advises a read a month."""

logger = Logger(service="codat-freshness")


async def check_freshness(services: Services, run: Run) -> None:
    """Run one tick: measure attainment, apply a changed policy, list companies, and check those that are due.

    Raises:
        NotPublished, ContentionError, BotoCoreError, ClientError: AWS failed. Everything else that could be done was
            done.
    """
    if services.start_paused:
        services.tables.control.pause_if_new(LISTING, services.clock())
    _measure(services)
    failures = Failures(services.counts)
    replanned = await Replanning(services=services, until=run.until, failures=failures).run()
    limits = services.tables.control.api_limits()
    if not services.accepts_calls(limits):
        services.recorder.write_collected()
        failures.raise_temporary()
        return
    async with services.codat(run.until, known=limits) as codat:
        check = FreshnessCheck(services=services, codat=codat, until=run.until, failures=failures)
        await check.list_companies_if_due()
        done = await check.check_due()
    services.recorder.write_collected()
    counts = Counter(services.counts) + stop_metrics(check.stopped_by)
    if is_silent(services.tables.control, counts[Metric.REFRESHES_FOUND_BY_CHECK], services.clock()):
        counts[Metric.WEBHOOKS_SILENT] += 1
        logger.error("Refreshes end, but no webhook arrives: see docs/webhooks.md, Silence")
    if not (done and replanned) and not check.stopped_by and not codat.is_down:
        counts[Metric.TICKS_CUT_SHORT] += 1
    measured = {**counts, Metric.CODAT_CALLS: codat.calls, Metric.RESPONSE_ITEMS_SKIPPED: codat.items_skipped}
    services.emit(measured)
    logger.info("Tick of check_freshness ended", extra={"counts": measured})
    failures.raise_temporary()


def _measure(services: Services) -> None:
    """Sum up attainment that is no longer kept by hour, and emit the burn rate of error budgets if it is too high."""
    tables, now = services.tables, services.clock()
    tables.attainment.settle(now)
    measured = {Metric.BURN_RATE: burn_percent(tables, services.policy, now)}
    if measured[Metric.BURN_RATE] >= TOO_FAST:
        services.emit(measured)
    logger.info("Attainment was measured", extra={"counts": measured})


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessCheck:
    """One tick of checking. At `until` the rest is left to the next tick."""

    services: Services
    codat: Codat
    until: datetime
    stopped_by: list[CodatError] = field(default_factory=list)
    failures: Failures
    """Why some companies were left to the next tick. The others still have their turn."""
    durations: defaultdict[tuple[str, str], list[timedelta]] = field(default_factory=lambda: defaultdict(list))
    """The usual sync times of the feeds that were checked, by platform and data type."""

    async def list_companies_if_due(self) -> None:
        """List the companies and read Codat's own schedule, unless that was done within `LIST_EVERY`."""
        control, now = self.services.tables.control, self.services.clock()
        if not is_due(control.last_done(LISTING), LIST_EVERY, now):
            return
        try:
            listing = CompanyList(services=self.services, codat=self.codat, until=self.until, failures=self.failures)
            if await listing.record():
                control.put_done(LISTING, now)
            await read_codat_schedule(self.services, self.codat)
        except CodatError as error:
            self.services.counts.count(Metric.LISTING_FAILED)
            if isinstance(error, AllRefused | Forbidden):
                self.stopped_by.append(error)
            logger.warning(
                "The list of companies could not be read; the next tick tries again",
                extra={"error": str(error)},
            )

    async def check_due(self) -> bool:
        """Check the companies that are due. Return whether all of them were reached."""
        due = self.services.tables.companies.due_for_check(self.services.clock())
        known = await asyncio.to_thread(self.services.tables.control.read, SyncDurations)
        turns = CompanyTurns(
            services=self.services, codat=self.codat, failures=self.failures, should_continue=self._may_continue
        )
        doubtful: list[CompanyTurn] = []

        async def take_turn(company_id: str) -> None:
            with self.failures.collected({"company_id": company_id}):
                company = await asyncio.to_thread(self.services.tables.companies.get, company_id)
                if company is None or company.deleted_at:
                    return
                turn = CompanyTurn(
                    company, partial(self._check_one, company, known), has_failed=company.failed_checks > 0
                )
                if turns.is_doubtful(company):
                    doubtful.append(turn)
                else:
                    await turns.take(turn)

        done = await for_each(due, take_turn, max_concurrency=MAX_CONCURRENCY, should_continue=self._may_continue)
        await turns.try_again(doubtful)
        if self.durations:
            await asyncio.to_thread(
                self.services.tables.control.update, known, lambda known: known.learned(self.durations)
            )
        return done

    def _may_continue(self) -> bool:
        return not self.stopped_by and not self.codat.is_down and self.services.clock() < self.until

    async def _check_one(self, company: Company, known: SyncDurations) -> None:
        company_id = company.company_id
        with self.failures.collected({"company_id": company_id}):
            try:
                await self._check(company, known)
            except NotFound as error:
                believed_at = (await asyncio.to_thread(self.services.tables.control.read, Listing)).believed_at
                await asyncio.to_thread(self._record, company_id, CompanyNotFound(at=error.at, believed_at=believed_at))
            except AllRefused as error:
                logger.error("Codat refuses further calls", extra={"error": str(error)})
                self.stopped_by.append(error)
            except CodatError as error:
                logger.warning("A company could not be checked", extra={"company_id": company_id, "error": str(error)})
                self.services.counts.count(Metric.CHECKS_FAILED)
                await asyncio.to_thread(self._record, company_id, _failed(error, self.codat))

    def _record(self, company_id: str, fact: CompanyFact) -> None:
        company = self.services.tables.companies.get(company_id)
        if company is None or company.deleted_at:
            return
        if self.services.recorder.record_company(company, fact).deleted_at:
            self.services.counts.count(Metric.COMPANIES_DELETED)
            logger.info("A company was deleted at Codat", extra={"company_id": company_id})

    async def _check(self, company: Company, known: SyncDurations) -> None:
        feeds = await asyncio.to_thread(self.services.tables.feeds.of_company, company.company_id)
        polled: dict[KeyInCompany, list[DatasetPolled]] | None = None
        if self._needs_poll(company, feeds):
            polled = await status_poller.poll(self.codat, company, feeds, self.services.clock())
            self.services.counts.count(Metric.COMPANIES_CHECKED)
        await asyncio.to_thread(self._record_check, company, feeds, polled, known)

    def _needs_poll(self, company: Company, feeds: list[Feed]) -> bool:
        """Return whether Codat may know something new about a company: not if its facts are recent."""
        if not company.was_linked:
            return False
        now = self.services.clock()
        checked_at = company.checked_at
        if checked_at is None or any(c.status_at > checked_at for c in company.connections.values()):
            return True
        if any(feed.late_at and feed.late_at <= now for feed in feeds):
            return True
        # An end with a dataset's id is from a poll of that dataset alone. A webhook tells about other reads too.
        reported = [feed.end.at for feed in feeds if feed.end and not feed.end.dataset_id]
        return max([checked_at, *reported]) + CHECK_EVERY <= now

    def _record_check(
        self,
        company: Company,
        feeds: list[Feed],
        polled: Mapping[KeyInCompany, list[DatasetPolled]] | None,
        known: SyncDurations,
    ) -> None:
        by_key = {(feed.data_type, feed.connection_id): feed for feed in feeds}
        active = self.services.policy.feeds_of(company, by_key.keys() | (polled or {}).keys())
        facts: list[tuple[Feed, list[FeedFact]]] = []
        for data_type, connection_id in sorted(active):
            feed = by_key.get((data_type, connection_id)) or Feed(
                company_id=company.company_id, data_type=data_type, connection_id=connection_id
            )
            learned = known.typical(company.connections[connection_id].platform, data_type)
            found = (polled or {}).get((data_type, connection_id), [])
            facts.append((feed, [*found, SyncDurationLearned(duration=learned)]))
        followed = self.services.recorder.record_feeds(company, facts)
        self._count(company, followed)
        recorded = [each.feed for each in followed]
        for key in by_key.keys() - active:
            self.services.recorder.delete(by_key[key])
        self._keep_alive(company, recorded)
        fact = CheckSucceeded(
            version=company.version,
            polled=polled is not None,
            reads=reads_of(recorded),
            feeds=_supported(
                feed for feed in recorded if not company.connections[feed.connection_id].suffices(feed.succeeded_at)
            ),
        )
        self.services.recorder.record_company(company, fact)

    def _count(self, company: Company, followed: Iterable[Transition]) -> None:
        """Count the refreshes that the check found, and collect the usual sync times of the feeds."""
        for each in followed:
            feed = each.feed
            found = sum(isinstance(notification, CompanyDataRefreshed) for notification in each.notifications)
            self.services.counts.count(Metric.REFRESHES_FOUND_BY_CHECK, found)
            if feed.history.durations:
                platform = company.connections[feed.connection_id].platform
                self.durations[platform, feed.data_type].append(feed.usual_sync_time)

    def _keep_alive(self, company: Company, feeds: list[Feed]) -> None:
        """For each connection without a read for `KEEP_ALIVE_AFTER`, request a refresh of its quickest data type."""
        now = self.services.clock()
        for connection in company.connections.values():
            readable = [
                feed
                for feed in feeds
                if feed.connection_id == connection.connection_id
                and not self.services.policy.promise(feed.data_type, company, connection).off
                and not feed.is_unsupported
                and not connection.suffices(feed.succeeded_at)
                and not feed.is_blocked(connection)
            ]
            read_at = max((feed.succeeded_at for feed in readable if feed.succeeded_at), default=connection.status_at)
            is_requested = any(feed.in_flight or feed.refresh_requested_at or feed.wanted for feed in readable)
            if not readable or read_at + KEEP_ALIVE_AFTER > now or is_requested:
                continue
            quickest = min(readable, key=lambda feed: (feed.usual_sync_time, feed.data_type))
            self.services.recorder.record_feed(quickest, company, RefreshRequested(at=now, trigger=Trigger.KEEP_ALIVE))
            self.services.counts.count(Metric.CONNECTIONS_KEPT_ALIVE)


async def read_codat_schedule(services: Services, codat: Codat) -> None:
    """Read the account's sync settings once a day, and warn if Codat syncs data types that are kept fresh here too.

    The account's settings must not name data types of the policy's custom products at all.
    """
    control, now = services.tables.control, services.clock()
    of_products = services.policy.products_types
    known = await asyncio.to_thread(control.read, CodatSchedule)
    if not known.is_outdated(now):
        return
    try:
        settings = await codat.sync_settings()
    except CodatError as error:
        # A key may lack the permission for this alone.
        logger.warning("Codat's sync settings could not be read", extra={"error": str(error)})
        return
    schedule = CodatSchedule(
        on_first_link=frozenset(setting.data_type for setting in settings if setting.fetch_on_first_link),
        hours={setting.data_type: setting.sync_schedule for setting in settings if setting.sync_schedule > 0},
        read_at=now,
    )
    doubled = schedule.doubles(of_products)
    if doubled and (schedule.hours != known.hours or doubled != known.doubles(of_products)):
        services.counts.count(Metric.DOUBLED_SCHEDULES, len(doubled))
        logger.warning(
            "Codat syncs data types on its own schedule as well, so that each is read twice: "
            "turn that off in Codat's portal, Settings > Integrations > Data types",
            extra={"data_types": sorted(doubled), "hours_by_data_type": schedule.hours},
        )
    await asyncio.to_thread(control.update, known, lambda _: schedule)


def _failed(error: CodatError, codat: Codat) -> CheckFailed:
    return CheckFailed(
        first=backoff.FIRST_REFUSED if isinstance(error, Refused) else backoff.FIRST,
        longest=longest_wait(error, codat),
    )


def _supported(feeds: Iterable[Feed]) -> dict[str, tuple[str, ...]]:
    """Return the data types of the feeds that are supported, by connection id."""
    data_types: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for feed in feeds:
        if not feed.is_unsupported:
            data_types[feed.connection_id] += (feed.data_type,)
    return dict(data_types)
