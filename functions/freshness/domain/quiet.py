"""Sources that went silent: syncs succeed, but nothing changes for much longer than is usual of the feed.

A bank feed may have stopped, or a customer may have left the platform, without any error.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from freshness.domain.change_rate import MAX_EXPONENT, Observation, change_rate
from freshness.domain.rhythm import Rhythm
from freshness.domain.sync_history import SyncHistory
from freshness.domain.value import value

MIN_CHANGES = 30.0
"""How many changes must have been seen of a feed: by fewer, its rate is not known well enough."""
FALSE_ALARMS = 0.001
"""False alarms of a feed in a month, below which its silence counts; the fewer its changes, the rarer they are."""
MOST_PROBABLE = math.exp(-9.4)
"""The probability of a silence below which it counts whatever the rate, so that one of many changes is found early."""
DAYS = 30
MEMORY = 512.0
"""Changes found by syncs that are no longer kept, beyond which earlier ones lose half of their weight."""
_SMALL = 1e-9


@value(kw_only=False)
class PastSyncs:
    """What syncs showed that are no longer in a feed's history: how many found a change, how many did not, and after
    how many rhythm days in all.
    """

    changed: float = 0.0
    changed_days: float = 0.0
    unchanged: float = 0.0
    unchanged_days: float = 0.0

    def with_dropped(self, before: SyncHistory, after: SyncHistory, rhythm: Rhythm) -> "PastSyncs":
        """Return the sums with the syncs that the history after an end no longer has, since they are the oldest."""
        if before.first_success is None or after.first_success in (None, before.first_success):
            return self
        past = self
        for interval in before.intervals:
            if interval.end > after.first_success:
                break
            past = past._with(rhythm.days_between(interval.start, interval.end), changed=interval.changed)
        return past

    def _with(self, days: float, *, changed: bool) -> "PastSyncs":
        if not changed:
            return replace(self, unchanged=self.unchanged + 1, unchanged_days=self.unchanged_days + days)
        past = replace(self, changed=self.changed + 1, changed_days=self.changed_days + days)
        if past.changed <= MEMORY:
            return past
        return PastSyncs(past.changed / 2, past.changed_days / 2, past.unchanged / 2, past.unchanged_days / 2)

    @property
    def observations(self) -> Iterator[Observation]:
        """Yield the sums as observations."""
        if self.changed:
            yield Observation(self.changed_days / self.changed, changed=True, count=self.changed)
        if self.unchanged:
            yield Observation(self.unchanged_days / self.unchanged, changed=False, count=self.unchanged)


NO_PAST = PastSyncs()


def quiet_since(history: SyncHistory, past: PastSyncs, rhythm: Rhythm, expected: float) -> datetime | None:
    """Return since when nothing changed, if that is much longer than the rhythm allows; `None` if it is not.

    `expected` is the rate that is expected of the feed, in changes a day, before anything was learned of it.
    """
    intervals = list(history.intervals)
    first = len(intervals)
    while first and not intervals[first - 1].changed:
        if first < len(intervals) and intervals[first - 1].end != intervals[first].start:
            break  # It is not known whether a sync in between found a change.
        first -= 1
    if first == len(intervals) or past.changed + sum(each.changed for each in intervals) < MIN_CHANGES:
        return None
    observations = [*past.observations, *list(history.observations(rhythm))[:first]]
    silence = rhythm.days_between(intervals[first].start, intervals[-1].end)
    changes, days = informative(observations, change_rate(observations, expected))
    return intervals[first].start if is_too_long(silence, changes, days) else None


def informative(observations: Sequence[Observation], rate: float) -> tuple[float, float]:
    """Return how many changes the observations show, in how many days, weighted by what they tell of the rate.

    An observation of x expected changes has x / (exp(x) - 1) of the information that a count of its changes would have:
    that an interval of many expected changes saw one carries almost no information.
    """
    changes, total_days = 0.0, 0.0
    for days, changed, count in ((each.days, each.changed, each.count) for each in observations):
        x = max(min(rate * days, MAX_EXPONENT), _SMALL)
        weight = count * x / math.expm1(x)
        total_days += weight * days
        if changed:
            changes += weight * x / -math.expm1(-x)
    return changes, total_days


def is_too_long(silence: float, changes: float, days: float) -> bool:
    """Return whether a silence of so many days is too improbable for a feed that changed so often in so many days.

    The rate is known as well as from that many changes: it has a gamma distribution. As many silences begin in a month
    as there are changes, so that a feed that changes more often must be silent for more changes.
    """
    if changes < MIN_CHANGES:
        return False
    a_month = DAYS * changes / days
    return -changes * math.log1p(silence / days) < math.log(max(FALSE_ALARMS / a_month, MOST_PROBABLE))
