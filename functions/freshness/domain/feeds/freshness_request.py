"""Requests for fresh data: a caller needs data types of a company as of a time or later, by a deadline."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from freshness.domain.companies.company import Company, Connection
from freshness.domain.feeds.feed import MILLISECOND, Feed
from freshness.domain.promises import windows
from freshness.domain.promises.promise import Promise

KEPT = timedelta(days=7)
"""How long a request is kept after it was accepted, unless the policy says longer."""
LONGEST_PURPOSE = 200
"""The most characters of a request's purpose."""
ENOUGH_SYNCS = 3
"""How many measured syncs show how short a sync can be."""


class OnLate(StrEnum):
    """The caller's preference if the deadline passes."""

    STALE = "stale"
    """The best copy, with its age."""
    FAIL = "fail"
    """A failure, at once if it can be foreseen."""


class FeedState(StrEnum):
    """A feed's state, as a request sees it."""

    FRESH = "fresh"
    STALE = "stale"
    FAILED = "failed"
    NEEDS_PERSON = "needs-person"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedResult:
    """The result of a request for one feed. Times are those of the copy, and `None` if there is none."""

    data_type: str
    connection_id: str
    state: FeedState
    as_of: datetime | None = None
    as_of_is_estimated: bool = False
    refreshed_at: datetime | None = None
    records_modified: bool | None = None
    dataset_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessRequest:
    """An accepted request for fresh data. `results` is empty until the request ends."""

    request_id: str
    company_id: str
    data_types: tuple[str, ...]
    not_before: datetime
    deadline: datetime
    accepted_at: datetime
    on_late: OnLate = OnLate.STALE
    at_any_time: bool = False
    caller: str = ""
    """The ARN of who asked; empty if that is not known."""
    purpose: str = ""
    """What the data is for, in the caller's words."""
    kept_until: datetime | None = None
    """Until when the request is kept; `None` means `KEPT` after it was accepted."""
    fingerprint: str = ""
    """A hash of the request's content. It shows whether an idempotency key is used again for another request."""
    task_token: str = ""
    """The token of a task of Step Functions that waits for the end, empty if none does."""
    answering_until: datetime | None = None
    """Until when the call that made the request may still get its answer."""
    ended_at: datetime | None = None
    results: tuple[FeedResult, ...] = ()
    is_published: bool = False
    """Whether the event bus accepted the notification that the request ended. The request is open until then."""
    version: int = 0

    @property
    def expires_at(self) -> datetime:
        return self.kept_until or self.accepted_at + KEPT

    @property
    def is_done(self) -> bool:
        return self.ended_at is not None

    @property
    def is_fresh(self) -> bool:
        """Return whether the request ended with every feed as fresh as asked."""
        return self.is_done and all(result.state is FeedState.FRESH for result in self.results)

    @property
    def failures(self) -> tuple[FeedResult, ...]:
        """Return the results of feeds that failed or need a person. A stale copy that is accepted is neither."""
        return tuple(each for each in self.results if each.state in (FeedState.FAILED, FeedState.NEEDS_PERSON))

    def feeds_of(self, feeds: Iterable[Feed], company: Company) -> list[Feed]:
        """Return the feeds that the request is about: its data types, from each connection that supplies them."""
        wanted = {
            (data_type, connection.connection_id)
            for data_type in self.data_types
            for connection in company.active_connections(data_type)
        }
        return sorted(
            (feed for feed in feeds if (feed.data_type, feed.connection_id) in wanted), key=lambda feed: feed.key
        )

    def is_served(self, feed: Feed) -> bool:
        """Return whether the copy, or a read in flight, is as of `not_before` or later."""
        in_flight = feed.in_flight
        return feed.is_as_of(self.not_before) or (in_flight is not None and in_flight.is_of(self.not_before))

    def with_results(self, feeds: Iterable[Feed], company: Company, now: datetime) -> "FreshnessRequest":
        """Return the request with its results if it ends now, else unchanged.

        It ends once each feed's state is final, or the deadline passed.
        """
        if self.is_done:
            return self
        results = self.results_of(feeds, company, now)
        is_final = all(result.state is not FeedState.STALE for result in results)
        if not is_final and now < self.deadline:
            return self
        return replace(self, ended_at=now, results=results, answering_until=None)

    def results_of(self, feeds: Iterable[Feed], company: Company, now: datetime) -> tuple[FeedResult, ...]:
        """Return what is known of each feed now. A data type without a feed has failed."""
        found = self.feeds_of(feeds, company)
        missing = set(self.data_types) - {feed.data_type for feed in found}
        return (
            *(self._result(feed, company.connections[feed.connection_id], now) for feed in found),
            *(
                FeedResult(
                    data_type=data_type, connection_id="", state=FeedState.FAILED, reason="no connection supplies it"
                )
                for data_type in sorted(missing)
            ),
        )

    def _result(self, feed: Feed, connection: Connection, now: datetime) -> FeedResult:
        state, reason = self._state(feed, connection, now)
        as_of, success = feed.as_of, feed.history.last_success
        return FeedResult(
            data_type=feed.data_type,
            connection_id=feed.connection_id,
            state=state,
            as_of=as_of.at if as_of else None,
            as_of_is_estimated=as_of is not None and as_of.is_estimated,
            refreshed_at=feed.succeeded_at,
            records_modified=success.records_modified if success else None,
            dataset_id=dataset_of_copy(feed),
            reason=reason,
        )

    def _state(self, feed: Feed, connection: Connection, now: datetime) -> tuple[FeedState, str]:
        if feed.is_as_of(self.not_before):
            return FeedState.FRESH, ""
        if feed.is_unsupported:
            return FeedState.FAILED, f"{connection.platform} does not have this data type"
        if connection.is_unlinked:
            return FeedState.FAILED, f"you unlinked {connection.platform} at Codat"
        if feed.is_blocked(connection):
            return FeedState.NEEDS_PERSON, f"the customer must authorise {connection.platform} again"
        if now < self.deadline:
            return FeedState.STALE, ""
        if self.on_late is OnLate.FAIL or feed.as_of is None:
            return FeedState.FAILED, "the deadline passed"
        return FeedState.STALE, "the deadline passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadEstimate:
    """The time when a read that serves a request should end, and the probability that it ends by the deadline.

    `obstacle` is why it cannot; empty if it can.
    """

    expected_at: datetime
    probability: float
    obstacle: str = ""


