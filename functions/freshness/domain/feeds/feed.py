"""Feed: a data type of a company from one connection, the unit that is kept fresh.

A feed is a value. Each fact gives a new feed. Neither the order of facts nor their repetition matters: of each kind,
the latest by Codat's clock is kept, and comparing two of them shows whether a dataset is in flight.
`freshness.domain.transitions.transition` applies facts, and `freshness.domain.feeds.schedule` computes when a feed is
due.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from freshness.domain import backoff
from freshness.domain.clean_text import shown
from freshness.domain.companies.company import Connection
from freshness.domain.datasets.dataset import LONGEST_REASON, OUTCOMES, Outcome, Trigger, paused_until
from freshness.domain.datasets.sync_history import LONGEST_SYNC, NO_HISTORY, SyncHistory, usual_duration
from freshness.domain.feeds.feed_values import AsOf, Breach, Decided, End, Request, State, Unanswered, Wanted
from freshness.domain.promises.promise import Promise

DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)
"""The precision of durations of syncs, and of the times of their requests."""
MIN_LATE_AFTER = timedelta(seconds=30)
MAX_LATE_AFTER = timedelta(hours=6)
"""The shortest time until a dataset in flight is late, and the longest time between two checks of one that still
runs."""
LONGEST_PAUSE = timedelta(days=1)
"""How long Codat's last word that a read is paused is believed: daily limits of platforms end by then."""
UNKNOWN_SYNC_TIME = timedelta(seconds=15)
"""How long a sync is assumed to take until one was measured."""

