"""The probability that a copy is up to date, and what each sync shows of it."""

from collections.abc import Iterator
from datetime import datetime

from freshness.domain.calibration import Prediction
from freshness.domain.change_rate import unchanged_probability
from freshness.domain.company import Connection
from freshness.domain.feed import Feed
from freshness.domain.fleet import kind_of
from freshness.domain.promise import Promise
from freshness.domain.schedule import assumed_rate


def probability_up_to_date(feed: Feed, promise: Promise, now: datetime) -> float | None:
    """Return the probability that nothing changed at the source since the copy was read; `None` without a copy."""
    return None if feed.as_of is None else _unchanged(feed, promise, feed.as_of.at, now)


def predictions(before: Feed, after: Feed, promise: Promise, connection: Connection) -> Iterator[Prediction]:
    """Yield what was predicted before the latest sync, if a fact is the first to show whether it found a change.

    Webhooks in several forms about one sync have different times, but follow the same sync: the first of them counts.
    One that arrives late, about an earlier sync, shows nothing of the latest.
    """
    if after.history == before.history:
        return
    known = {time for start, end, _ in before.history.intervals for time in ((start, "start"), (end, "end"))}
    for start, end, changed in list(after.history.intervals)[-1:]:
        is_new = (start, "start") not in known and (end, "end") not in known
        if is_new and end == after.succeeded_at and len(before.history) > 1:
            probability = _unchanged(before, promise, start, end)
            yield Prediction(kind_of(connection.platform, after.data_type), probability, not changed)


def _unchanged(feed: Feed, promise: Promise, start: datetime, end: datetime) -> float:
    return unchanged_probability(assumed_rate(feed, promise), promise.rhythm.days_between(start, end))