def estimate(request: FreshnessRequest, feed: Feed, promise: Promise, now: datetime) -> ReadEstimate:
    """Estimate when a read of a feed that serves a request ends, from its windows and its last syncs."""
    in_flight, usual = feed.in_flight, feed.usual_sync_time
    goes_on_at = feed.paused_until if feed.paused_until and feed.paused_until > now else None
    if goes_on_at and goes_on_at >= request.deadline:
        paused = f"Codat pauses its read until {goes_on_at.isoformat(timespec='minutes')}"
        return ReadEstimate(expected_at=goes_on_at, probability=0.0, obstacle=paused)
    if in_flight and in_flight.is_of(request.not_before):
        return _estimate(request, feed, in_flight.at, goes_on_at or max(in_flight.at + usual, now))
    start: datetime | None = goes_on_at or (max(now, in_flight.at + usual) if in_flight else now)
    if start and not request.at_any_time:
        start = windows.next_allowed(promise.windows, start)
    if start is None or start >= request.deadline:
        opens = f"open only at {start.isoformat(timespec='minutes')}" if start else "never open"
        expected_at = (start or request.deadline) + usual
        return ReadEstimate(expected_at=expected_at, probability=0.0, obstacle=f"the policy's windows {opens}")
    return _estimate(request, feed, start, start + usual)


def _estimate(request: FreshnessRequest, feed: Feed, start: datetime, expected_at: datetime) -> ReadEstimate:
    durations, room = feed.history.durations, request.deadline - start
    in_time = sum(took <= room for took in durations)
    # Before any sync was measured, the usual time of the platform is all that is known.
    by_platform = feed.platform_sync_time or feed.usual_sync_time
    prior = 0.9 if by_platform <= room else 0.1
    obstacle = ""
    if len(durations) >= ENOUGH_SYNCS and durations[0] > room:
        obstacle = f"the shortest of its last {len(durations)} syncs took {durations[0].total_seconds():.0f} s"
    probability = 0.0 if obstacle else (in_time + prior) / (len(durations) + 1)
    return ReadEstimate(expected_at=expected_at, probability=probability, obstacle=obstacle)


def dataset_of_copy(feed: Feed) -> str:
    """Return the id of the dataset that the copy is from; empty if it is not known."""
    request, end, as_of = feed.last_dataset, feed.end, feed.as_of
    if end and end.dataset_id and end.at == feed.succeeded_at:
        return end.dataset_id
    is_requested = request and as_of and not as_of.is_estimated and abs(request.at - as_of.at) < MILLISECOND
    return request.dataset_id if request and is_requested else ""