FeedKey = tuple[str, str, str]
"""What identifies a feed: company, data type and connection."""
KeyInCompany = tuple[str, str]
"""What identifies it among the feeds of its company: data type and connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A data type of a company from one connection, with all that is known of it."""

    company_id: str
    data_type: str
    connection_id: str
    last_dataset: Request | None = None
    end: End | None = None
    succeeded_at: datetime | None = None
    attempts: int = 0
    """Requests made by this stack since the last success."""
    running_state: str = ""
    """The state in which the dataset in flight was last seen."""
    running_description: str = ""
    """What Codat said of that state, such as until when it pauses the read."""
    seen_running_at: datetime | None = None
    """When a check last saw the requested dataset still running."""
    history: SyncHistory = NO_HISTORY
    """The last syncs, as `SyncHistory.with_end` keeps them."""
    refresh_requested_at: datetime | None = None
    """When a refresh beyond the promise was requested; `None` once it is queued."""
    refresh_requested_by: Trigger = Trigger.OPERATOR
    wanted: Wanted | None = None
    """What callers need that the copy does not have yet."""
    failed_calls: int = 0
    """How many calls to queue a refresh failed in a row."""
    retry_at: datetime | None = None
    """When the next call may be made after a failed one."""
    unanswered: Unanswered | None = None
    """The last call, if its response is not known: it is repeated with the same idempotency key."""
    platform_sync_time: timedelta | None = None
    """How long a sync usually takes on this platform; used until this feed's own syncs were measured."""
    quiet_since: datetime | None = None
    """Since when nothing has changed at the source, once that is as long as `quiet_after` and was published."""
    changes_per_day: float | None = None
    """How often the data changes at the source, as estimated when the feed was last scheduled."""
    requests_that_day: int = 0
    """Requests made by this stack on the day, in UTC, of the latest request."""
    decided: Decided | None = None
    """The last decision that changed the feed. `freshness.planning.planner` computes which one applies now."""
    written_at: datetime | None = None
    """When the user last wrote data of this type to the platform: an older copy is out of date."""
    broken_at: datetime | None = None
    """When the promise broke, if that was published and the promise is not known to be kept again."""
    miss_expected_at: datetime | None = None
    """The time of the last deadline that was published as at risk."""
    breach: Breach | None = None
    """The open breach, without the time that is recorded already."""
    due_at: datetime | None = None
    """When a tick must read the feed next; indexed."""
    version: int = 0

    @property
    def key(self) -> FeedKey:
        return self.company_id, self.data_type, self.connection_id

    @property
    def in_flight(self) -> Request | None:
        """Return the request whose dataset has not ended yet; `None` if there is none."""
        if self.last_dataset and (self.end is None or self.end.at < self.last_dataset.at):
            return self.last_dataset
        return None

    @property
    def changes(self) -> list[Request | End]:
        """Return the latest request and the latest end, as far as they are known, the later first."""
        known = (self.last_dataset, self.end)
        return sorted((change for change in known if change), key=lambda change: change.at, reverse=True)

    @property
    def latest_dataset_id(self) -> str:
        """Return the id of the dataset that was requested or ended last; empty if it is unknown.

        An end that only a webhook reported has no id here, even if the webhook names its dataset: the id is then that
        of the latest request.
        """
        return next((change.dataset_id for change in self.changes if change.dataset_id), "")

    def age(self, now: datetime) -> timedelta | None:
        """Return how old Codat's copy is; `None` if there never was one."""
        return None if self.succeeded_at is None else now - self.succeeded_at

    @property
    def as_of(self) -> AsOf | None:
        """Return when the read of Codat's copy was requested, or an estimate of that; `None` without a copy."""
        return None if self.succeeded_at is None else self.as_of_read(self.succeeded_at)

    def as_of_read(self, ended_at: datetime) -> AsOf:
        """Return when the successful read that ended at `ended_at` was requested, or an estimate of that."""
        requested_at = self.history.requested_at(ended_at)
        if requested_at is None:
            return AsOf(at=ended_at - LONGEST_SYNC, is_estimated=True)
        return AsOf(at=requested_at, is_estimated=False)

    def keeps(self, promise: Promise, now: datetime) -> bool:
        """Return whether the copy is as fresh as promised, and not older than what the user last wrote."""
        if self.succeeded_at is None or (self.written_at and self.succeeded_at < self.written_at):
            return False
        return promise.is_kept(self.succeeded_at, now)

    def requested(self, request: Request) -> "Feed":
        """Return the feed after a dataset was requested, by us or by anyone else."""
        known = self.last_dataset
        if known and known.at > request.at:
            return self
        if known and request.dataset_id and known.dataset_id == request.dataset_id:
            return self
        ours = request.trigger is not Trigger.EXTERNAL
        attempts, that_day = self.failures + ours, self.requests_on(request.at.date()) + ours
        return replace(
            self,
            last_dataset=request,
            # A webhook may overtake the response that names the dataset.
            history=self.history.with_request(request.at, measured=ours),
            attempts=attempts,
            requests_that_day=that_day,
            running_state="",
            running_description="",
            seen_running_at=None,
            refresh_requested_at=None,
            refresh_requested_by=Trigger.OPERATOR,
            failed_calls=0,
            retry_at=None,
            unanswered=None,
        )

    def ended(self, end: End, records_modified: bool | None = None, began_at: datetime | None = None) -> "Feed":
        """Return the feed after a dataset ended. `began_at` is when it was requested, if that is known.

        `records_modified` is whether the sync found changes, and `None` if that is unknown: Codat always reports false
        for the first read of a connection. An end with a dataset id counts as polled, and as exact: an end from a
        webhook is given none, even if the webhook names its dataset.
        """
        succeeded = OUTCOMES[end.state] is Outcome.COMPLETE
        requested_at = self.last_dataset.at if self.last_dataset else None
        is_answered = self.unanswered is None or end.at >= self.unanswered.at
        latest, succeeded_at = self.end, self.succeeded_at
        if latest is None or latest.rank < end.rank:
            latest = end.with_reason_of(latest)
        elif latest.is_report_of(end):
            # The end that a poll found is exact: a webhook is dated later.
            succeeded_at = end.at if succeeded_at == latest.at else succeeded_at
            latest = end.with_reason_of(latest)
        else:
            latest = latest.with_reason_of(end)
        return replace(
            self,
            # The dataset that an unanswered call may have queued has ended: the next call is a new one.
            unanswered=None if is_answered else self.unanswered,
            end=latest,
            succeeded_at=max(filter(None, (succeeded_at, end.at))) if succeeded else succeeded_at,
            history=self.history.with_end(
                end.at,
                records_modified,
                succeeded=succeeded,
                requested_at=requested_at,
                # Of a dataset that others requested, only the time when it was first seen may be known.
                measured=self.last_dataset is not None and self.last_dataset.trigger is not Trigger.EXTERNAL,
                polled=bool(end.dataset_id),
                began_at=began_at,
            ),
        )

    def written(self, at: datetime) -> "Feed":
        """Return the feed after the user wrote data of this type to the platform."""
        return replace(self, written_at=max(filter(None, (self.written_at, at))))

    def with_refresh_requested(self, at: datetime, trigger: Trigger = Trigger.OPERATOR) -> "Feed":
        """Return the feed after a refresh beyond the promise was requested; unchanged while a dataset is in flight."""
        return self if self.in_flight else replace(self, refresh_requested_at=at, refresh_requested_by=trigger)

    def is_as_of(self, not_before: datetime) -> bool:
        """Return whether Codat's copy is known to be as of a time or later: an estimate is not enough."""
        as_of, request = self.as_of, self.last_dataset
        if as_of is None or as_of.is_estimated:
            return False
        if request and request.serves and abs(request.at - as_of.at) < MILLISECOND:
            return request.is_of(not_before)
        return as_of.at >= not_before

    def with_wanted(self, wanted: Wanted) -> "Feed":
        """Return the feed after a caller asked for data as of a time or later; unchanged if the copy is that fresh."""
        if self.is_as_of(wanted.not_before):
            return self
        known = self.wanted or wanted
        merged = Wanted(
            not_before=max(known.not_before, wanted.not_before),
            deadline=min(known.deadline, wanted.deadline),
            at_any_time=known.at_any_time or wanted.at_any_time,
        )
        return replace(self, wanted=merged)

    def without_satisfied(self) -> "Feed":
        """Return the feed without `wanted`, if the copy is that fresh now."""
        if self.wanted is None or not self.is_as_of(self.wanted.not_before):
            return self
        return replace(self, wanted=None)

    def call_failed(self, at: datetime, longest: timedelta, unanswered: Unanswered | None = None) -> "Feed":
        """Return the feed after a call to queue a refresh failed. The next call waits for a delay of at most `longest`.

        `unanswered` is the failed call, if it may have taken effect.
        """
        failed_calls = self.failed_calls + 1
        retry_at = at + backoff.delay("".join(self.key), failed_calls, longest=longest)
        return replace(self, failed_calls=failed_calls, retry_at=retry_at, unanswered=unanswered)

    def requests_on(self, day: date) -> int:
        """Return how many requests this stack made on a day in UTC. It is not before that of the latest request."""
        return self.requests_that_day if self.last_dataset and self.last_dataset.at.date() == day else 0

    @property
    def failures(self) -> int:
        """Return how many requests made by this stack failed in a row, not counting one that still runs."""
        if self.last_dataset and self.succeeded_at and self.succeeded_at >= self.last_dataset.at:
            return 0
        runs = self.in_flight is not None and self.in_flight.trigger is not Trigger.EXTERNAL
        return max(self.attempts - runs, 0)

    @property
    def usual_sync_time(self) -> timedelta:
        """Return how long nine of ten syncs of this feed take at most."""
        return usual_duration(self.history.durations, self.platform_sync_time) or UNKNOWN_SYNC_TIME

    @property
    def paused_until(self) -> datetime | None:
        """Return until when Codat pauses the dataset in flight; `None` if it does not.

        That counts for at most `LONGEST_PAUSE` after Codat last said so.
        """
        until = paused_until(self.running_description) if self.in_flight and self.running_description else None
        if until is None or self.seen_running_at is None:
            return None
        return min(until, self.seen_running_at + LONGEST_PAUSE)

    @property
    def late_at(self) -> datetime | None:
        """Return when the dataset in flight is late, and a check must ask Codat about it; `None` if none is in flight.

        Each check that finds it still running doubles the time until the next check, up to `MAX_LATE_AFTER`: an
        on-premise platform may take days. While Codat pauses the dataset, the next check is at the end of the pause.
        """
        if self.in_flight is None:
            return None
        requested_at = self.in_flight.at
        if self.seen_running_at is None:
            return requested_at + max(2 * self.usual_sync_time, MIN_LATE_AFTER)
        if self.paused_until and self.paused_until > self.seen_running_at:
            return self.paused_until
        waited = self.seen_running_at - requested_at
        return self.seen_running_at + min(max(waited, MIN_LATE_AFTER), MAX_LATE_AFTER)

    def is_blocked(self, connection: Connection) -> bool:
        """Return whether a person must act before a refresh can succeed."""
        if not connection.is_linked or connection.is_refused:
            return True
        if self.end is None or OUTCOMES[self.end.state] is not Outcome.PERSON_MUST_ACT:
            return False
        return self.end.at >= connection.status_at

    @property
    def is_unsupported(self) -> bool:
        """Return whether the platform does not have the data type."""
        return self.end is not None and OUTCOMES[self.end.state] is Outcome.NEVER

    @property
    def is_failing(self) -> bool:
        """Return whether the last read or call failed, and the next may succeed."""
        last_failed = self.end is not None and OUTCOMES[self.end.state] in (Outcome.TRY_AGAIN, Outcome.UNKNOWN)
        # A call that failed no longer matters once somebody else's read has succeeded.
        is_outdated = self.retry_at and self.succeeded_at and self.succeeded_at >= self.retry_at
        return last_failed or (self.failed_calls > 0 and not is_outdated)

    def state(self, promise: Promise, connection: Connection, now: datetime) -> State:
        if promise.off or connection.suffices(self.succeeded_at):
            return State.OFF
        if self.is_unsupported:
            return State.UNSUPPORTED
        if self.is_blocked(connection):
            return State.BLOCKED
        if self.in_flight:
            return State.REFRESHING
        if self.is_failing:
            return State.FAILING
        if not self.keeps(promise, now):
            return State.STALE
        return State.QUIET if self.quiet_since else State.FRESH

    def codat_says(self, connection: Connection, state: State) -> str:
        """Return why the feed is in a state, in Codat's own words, cleaned and shortened to be shown; empty if unknown.

        The words are about the dataset that runs or ended last, or else about the connection. A lapsed connection comes
        first.
        """
        of_end = self.end.reason if self.end else ""
        match state:
            case State.REFRESHING:
                said = self.running_description or (connection.reason if connection.is_on_premise else "")
            case State.BLOCKED if connection.lapsed_at:
                said = connection.reason or of_end
            case State.BLOCKED | State.FAILING | State.UNSUPPORTED:
                said = of_end or connection.reason
            case _:
                said = ""
        return shown(said, LONGEST_REASON)


def is_known_dataset(feed: Feed, dataset_id: str) -> bool:
    """Return whether a dataset is the one that was requested last, or the one that ended last."""
    return dataset_id in {each.dataset_id for each in (feed.last_dataset, feed.end) if each}


def without_plans(feed: Feed) -> Feed:
    """Return what is kept of a feed after its deletion: what its reads showed, but no plans."""
    return Feed(
        company_id=feed.company_id,
        data_type=feed.data_type,
        connection_id=feed.connection_id,
        last_dataset=None if feed.in_flight else feed.last_dataset,
        end=feed.end,
        succeeded_at=feed.succeeded_at,
        history=feed.history,
        quiet_since=feed.quiet_since,
        platform_sync_time=feed.platform_sync_time,
        written_at=feed.written_at,
    )
