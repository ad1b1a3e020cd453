"""When a feed is due, and when its promise breaks."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from zlib import crc32

from freshness.domain import backoff
from freshness.domain.companies.company import Connection
from freshness.domain.data_types import custom_identifier
from freshness.domain.datasets.dataset import OUTCOMES, DatasetState, Outcome
from freshness.domain.datasets.sync_history import LONGEST_SYNC, usual_duration
from freshness.domain.feeds.feed import DAY, MAX_LATE_AFTER, UNKNOWN_SYNC_TIME, Feed
from freshness.domain.learned.change_rate import change_rate, confident_days, unchanged_probability
from freshness.domain.promises import windows
from freshness.domain.promises.promise import Promise
from freshness.domain.times import BEGINNING

RETRY_AFTER_REFUSAL = timedelta(minutes=30)
"""How long a feed waits for the next try after a refused read: longer than from one list of companies to the next."""
RETRY_WITHOUT_PERMISSIONS = timedelta(days=1)
"""How long it waits if permissions are missing: the customer may grant them without Codat reporting it."""
ASK_FOR_CUSTOM_AGAIN = timedelta(weeks=1)
"""How long after Codat did not have a custom data type to ask for it again."""
REQUESTED_DUE = BEGINNING - timedelta(seconds=1)
"""The due time of a feed that somebody requested or waits for: before all that a promise makes due."""
QUEUEING_MARGIN = timedelta(minutes=2)
"""How long a due feed may wait for its request: for the next tick, and for its turn in it."""

TYPICAL, USUAL, SLOW = 50, 90, 95
"""Percentiles of a feed's sync times: a refresh starts early enough for a sync that takes this long.

That is `USUAL` before the age reaches its bound: one sync in ten may end a little late. It is `SLOW` before a deadline,
since a missed deadline cannot be kept later. `TYPICAL` is for a refresh that must not end too early either.
"""


def reschedule(feed: Feed, promise: Promise, connection: Connection) -> Feed:
    """Recalculate `changes_per_day` and `due_at`, and return the feed with them."""
    return with_due_at(_with_change_rate(feed, promise), promise, connection)


def with_due_at(feed: Feed, promise: Promise, connection: Connection) -> Feed:
    times = (due_at(feed, promise, connection), promise_event_at(feed, promise, connection))
    next_at = min(filter(None, times), default=None)
    return feed if next_at == feed.due_at else replace(feed, due_at=next_at)


def _with_change_rate(feed: Feed, promise: Promise) -> Feed:
    rate = None
    if len(feed.history) > 1:
        rate = change_rate(feed.history.observations(), promise.expected_changes_per_day)
    return feed if rate == feed.changes_per_day else replace(feed, changes_per_day=rate)


def due_at(feed: Feed, promise: Promise, connection: Connection) -> datetime | None:
    """Return when the feed's next refresh should be queued so that the promise holds; `None` if none should be.

    While a dataset is in flight the feed stays due, so that ticks read it and see when it is late. If the dataset was
    requested before the feed was due, the feed becomes due when the dataset is late.
    """
    in_flight = feed.in_flight
    is_off = promise.off or connection.suffices(feed.succeeded_at)
    if in_flight and (feed.seen_running_at or is_off or not connection.is_linked):
        return feed.late_at
    if not connection.is_linked:
        return None
    if feed.is_unsupported:
        return None if is_off else _asked_again_at(feed)
    if feed.refresh_requested_at:
        return feed.retry_at or REQUESTED_DUE
    due = None
    if not is_off:
        promised_at = _planned(feed, promise, partial(_bound_or_confident_at, feed, promise))
        due = min(filter(None, (promised_at, _outdated_at(feed, connection))), default=None)
    if in_flight:
        return min(filter(None, (due, feed.late_at)))
    if feed.wanted:
        due = REQUESTED_DUE
    return max(filter(None, (due, _retry_after_failure(feed, connection), feed.retry_at))) if due else None


def breaks_at(feed: Feed, promise: Promise, connection: Connection) -> datetime | None:
    """Return when the copy becomes older than promised; `None` if nothing is promised.

    The age counts from the time that `counts_from` returns.
    """
    if promise.off or feed.is_unsupported or connection.suffices(feed.succeeded_at):
        return None
    return promise.breaks_at(counts_from(feed, connection))


def counts_from(feed: Feed, connection: Connection) -> datetime:
    """Return the time from which the feed's age counts.

    That is when the copy was made, or when the connection was linked anew if that is later. Without either, it is the
    `status_at` of the connection.
    """
    return max(filter(None, (feed.succeeded_at, connection.linked_anew_at)), default=connection.status_at)


def is_break_unknown(feed: Feed, at: datetime, now: datetime) -> bool:
    """Return whether only Codat knows if the promise broke at `at`: the dataset in flight may have ended before.

    It is known once Codat was seen to run the dataset at that time or later. If Codat does not say for
    `MAX_LATE_AFTER`, the promise counts as broken.
    """
    if feed.in_flight is None or feed.late_at is None:
        return False
    was_running = feed.seen_running_at is not None and feed.seen_running_at >= at
    return not was_running and now < max(feed.late_at, at) + MAX_LATE_AFTER


def promise_event_at(feed: Feed, promise: Promise, connection: Connection) -> datetime | None:
    """Return when a tick must publish that the promise broke; `None` if that was published, or never will be."""
    at = breaks_at(feed, promise, connection)
    return None if at == feed.broken_at else at


def is_due_by_age(feed: Feed, promise: Promise, now: datetime) -> bool:
    """Return whether the bound on the feed's age alone makes it due by now."""
    age = feed.age(now)
    if age is None or not promise.at(now).confidence:
        return True
    longest_lead = min(LONGEST_SYNC + QUEUEING_MARGIN, promise.aim / 2)
    if not promise.windows and not promise.time_of_day and age < promise.aim - longest_lead:
        return False  # however long its syncs take
    bound_at = _planned(feed, promise, partial(_bound_at, feed, promise))
    return bound_at is not None and bound_at <= now


