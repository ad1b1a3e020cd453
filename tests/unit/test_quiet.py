"""Sources that went silent: when a feed is reported as quiet, and when not."""

import math
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.aws.item_codec import feed_from, feed_item, marshal, unmarshal
from freshness.domain.change_rate import Observation
from freshness.domain.dataset import DatasetState
from freshness.domain.facts import ReadEnded
from freshness.domain.feed import Feed
from freshness.domain.feed_values import State
from freshness.domain.notifications import SourceQuiet
from freshness.domain.promise import Promise
from freshness.domain.quiet import MEMORY, MIN_CHANGES, PastSyncs, informative, is_too_long
from freshness.domain.rhythm import STEADY, Rhythm
from freshness.domain.transition import transition
from tests.unit.test_planner import connection
from tests.unit.test_rhythm import MONDAY, OFFICE_HOURS

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NEW = Feed(company_id="company", data_type="invoices", connection_id="Xero")


def stored(feed: Feed) -> Feed:
    """Return a feed after it was written to the table and read again."""
    return feed_from(unmarshal(marshal(feed_item(feed))))


class Source:
    """A source that is read every few hours, and whose data changes so often a day."""

    def __init__(self, every: timedelta, rhythm: Rhythm = STEADY) -> None:
        self.every, self.now = every, MONDAY
        self.promise = Promise(fresh_within=2 * DAY, rhythm=rhythm)
        self.feed = NEW
        self.published: list[SourceQuiet] = []
        self.random = Random(1)

    def read(self, changed: bool | None) -> None:
        self.now += self.every
        fact = ReadEnded(
            company_id="company",
            connection_id="Xero",
            data_type="invoices",
            at=self.now,
            state=DatasetState.COMPLETE,
            records_modified=changed,
            is_first=False,
        )
        after = transition(self.feed, fact, self.promise, connection(), self.now)
        self.published += (each for each in after.notifications if isinstance(each, SourceQuiet))
        self.feed = after.feed

    def live(self, days: int, changes_per_day: float) -> None:
        for _ in range(days * DAY // self.every):
            passed = self.promise.rhythm.days_between(self.now, self.now + self.every)
            self.read(changed=self.random.random() < -math.expm1(-changes_per_day * passed))

    @property
    def state(self) -> State:
        return self.feed.state(self.promise, connection(), self.now)


@pytest.mark.parametrize(("every", "rate"), [(6 * HOUR, 1.0), (DAY, 0.3)])
def test_a_source_that_stops_is_reported_once_within_twelve_expected_changes(every: timedelta, rate: float) -> None:
    source = Source(every)
    source.live(round(100 / rate), rate)
    assert not source.published
    last_change = next(sync.ended_at for sync in reversed(list(source.feed.history)) if sync.records_modified)

    source.live(round(12 / rate), 0.0)

    (event,) = source.published
    assert event.quiet_since == source.feed.quiet_since == last_change
    assert source.state is State.QUIET
    source.live(round(20 / rate), 0.0)
    assert source.published == [event]
    source.read(changed=True)
    assert source.feed.quiet_since is None
    assert source.state is State.FRESH


def test_a_quiet_night_and_weekend_are_no_silence_of_what_changes_in_office_hours() -> None:
    source = Source(3 * HOUR, OFFICE_HOURS)
    source.live(42, 6.0)
    assert source.now.weekday() == 0
    assert not source.published

    unaware = Promise(fresh_within=2 * DAY)
    friday = source.now + 4 * DAY + 18 * HOUR
    source.live(4, 6.0)
    while source.now < friday:
        source.read(changed=True)
    while source.now < friday + 60 * HOUR:
        source.read(changed=False)
    assert not source.published
    source.promise = unaware
    source.read(changed=False)
    assert source.published


def test_what_is_not_known_long_enough_or_not_known_at_all_is_no_silence() -> None:
    new = Source(6 * HOUR)
    new.live(15, 1.0)
    new.live(60, 0.0)
    assert not new.published

    polled = Source(6 * HOUR)
    polled.live(100, 1.0)
    for _ in range(100):
        polled.read(changed=None)
    polled.read(changed=False)
    assert not polled.published


def test_what_syncs_showed_is_remembered_beyond_those_that_are_kept() -> None:
    source = Source(6 * HOUR)
    for number in range(200):
        source.read(changed=number % 4 == 0)
    past = source.feed.past

    assert past.changed_days == pytest.approx(0.25 * past.changed)
    assert past.changed + sum(sync.records_modified or 0 for sync in source.feed.history) == pytest.approx(50, abs=1)
    assert stored(source.feed) == source.feed


def test_the_memory_of_past_syncs_is_limited() -> None:
    source = Source(6 * HOUR)
    source.feed = replace(NEW, past=PastSyncs(MEMORY, 60.0, 100.0, 90.0))
    for _ in range(40):
        source.read(changed=True)

    assert MEMORY / 2 < source.feed.past.changed < MEMORY
    assert source.feed.past.unchanged_days == 45


@given(rate=st.floats(0.01, 10), silence=st.floats(0.1, 1000), longer=st.floats(1, 10), changes=st.floats(30, 500))
def test_a_longer_silence_is_never_less_suspicious(rate: float, silence: float, longer: float, changes: float) -> None:
    if is_too_long(silence, changes, changes / rate):
        assert is_too_long(silence * longer, changes, changes / rate)


def test_that_nothing_is_known_of_a_rate_makes_no_silence_too_long() -> None:
    assert not is_too_long(1e6, MIN_CHANGES - 1, 30)


def test_an_interval_of_many_expected_changes_tells_little() -> None:
    often, seldom = [Observation(10.0, changed=True)] * 100, [Observation(0.1, changed=True)] * 10

    assert informative(often, 1.0)[0] < 0.5
    assert informative(seldom, 1.0)[0] == pytest.approx(10, rel=0.05)


def test_the_time_of_a_silence_does_not_depend_on_the_order_of_facts() -> None:
    ends = [MONDAY + number * 6 * HOUR for number in range(48)]
    facts = [
        ReadEnded(
            company_id="company",
            connection_id="Xero",
            data_type="invoices",
            at=end,
            state=DatasetState.COMPLETE,
            records_modified=number % 2 == 0,
            is_first=False,
        )
        for number, end in enumerate(ends)
    ]

    def after(order: list[ReadEnded]) -> Feed:
        feed, promise = NEW, Promise(fresh_within=DAY)
        for fact in order:
            feed = transition(feed, fact, promise, connection(), ends[-1]).feed
        return feed

    swapped = list(facts)
    for index in range(0, 40, 5):
        swapped[index], swapped[index + 3] = swapped[index + 3], swapped[index]
    assert after(swapped).past == after(facts).past
