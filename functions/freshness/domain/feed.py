"""One feed: a data type of a company, as read from one connection. What happened to it, and what that means.

A feed is a value. Everything that is learned makes a new feed out of it, in such a way that the order in which
things are learned does not matter, nor does learning one of them twice: each fact is kept as the latest of its
kind by Codat's own clock, and whether a dataset is in flight follows from comparing two such facts.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from freshness.domain import backoff, windows
from freshness.domain.change_rate import change_rate, confident_for
from freshness.domain.company import Connection
from freshness.domain.dataset import DatasetState, Outcome, Trigger, outcome
from freshness.domain.promise import Promise
from freshness.domain.sync_history import NO_HISTORY, SyncHistory
from freshness.domain.times import BEGINNING

DAY = timedelta(days=1)
ANOTHER_LOOK = timedelta(minutes=30)
"""Longer than from one list of companies to the next."""
FIRST_PATIENCE = timedelta(seconds=30)
LONGEST_PATIENCE = timedelta(hours=6)
UNKNOWN_SYNC_TIME = timedelta(seconds=15)
"""How long a sync is taken to last until one was seen to end."""
LONGEST_SYNC = timedelta(minutes=30)
"""What took longer was waiting, for a customer's own machine perhaps: it tells nothing of how long a sync takes."""
ASKED_FOR = BEGINNING - timedelta(seconds=1)
"""When a feed that a person asked for is due: before all that a promise makes due."""
WORTH_NOTING = 0.25
"""A usual sync time that differs by less than this share is not worth a write."""
TICK = timedelta(minutes=2)
"""How long a due feed may wait for its request: for the next tick, and in it for its turn."""

FeedKey = tuple[str, str, str]
"""What tells feeds apart: company, data type and connection."""


