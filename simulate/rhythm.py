"""When data changes in a simulated fleet: made up, or learned from the syncs of an export."""

from collections.abc import Iterable, Sequence
from datetime import UTC, tzinfo

from freshness.domain.fleet import FeedSample, Fleet
from freshness.domain.rhythm import HOURS, Rhythm

OFFICE_HOURS = tuple(hour % 24 in range(8, 18) and hour < 5 * 24 for hour in range(HOURS))
"""Whether an hour of the week is one of office hours: from 08:00 to 18:00 from Monday to Friday."""
SHARE = 0.9
"""The share of changes that happen in office hours."""
BATCHES = 10
"""In how many parts samples are learned: each shows whether the rhythm learned before it predicts what it holds."""


def office_rhythm(zone: tzinfo = UTC) -> Rhythm:
    """Return the rhythm of data that changes mostly in office hours, as accounting data does."""
    hours = sum(OFFICE_HOURS)
    within, outside = SHARE * HOURS / hours, (1 - SHARE) * HOURS / (HOURS - hours)
    return Rhythm(tuple(within if each else outside for each in OFFICE_HOURS), zone)


def learned_of(samples: Sequence[FeedSample]) -> Fleet:
    """Return what samples show of the fleet."""
    fleet = Fleet()
    for part in _parts(samples):
        fleet = fleet.merged(fleet.learned(part))
    return fleet


def _parts(samples: Sequence[FeedSample]) -> Iterable[Sequence[FeedSample]]:
    return (samples[number::BATCHES] for number in range(BATCHES))