def _asked_again_at(feed: Feed) -> datetime | None:
    """Return when to ask Codat again for a data type that it did not have; `None` for never.

    Only custom data types are asked for again: they may be configured at any time, without Codat reporting it.
    """
    if feed.end is None or not custom_identifier(feed.data_type):
        return None
    return feed.late_at if feed.in_flight else feed.end.at + ASK_FOR_CUSTOM_AGAIN


def _retry_after_failure(feed: Feed, connection: Connection) -> datetime | None:
    """Return when a feed whose last read failed may be tried again; `None` if that is now.

    After a refusal, that is now if the status of the connection has changed since.
    """
    end = feed.end
    if end is None or OUTCOMES[end.state] in (Outcome.COMPLETE, Outcome.NEVER):
        return None
    is_refused = end.state == DatasetState.AUTH_ERROR
    if is_refused or OUTCOMES[end.state] is Outcome.PERSON_MUST_ACT:
        longer = RETRY_AFTER_REFUSAL if is_refused else RETRY_WITHOUT_PERMISSIONS
        return end.at + max(_retry_delay(feed), longer) if end.at >= connection.status_at else None
    return end.at + _retry_delay(feed)


def _retry_delay(feed: Feed) -> timedelta:
    return backoff.delay("".join(feed.key), feed.failures)


def _planned(feed: Feed, promise: Promise, due_after: Callable[[datetime], datetime]) -> datetime | None:
    """Return when `due_after` makes a feed due, moved to open windows; at once if it was never synced."""
    if feed.succeeded_at is None:
        return BEGINNING
    due = due_after(feed.succeeded_at)
    if not promise.windows:
        return due
    return windows.planned(promise.windows, due, after=feed.succeeded_at, room=QUEUEING_MARGIN)


def _bound_or_confident_at(feed: Feed, promise: Promise, succeeded_at: datetime) -> datetime:
    if promise.time_of_day:
        if not promise.time_of_day.has_confidence:
            return _bound_at(feed, promise, succeeded_at)
        confident_until, _ = promise.time_of_day.first_reached(succeeded_at, partial(_confident_age, feed))
        return min(confident_until, _bound_at(feed, promise, succeeded_at))
    age = _confident_age(feed, promise)
    if age > promise.aim / 2:
        return min(succeeded_at + age, _bound_at(feed, promise, succeeded_at))
    return succeeded_at + age


def _confident_age(feed: Feed, promise: Promise) -> timedelta:
    """Return the age at which confidence makes a feed due: without `confidence`, the bound on the age."""
    if not promise.confidence:
        return promise.aim
    age = timedelta(days=confident_days(promise.confidence, assumed_rate(feed, promise)))
    return min(max(age, promise.at_most_every), promise.aim)


