"""Sources that went silent: when a feed is reported as quiet, and when not."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.feeds.facts import FeedFact, Rescheduled
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import State
from freshness.domain.promises.promise import Promise
from freshness.domain.transitions.notifications import SourceQuiet
from freshness.domain.transitions.transition import transition
from tests.builders import DAY, HOUR, NOON, a_read
from tests.unit.test_planner import connection

NEW = Feed(company_id="company", data_type="invoices", connection_id="Xero")
PROMISE = Promise(fresh_within=2 * DAY, quiet_after=30 * DAY)


class Source:
    """A source that is read every few hours."""

    def __init__(self, every: timedelta, promise: Promise = PROMISE) -> None:
        self.every, self.now, self.promise = every, NOON, promise
        self.feed = NEW
        self.published: list[SourceQuiet] = []

    def apply(self, fact: FeedFact) -> None:
        after = transition(self.feed, fact, self.promise, connection(), self.now)
        self.published += (each for each in after.notifications if isinstance(each, SourceQuiet))
        self.feed = after.feed

    def read(self, *, changed: bool | None, is_first: bool = False) -> None:
        self.now += self.every
        self.apply(a_read(self.now, connection_id="Xero", records_modified=changed, is_first=is_first))

    def pause(self, time: timedelta) -> None:
        """Read for some time without a change."""
        for _ in range(time // self.every):
            self.read(changed=False)

    @property
    def state(self) -> State:
        return self.feed.state(self.promise, connection(), self.now)


@pytest.mark.parametrize("every", [HOUR, 6 * HOUR, DAY])
def test_a_source_without_a_change_for_so_long_is_reported_once_until_something_changes(every: timedelta) -> None:
    source = Source(every)
    source.read(changed=False)
    source.read(changed=True)
    last_change = source.now

    source.pause(30 * DAY - every)
    assert not source.published
    source.read(changed=False)

    (event,) = source.published
    assert event.quiet_since == source.feed.quiet_since == last_change
    assert source.state is State.QUIET
    source.pause(20 * DAY)
    assert source.published == [event]
    source.read(changed=True)
    assert source.feed.quiet_since is None
    assert source.state is State.FRESH


@pytest.mark.parametrize("is_first", [True, False])
def test_a_source_that_never_changed_is_quiet_since_its_first_read(*, is_first: bool) -> None:
    source = Source(6 * HOUR)
    source.read(changed=False, is_first=is_first)
    first = source.now
    source.pause(30 * DAY)
    assert [event.quiet_since for event in source.published] == [first]


def test_a_read_of_which_it_is_unknown_whether_it_found_a_change_ends_the_silence() -> None:
    source = Source(6 * HOUR)
    source.read(changed=True)
    source.pause(29 * DAY)
    source.read(changed=None)
    source.pause(29 * DAY)
    assert not source.published
    source.pause(DAY)
    assert source.published


def test_no_source_is_quiet_because_it_was_not_read() -> None:
    source = Source(6 * HOUR)
    source.read(changed=True)
    source.now += 90 * DAY
    source.apply(Rescheduled())
    assert not source.published
    assert source.state is State.STALE


def test_a_policy_without_quiet_after_or_with_another_one_holds_for_what_was_read_before() -> None:
    source = Source(6 * HOUR, replace(PROMISE, quiet_after=None))
    source.read(changed=True)
    source.pause(40 * DAY)
    assert not source.published

    source.promise = PROMISE
    source.apply(Rescheduled())
    assert len(source.published) == 1
    source.promise = replace(PROMISE, quiet_after=60 * DAY)
    source.apply(Rescheduled())
    assert source.feed.quiet_since is None


@given(order=st.permutations(range(16)), found=st.lists(st.booleans(), min_size=16, max_size=16))
def test_since_when_a_source_is_quiet_is_the_same_in_any_order_of_facts(order: list[int], found: list[bool]) -> None:
    facts = [
        a_read(NOON + number * 4 * DAY, connection_id="Xero", records_modified=changed)
        for number, changed in enumerate(found)
    ]

    def after(numbers: list[int]) -> Feed:
        source = Source(DAY)
        source.now = facts[-1].at
        for number in numbers:
            source.apply(facts[number])
        return source.feed

    assert after(order).quiet_since == after(list(range(16))).quiet_since