class State(StrEnum):
    """What a reader sees of a feed."""

    FRESH = "fresh"
    STALE = "stale"
    REFRESHING = "refreshing"
    FAILING = "failing"
    BLOCKED = "blocked"
    UNSUPPORTED = "unsupported"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The latest dataset asked for. `dataset_id` is empty where Codat did not say it."""

    at: datetime
    trigger: Trigger
    dataset_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The latest dataset that ended, and in which state. `dataset_id` is empty where Codat did not say it."""

    at: datetime
    state: str
    dataset_id: str = ""

    @property
    def rank(self) -> tuple[datetime, bool, str, str]:
        """By which the latest is told; of two at the same time, one that succeeded."""
        return self.at, outcome(self.state) is Outcome.COMPLETE, self.state, self.dataset_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Why a feed was written last by a tick of queueing: what was decided of it then."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What is known of one data type from one connection."""

    company_id: str
    data_type: str
    connection_id: str
    request: Request | None = None
    end: End | None = None
    succeeded_at: datetime | None = None
    changed_at: datetime | None = None
    attempts: int = 0
    """Requests of ours since the last success."""
    seen_running_at: datetime | None = None
    """When a check last saw the requested dataset still running."""
    syncs: SyncHistory = NO_HISTORY
    """The last successful syncs, as `SyncHistory.thinned` keeps them."""
    refresh_requested_at: datetime | None = None
    """When a refresh was asked for, beyond the promise, that has not been requested yet."""
    refresh_requested_by: Trigger = Trigger.OPERATOR
    failed_calls: int = 0
    """Calls to queue a refresh that failed in a feed, for a reason that another try may mend."""
    retry_at: datetime | None = None
    """When such a call may be tried again."""
    platform_sync_time: timedelta | None = None
    """How long a sync usually takes on this platform, for as long as this feed tells nothing of its own."""
    changes_per_day: float | None = None
    """How often it changes at the source, as far as was known when it was last planned."""
    requests_that_day: int = 0
    """Requests of ours on the day, in UTC, of the latest request."""
    decided: Decided | None = None
    """The last decision that changed anything; what holds now, `freshness.planning.planner` works out anew."""
    written_at: datetime | None = None
    """When our user last wrote such data to the platform: a copy from before that is out of date."""
    broken_at: datetime | None = None
    """When the promise ended, if that was told, and not yet that it is kept again."""
    due_at: datetime | None = None
    """When a tick must look at the feed, kept so that it can be indexed."""
    version: int = 0

    @property
    def key(self) -> FeedKey:
        """What tells this feed from others."""
        return self.company_id, self.data_type, self.connection_id

    @property
    def in_flight(self) -> Request | None:
        """The request whose dataset has not ended yet."""
        if self.request and (self.end is None or self.end.at < self.request.at):
            return self.request
        return None

    def knows(self, dataset_id: str) -> bool:
        """Whether a dataset is the one last requested or the one last ended."""
        return any(event and event.dataset_id == dataset_id for event in (self.request, self.end))

    def age(self, now: datetime) -> timedelta | None:
        """How old Codat's copy is; `None` if there never was one."""
        return None if self.succeeded_at is None else now - self.succeeded_at

    def keeps(self, promise: Promise, now: datetime) -> bool:
        """Whether the copy is as young as promised, and from after our user last wrote."""
        if self.succeeded_at is None or (self.written_at and self.succeeded_at < self.written_at):
            return False
        return now - self.succeeded_at <= promise.fresh_within

    def breaks_at(self, promise: Promise, connection: Connection) -> datetime | None:
        """When the copy becomes older than promised; `None` where nothing is promised.

        Where there never was a copy, the promise counts from when Codat last told of the connection.
        """
        if promise.off or self.is_unsupported:
            return None
        return (self.succeeded_at or connection.status_at) + promise.fresh_within

    def told(self, promise: Promise, connection: Connection, now: datetime) -> "Feed":
        """The feed with `broken_at` as it is to be told now. A promise is kept again only by a new copy."""
        breaks_at = self.breaks_at(promise, connection)
        if breaks_at and breaks_at <= now:
            return replace(self, broken_at=breaks_at)
        return self if breaks_at and self.succeeded_at is None else replace(self, broken_at=None)

    def news_at(self, promise: Promise, connection: Connection) -> datetime | None:
        """When there is something to tell of its promise: that it broke, or, at once, that it is kept again."""
        breaks_at = self.breaks_at(promise, connection)
        if self.broken_at is None or breaks_at is None:
            return breaks_at
        return self.broken_at if self.succeeded_at and breaks_at != self.broken_at else None

    def written(self, at: datetime) -> "Feed":
        """The feed after our user wrote such data to the platform."""
        return replace(self, written_at=max(filter(None, (self.written_at, at))))

    def asked_for(self, now: datetime, by: Trigger = Trigger.OPERATOR) -> "Feed":
        """The feed after a refresh was asked for beyond the promise; one that is in flight is what was asked for."""
        return self if self.in_flight else replace(self, refresh_requested_at=now, refresh_requested_by=by)

    def requested(self, request: Request) -> "Feed":
        """The feed after a dataset was asked for, by us or by others."""
        known = self.request
        if known and known.at > request.at:
            return self
        if known and request.dataset_id and known.dataset_id == request.dataset_id:
            return self
        attempts, that_day = self.attempts, self.requests_on(request.at.date())
        if request.trigger is not Trigger.EXTERNAL:
            attempts, that_day = self.failures + 1, that_day + 1
        return replace(
            self,
            request=request,
            attempts=attempts,
            requests_that_day=that_day,
            seen_running_at=None,
            refresh_requested_at=None,
            refresh_requested_by=Trigger.OPERATOR,
            failed_calls=0,
            retry_at=None,
        )

    def call_failed(self, at: datetime, longest: timedelta) -> "Feed":
        """Return the feed after a call to queue a refresh failed, due again after a delay of at most `longest`."""
        failed_calls = self.failed_calls + 1
        retry_at = at + backoff.delay("".join(self.key), failed_calls, longest=longest)
        return replace(self, failed_calls=failed_calls, retry_at=retry_at)

    def requests_on(self, day: date) -> int:
        """How often we asked for it on a day in UTC, no earlier than that of the latest request."""
        return self.requests_that_day if self.request and self.request.at.date() == day else 0

    def ended(self, end: End, records_modified: bool | None = None) -> "Feed":
        """The feed after a dataset ended.

        `records_modified` is what Codat says of changes, `None` where it says nothing that means anything (it
        always says false of the first read after linking).
        """
        latest = self.end if self.end and self.end.rank >= end.rank else end
        if outcome(end.state) is not Outcome.COMPLETE:
            return self if latest is self.end else replace(self, end=latest)
        succeeded_at, changed_at, syncs = max(filter(None, (self.succeeded_at, end.at))), self.changed_at, self.syncs
        if records_modified:
            changed_at = max(filter(None, (changed_at, end.at)))
        if records_modified is not None:
            syncs = syncs.with_end(end.at, records_modified, self.request.at if self.request else None)
        return replace(self, end=latest, succeeded_at=succeeded_at, changed_at=changed_at, syncs=syncs)

    @property
    def failures(self) -> int:
        """Requests of ours that failed in a feed; one that still runs is not counted."""
        if self.request and self.succeeded_at and self.succeeded_at >= self.request.at:
            return 0
        return self.attempts if not self.in_flight else max(self.attempts - 1, 0)

    @property
    def has_sync_times(self) -> bool:
        """Whether it is known of this very feed how long a sync of it takes."""
        return any(took <= LONGEST_SYNC for took in self.syncs.times)

    @property
    def usual_sync_time(self) -> timedelta:
        """How long a sync of this feed takes at most, nine times out of ten."""
        known = [took for took in self.syncs.times if took <= LONGEST_SYNC]
        return known[len(known) * 9 // 10] if known else self.platform_sync_time or UNKNOWN_SYNC_TIME

    def expecting(self, platform_sync_time: timedelta | None) -> "Feed":
        """The feed with what is usual for its platform, where that is better than nothing and has changed by much."""
        known = self.platform_sync_time
        if platform_sync_time is None or self.has_sync_times:
            return self
        if known and abs(platform_sync_time - known) <= WORTH_NOTING * known:
            return self
        return replace(self, platform_sync_time=platform_sync_time)

    def tells_of_others(self, before: "Feed") -> bool:
        """Whether a dataset came to light, since this feed was as `before`, that none of ours asked for."""
        if self.request != before.request and self.request and self.request.trigger is Trigger.EXTERNAL:
            return True
        ours = before.request.dataset_id if before.request else ""
        return self.end != before.end and self.end is not None and self.end.dataset_id not in ("", ours)

    @property
    def late_at(self) -> datetime | None:
        """When the dataset in flight is later than it should be, so that a check must find out about it.

        Each check that finds it still running doubles the patience: an on-premise platform may take days.
        """
        if self.in_flight is None:
            return None
        requested_at = self.in_flight.at
        if self.seen_running_at is None:
            return requested_at + max(2 * self.usual_sync_time, FIRST_PATIENCE)
        waited = self.seen_running_at - requested_at
        return self.seen_running_at + min(max(waited, FIRST_PATIENCE), LONGEST_PATIENCE)

    def is_blocked(self, connection: Connection) -> bool:
        """Whether a person must act before a refresh can succeed: relink, or give back permissions."""
        if not connection.is_linked:
            return True
        if self.end is None or outcome(self.end.state) is not Outcome.PERSON_MUST_ACT:
            return False
        return self.end.at >= connection.status_at

    @property
    def is_unsupported(self) -> bool:
        """Whether the platform has no such data type."""
        return self.end is not None and outcome(self.end.state) is Outcome.NEVER

    @property
    def is_failing(self) -> bool:
        """Whether the last dataset failed in a way that another try may mend."""
        return self.end is not None and outcome(self.end.state) in (Outcome.TRY_AGAIN, Outcome.UNKNOWN)

    def state(self, promise: Promise, connection: Connection, now: datetime) -> State:
        """What a reader sees of the feed."""
        if promise.off:
            return State.OFF
        if self.is_unsupported:
            return State.UNSUPPORTED
        if self.is_blocked(connection):
            return State.BLOCKED
        if self.in_flight:
            return State.REFRESHING
        if self.is_failing:
            return State.FAILING
        return State.FRESH if self.keeps(promise, now) else State.STALE

    def due(self, promise: Promise, connection: Connection) -> datetime | None:
        """When its next refresh should be queued so that the promise holds; `None` if there is to be none.

        While a dataset is in flight, the time stays where it was, so that the feed remains in sight of the ticks; one
        that was asked for before it was due comes into sight once it is late.
        """
        in_flight = self.in_flight
        if in_flight and (self.seen_running_at or promise.off or self.is_blocked(connection)):
            return self.late_at
        if self.is_unsupported or not connection.is_linked:
            return None
        if self.end and self.is_blocked(connection):
            return None if promise.off else self._another_look_at(self.end)
        if self.refresh_requested_at:
            return self.retry_at or ASKED_FOR
        wanted = () if promise.off else (self._promised(promise), self._outdated_at(connection))
        due = min(filter(None, wanted), default=None)
        if in_flight:
            return min(filter(None, (due, self.late_at)))
        if due and self.end and self.is_failing:
            due = max(due, self.end.at + self._retry_delay)
        return max(due, self.retry_at) if due and self.retry_at else due

    def _another_look_at(self, end: End) -> datetime | None:
        """When to try a feed that is blocked though its connection is linked: never, if permissions are missing.

        An authorization may have come and gone between two lists of companies, without a webhook to tell. By then
        another list has told whether it is still there.
        """
        if end.state != DatasetState.AUTH_ERROR:
            return None
        return end.at + max(self._retry_delay, ANOTHER_LOOK)

    def is_bound(self, promise: Promise, now: datetime) -> bool:
        """Whether the bound on its age alone asks for a refresh by now."""
        age = self.age(now)
        if age is None or not promise.confidence:
            return True
        if not promise.windows and age < promise.fresh_within - min(LONGEST_SYNC + TICK, promise.fresh_within / 2):
            return False  # however long its syncs take
        bound_at = self._at_age(self._bound(promise), promise)
        return bound_at is not None and bound_at <= now

    def _bound(self, promise: Promise) -> timedelta:
        """The age at which the bound asks for a refresh.

        That is so early that a sync usually ends before the bound, but not before half of it has passed.
        """
        return promise.fresh_within - min(self.usual_sync_time + TICK, promise.fresh_within / 2)

    def _promised(self, promise: Promise) -> datetime | None:
        """When the bound on its age, or before it the confidence, asks for a refresh."""
        if not promise.confidence:
            return self._at_age(self._bound(promise), promise)
        age = max(confident_for(promise.confidence, self.rate(promise)), promise.at_most_every)
        if age > promise.fresh_within / 2:
            age = min(age, self._bound(promise))
        return self._at_age(age, promise)

    def _at_age(self, age: timedelta, promise: Promise) -> datetime | None:
        """When it reaches an age, or before, if no refresh may be queued then; at once if it never was synced."""
        if self.succeeded_at is None:
            return BEGINNING
        return windows.planned(promise.windows, self.succeeded_at + age, after=self.succeeded_at, room=TICK)

    def _outdated_at(self, connection: Connection) -> datetime | None:
        """When the copy went out of date, however young it is: our user wrote, or the connection had been away."""
        since = max(self.written_at or BEGINNING, connection.reconnected_at or BEGINNING)
        return since if self.succeeded_at and self.succeeded_at < since else None

    def rate(self, promise: Promise) -> float:
        """How often it is taken to change at the source, a day."""
        return self.changes_per_day or promise.expected_changes_per_day

    @property
    def _retry_delay(self) -> timedelta:
        return backoff.delay(f"{self.company_id}{self.data_type}{self.connection_id}", self.attempts)

    def planned(self, promise: Promise, connection: Connection) -> "Feed":
        """The feed with what was learned, and `due_at`, worked out anew: when it is due, or has news of its promise."""
        learned = len(self.syncs) > 1
        rate = change_rate(self.syncs.observations, promise.expected_changes_per_day) if learned else None
        feed = self if rate == self.changes_per_day else replace(self, changes_per_day=rate)
        due_at = min(filter(None, (feed.due(promise, connection), feed.news_at(promise, connection))), default=None)
        return feed if due_at == feed.due_at else replace(feed, due_at=due_at)