def _bound_at(feed: Feed, promise: Promise, succeeded_at: datetime) -> datetime:
    """Return when the bound on the age, or a deadline, makes a feed due: so early that a sync usually ends before it.

    If many feeds become too old at the same moment, each company's feeds are due up to half of the bound earlier: not
    all start at once, and a failed one can be tried again.
    """
    if promise.time_of_day is None:
        return succeeded_at + promise.aim - _lead(feed.usual_sync_time, promise.aim)
    too_old_at, in_force = promise.time_of_day.first_reached(succeeded_at, attrgetter("aim"))
    # A deadline at the very moment of the bound counts too.
    missed = promise.time_of_day.first_missed(succeeded_at, too_old_at + timedelta.resolution)
    # Decoding the history is the slowest step, so it is done once.
    durations, within = feed.history.durations, in_force.aim
    if too_old_at > succeeded_at + within:
        latest, spread = too_old_at - _lead_to_deadline(feed, durations, USUAL, within), _spread(feed, within)
    else:
        latest, spread = too_old_at - _lead(_sync_time(feed, durations), within), timedelta(0)
    for_bound = latest - spread
    if missed is None:
        return for_bound
    within = missed.deadline.fresh_within
    latest_for_deadline = missed.at - _lead_to_deadline(feed, durations, SLOW, within)
    start = latest_for_deadline - _spread(feed, within)
    for_deadline = _after_window_if_needed(promise, start, latest_for_deadline, missed.at - within, succeeded_at)
    # One refresh serves both, if it is not too early for one and not too late for the other.
    for_both = max(for_bound, for_deadline)
    return for_both if for_both <= min(latest, latest_for_deadline) else min(for_bound, for_deadline)


def _after_window_if_needed(
    promise: Promise, start: datetime, latest: datetime, earliest: datetime, succeeded_at: datetime
) -> datetime:
    """Return when windows open again before a deadline, if a copy from before is too old for it, else `start`.

    `latest` is the last start that meets the deadline. A copy from before `earliest` is too old for it.
    """
    planned = windows.planned(promise.windows, start, after=succeeded_at, room=QUEUEING_MARGIN)
    if planned is None or planned >= earliest:
        return start
    opens_at = windows.next_allowed(promise.windows, start)
    return opens_at if opens_at and opens_at <= latest else start


def longest_sync_time(feed: Feed) -> timedelta:
    """Return how long `SLOW` percent of the syncs of a feed take at most."""
    return _sync_time(feed, feed.history.durations, SLOW)


def _sync_time(feed: Feed, durations: list[timedelta], percent: int = USUAL) -> timedelta:
    return usual_duration(durations, feed.platform_sync_time, percent) or UNKNOWN_SYNC_TIME


def _lead(sync_time: timedelta, within: timedelta) -> timedelta:
    """Return how long before the age reaches a bound a refresh must start: at most half of the bound."""
    return min(sync_time + QUEUEING_MARGIN, within / 2)


def _lead_to_deadline(feed: Feed, durations: list[timedelta], percent: int, within: timedelta) -> timedelta:
    """Return how long before a deadline a refresh must start to end in time, with a copy that is not too old then.

    It may be longer than the bound `within`, since a copy's age counts from the end of its read. The start of hours
    with a tighter bound counts as a deadline here.

    Example: a copy may be an hour old at 09:00, `SLOW` syncs take 40 minutes and `TYPICAL` ones 5. The refresh starts
    not 42 but 35 minutes before. Started at 08:25, a typical sync ends at 08:30: its copy is half an hour old at 09:00.
    """
    slow, usual = _sync_time(feed, durations, percent), _sync_time(feed, durations, TYPICAL)
    return min(slow + QUEUEING_MARGIN, usual + within / 2)


def _spread(feed: Feed, within: timedelta) -> timedelta:
    """Return how much earlier than necessary a company's feeds start: from none to half of the bound."""
    return within * (crc32(feed.company_id.encode()) / 2**33)


def _outdated_at(feed: Feed, connection: Connection) -> datetime | None:
    """Return when the copy became outdated whatever its age; `None` if it is not.

    That is when the user wrote data, or when the connection was reconnected, after the copy was made.
    """
    since = max(feed.written_at or BEGINNING, connection.reconnected_at or BEGINNING)
    return since if feed.succeeded_at and feed.succeeded_at < since else None


def assumed_rate(feed: Feed, promise: Promise) -> float:
    """Return how many times a day the data is assumed to change at the source."""
    return feed.changes_per_day or promise.expected_changes_per_day


def probability_up_to_date(feed: Feed, promise: Promise, now: datetime) -> float | None:
    """Return the probability that nothing changed at the source since the copy was read; `None` without a copy."""
    if feed.as_of is None:
        return None
    return unchanged_probability(assumed_rate(feed, promise), (now - feed.as_of.at) / DAY)
