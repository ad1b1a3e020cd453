"""What the command line, the API and the page show of companies and feeds, read from the tables and the policy."""

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice

from freshness.app.forecast import misses_ahead
from freshness.app.queueing.decide_now import decide_now
from freshness.app.reading.diagnosis import Conditions, Subject, diagnose, parties
from freshness.app.reading.views import (
    ConsentView,
    Explanation,
    FeedExport,
    FeedView,
    FleetView,
    FoundDataset,
    MissView,
    SpendingView,
    Summary,
    TimingView,
)
from freshness.app.services import Services
from freshness.aws.dynamodb.control import DispatchState
from freshness.aws.dynamodb.item_codec import DATASETS_KEPT
from freshness.domain.companies.company import Company, Connection
from freshness.domain.companies.pause import Pause, in_force
from freshness.domain.datasets.dataset import Dataset, DatasetState
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import State
from freshness.domain.feeds.schedule import breaks_at, probability_up_to_date
from freshness.domain.times import BEGINNING
from freshness.planning.decision import Decision, Reason

EXPORTED_AT_ONCE = 200
"""How many companies an export reads at once."""
READERS = 8
"""How many queries run at once. Each takes about five milliseconds, and mostly waits."""


class NotFound(Exception):
    """What was named does not exist, or is ambiguous. The message says what to name instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Answers questions about the tables."""

    services: Services

    def find_company(self, name: str) -> Company:
        """Return the company with this id or, ignoring case, this name or unique beginning of a name.

        Raises:
            NotFound: there is none, or there are several.
        """
        if company := self.services.tables.companies.get(name):
            return company
        companies = list(self.services.tables.companies.scan())
        wanted = name.casefold()
        found = [company for company in companies if company.name.casefold() == wanted] or [
            company for company in companies if company.name.casefold().startswith(wanted)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(f"{company.name} {company.company_id}" for company in found)
            raise NotFound(f"{len(found)} companies have a name like {name!r}: use an id ({ids}).")
        near = difflib.get_close_matches(name, [company.name for company in companies], n=1)
        hint = f"did you mean {near[0]!r}?" if near else '"./freshness status --companies" lists all companies.'
        raise NotFound(f"No company has the id or the name {name!r}: {hint}")

    def find_feeds(self, company: Company, data_types: Iterable[str] = ()) -> list[Feed]:
        """Return the feeds of a company, or those of `data_types` if any are named.

        Raises:
            NotFound: the company has no feed of one of the data types.
        """
        return _of_types(company, self.services.tables.feeds.of_company(company.company_id), set(data_types))

    def fleet(self, now: datetime) -> FleetView:
        """Return every feed. This reads the tables of companies and of feeds whole."""
        by_company: dict[str, list[Feed]] = defaultdict(list)
        for feed in self.services.tables.feeds.scan():
            by_company[feed.company_id].append(feed)
        companies = sorted(self.services.tables.companies.scan(), key=lambda each: (each.name, each.company_id))
        feeds = [feed for company in companies for feed in by_company[company.company_id]]
        views = tuple(view for view, _ in self.judged(companies, feeds, now))
        return FleetView(views, ConsentView.all_of(companies))

    def summary(self, fleet: FleetView, now: datetime) -> Summary:
        """Return a fleet in numbers."""
        broken = fleet.broken
        waiting = parties((feed.turn, 1) for feed in broken)
        late = [feed for feed in fleet.feeds if feed.state not in (State.UNSUPPORTED, State.OFF)]
        return Summary(
            at=now,
            companies=len({feed.company_id for feed in fleet.feeds}),
            pause=self.pause(now),
            states=fleet.states,
            promises=fleet.promises,
            promises_broken=len(broken),
            broken_by_turn={party.turn: party.feeds for party in waiting},
            waits_for=waiting,
            oldest_age_against_promise=max((feed.age / feed.promise for feed in broken if feed.age), default=None),
            limits=self.services.tables.control.api_limits(),
            not_fresh=tuple(sorted((feed for feed in late if not feed.keeps_promise), key=_worst_first)),
            ending_consents=fleet.ending_consents,
            misses_ahead=tuple(map(MissView.of, misses_ahead(self.services, now))),
            spending=tuple(self.spending(now)),
        )

    def company(self, company: Company, now: datetime, account: DispatchState | None = None) -> tuple[FeedView, ...]:
        """Return every feed of one company. `account` is read if it is not given."""
        feeds = self.services.tables.feeds.of_company(company.company_id)
        return tuple(view for view, _ in self.judged([company], feeds, now, account))

    def explain(self, company: Company, data_type: str, now: datetime) -> list[Explanation]:
        """Return everything known of a data type of a company, for each connection that it is read from.

        Raises:
            NotFound: the company has no such feed.
        """
        feeds = self.services.tables.feeds.of_company(company.company_id)
        wanted = {feed.key for feed in _of_types(company, feeds, {data_type})}
        judged = self.judged([company], feeds, now)
        return [self._explanation(view, decision, now) for view, decision in judged if view.key in wanted]

    def dataset(self, dataset_id: str) -> FoundDataset:
        """Return a dataset. This reads all companies, and looks for the dataset in each.

        Raises:
            NotFound: there is no record of it.
        """
        companies = {company.company_id: company for company in self.services.tables.companies.scan()}
        found = self.services.tables.datasets.find(dataset_id, companies)
        if found is None:
            raise NotFound(
                f"No dataset {dataset_id!r} is recorded. Those that were queued here, or seen to run, are kept for "
                f'{DATASETS_KEPT.days} days: "./freshness explain COMPANY TYPE" lists those of a data type.'
            )
        company = companies[found.company_id]
        feed = self.services.tables.feeds.get(found.company_id, found.data_type, found.connection_id)
        connection = company.connections.get(found.connection_id)
        return FoundDataset(
            dataset=_as_it_runs(found, feed),
            data_type=found.data_type,
            company_id=company.company_id,
            company_name=company.name,
            connection_id=found.connection_id,
            platform=connection.platform if connection else "",
        )

    def conditions(self, now: datetime, account: DispatchState | None = None) -> Conditions:
        """Return the limits and the pause that hold for all feeds. `account` is read if it is not given."""
        account = account or self.services.tables.control.account()
        return Conditions(at=now, limits=account.limits, pause=in_force(account.pause, now))

    def pause(self, now: datetime) -> Pause | None:
        """Return the pause of all refreshes, if there is one now."""
        return in_force(self.services.tables.control.paused(), now)

    def paused_companies(self, now: datetime) -> list[Company]:
        """Return the companies that are paused individually, by name. This reads all companies."""
        paused = (company for company in self.services.tables.companies.scan() if in_force(company.pause, now))
        return sorted(paused, key=lambda company: (company.name, company.company_id))

    def spending(self, now: datetime) -> Iterator[SpendingView]:
        """Yield what was spent this month at each platform that has a cap."""
        policy = self.services.policy
        if policy.budget.spending:
            refreshes = self.services.tables.spending.refreshes(now)
            for platform, cap in policy.budget.spending.items():
                spent = refreshes[platform] * policy.prices[platform].amount
                yield SpendingView(platform=platform, spent=spent, cap=cap.amount, currency=cap.currency)

    def export(self, now: datetime) -> Iterator[FeedExport]:
        """Yield every feed with its last syncs. Companies are read in batches, so that memory does not grow."""
        companies, account = self.services.tables.companies.scan(), self.services.tables.control.account()
        while some := list(islice(companies, EXPORTED_AT_ONCE)):
            for view, decision in self.judged(some, self._feeds_of(some), now, account):
                company = decision.company
                yield FeedExport(
                    feed=view,
                    source_type=company.connections[view.connection_id].source_type,
                    tags=company.tags,
                    syncs=tuple(decision.feed.history),
                )

    def _feeds_of(self, companies: Iterable[Company]) -> list[Feed]:
        with ThreadPoolExecutor(READERS) as readers:
            of_companies = readers.map(self.services.tables.feeds.of_company, [each.company_id for each in companies])
            return list(chain.from_iterable(of_companies))

    def judged(
        self,
        companies: Collection[Company],
        feeds: Iterable[Feed],
        now: datetime,
        account: DispatchState | None = None,
    ) -> Iterator[tuple[FeedView, Decision]]:
        """Yield feeds as people see them, each with what the next tick would decide about it.

        All feeds of the companies must be given. They come in the order of `companies`. `account` is read if it is not
        given.
        """
        known = {company.company_id: company for company in companies}
        account = account or self.services.tables.control.account()
        conditions = self.conditions(now, account)
        of_company: dict[str, list[Decision]] = defaultdict(list)
        for decision in decide_now(self.services, feeds, known, account, now):
            of_company[decision.company.company_id].append(decision)
        for company in companies:
            for decision in sorted(of_company[company.company_id], key=lambda decision: decision.feed.key):
                if connection := company.connections.get(decision.feed.connection_id):
                    yield self._view(decision, connection, conditions), decision

    def _view(self, decision: Decision, connection: Connection, conditions: Conditions) -> FeedView:
        feed, company, now = decision.feed, decision.company, conditions.at
        promise = self.services.policy.promise(feed.data_type, company, connection)
        in_force, state, as_of = promise.at(now), feed.state(promise, connection, now), feed.as_of
        broken_at = breaks_at(feed, promise, connection)
        is_broken = broken_at is not None and broken_at <= now
        misses_at = feed.miss_expected_at if feed.miss_expected_at and feed.miss_expected_at > now else None
        subject = Subject(
            feed=feed,
            company=company,
            connection=connection,
            promise=promise,
            state=state,
            is_broken=is_broken,
            misses_at=misses_at,
            reason=decision.reason,
        )
        return FeedView(
            company_id=company.company_id,
            company_name=company.name,
            data_type=feed.data_type,
            connection_id=feed.connection_id,
            platform=connection.platform,
            state=state,
            age=feed.age(now),
            succeeded_at=feed.succeeded_at,
            as_of=as_of.at if as_of else None,
            as_of_is_estimated=as_of is not None and as_of.is_estimated,
            probability_up_to_date=probability_up_to_date(feed, promise, now),
            quiet_since=feed.quiet_since,
            promise=in_force.fresh_within,
            breaks_at=broken_at,
            is_broken=is_broken,
            misses_at=misses_at,
            keeps_promise=feed.keeps(promise, now),
            is_due=feed.in_flight is None and feed.due_at is not None and feed.due_at <= now,
            due_at=feed.due_at,
            dataset_id=feed.latest_dataset_id,
            changed_at=feed.changes[0].at if feed.changes else BEGINNING,
            diagnosis=diagnose(subject, conditions),
            codat_says=feed.codat_says(connection, state),
            rule=in_force.source,
            reason=self._reason(feed.decided.reason if feed.decided else decision.reason, decision),
            next_reason=decision.reason,
        )

    def _reason(self, reason: str, decision: Decision) -> str:
        """Return why something was decided, with the names of the set or windows behind it."""
        feed, company = decision.feed, decision.company
        names: list[str] = []
        if reason in (Reason.DUE_WITH_SET, Reason.WAITING_FOR_SET):
            together = self.services.policy.set_of(feed.data_type, company)
            names = [together.name] if together else []
        elif reason == Reason.OUTSIDE_WINDOW:
            promise = self.services.policy.promise(feed.data_type, company, company.connections[feed.connection_id])
            names = [window.name for window in promise.windows]
        return " ".join([reason, ", ".join(f'"{name}"' for name in names)]).rstrip()

    def _explanation(self, view: FeedView, decision: Decision, now: datetime) -> Explanation:
        reason = self._reason(decision.reason, decision)
        company = decision.company
        promise = self.services.policy.promise(view.data_type, company, company.connections[view.connection_id])
        return Explanation(
            feed=view,
            action=decision.action,
            reason=f"{reason}: {view.obstacle}" if view.obstacle else reason,
            # At that time, a feed that cannot be read is looked at, and not refreshed.
            until=decision.until if company.connections[view.connection_id].is_linked else None,
            changes_per_day=decision.feed.changes_per_day,
            changes_are_learned=any(True for _ in decision.feed.history.observations()),
            last_decided=decision.feed.decided,
            datasets=tuple(self._datasets(decision.feed)),
            timing=tuple(TimingView.all_of(promise, now)),
        )

    def _datasets(self, feed: Feed) -> list[Dataset]:
        datasets = [
            _as_it_runs(dataset, feed)
            for dataset in self.services.tables.datasets.of_company(feed.company_id)
            if (dataset.data_type, dataset.connection_id) == (feed.data_type, feed.connection_id)
        ]
        if (request := feed.in_flight) and request.dataset_id not in {dataset.dataset_id for dataset in datasets}:
            in_flight = Dataset(
                company_id=feed.company_id,
                dataset_id=request.dataset_id,
                data_type=feed.data_type,
                connection_id=feed.connection_id,
                trigger=request.trigger,
                state=feed.running_state or DatasetState.QUEUED,
                requested_at=request.at,
                reason=feed.running_description,
            )
            datasets.append(in_flight)
        return sorted(datasets, key=lambda dataset: dataset.requested_at, reverse=True)


def _as_it_runs(dataset: Dataset, feed: Feed) -> Dataset:
    """Return a dataset of a feed. While it runs, its state is taken from the feed."""
    if feed.in_flight is None or feed.in_flight.dataset_id != dataset.dataset_id:
        return dataset
    return replace(dataset, state=feed.running_state or dataset.state, reason=feed.running_description)


def _of_types(company: Company, feeds: list[Feed], wanted: set[str]) -> list[Feed]:
    """Return a company's feeds of the wanted data types, or all feeds if none are named."""
    known = sorted({feed.data_type for feed in feeds})
    for data_type in sorted(wanted - set(known)):
        listed = ", ".join(known) or "none yet, because it was not checked yet"
        raise NotFound(f"{company.name} has no data type {data_type!r}. It has {listed}.")
    return [feed for feed in feeds if not wanted or feed.data_type in wanted]


def _worst_first(feed: FeedView) -> tuple[bool, float]:
    return bool(feed.obstacle), -(feed.age / feed.promise if feed.age else float("inf"))
