"""How many callers wait for fresh data at once, and how long, so that executions are left for webhooks and ticks."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

from estimate.memory_dynamodb import tables_in_memory
from freshness.app.ensure.advance import POLL_AT_LEAST_EVERY, POLL_EVERY, between_polls
from freshness.app.ensure.places import LAST_TURN, place_to_wait
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import Request
from tests.builders import NOON, a_policy
from tests.services import services_of

WAIT = timedelta(seconds=24)


class Callers:
    """Callers who arrive one after the other, and prefer to wait for 24 seconds."""

    def __init__(self, places: int) -> None:
        self.now = NOON
        tables = tables_in_memory()
        policy = a_policy("6 hours")
        self._services = replace(services_of(tables, policy, clock=lambda: self.now), waiting_callers=places)

    def arrive(self, stack: ExitStack) -> timedelta:
        """Return how long a caller may wait, who holds its place until the stack is closed."""
        return stack.enter_context(place_to_wait(self._services, self.now + WAIT)) - self.now


def test_the_fewer_places_are_free_the_shorter_is_the_wait() -> None:
    callers = Callers(places=4)
    with ExitStack() as stack:
        waits = [callers.arrive(stack) for _ in range(6)]
    assert waits == [WAIT, WAIT * 3 / 4, WAIT / 2, WAIT / 4, timedelta(0), timedelta(0)]


def test_a_caller_who_was_answered_leaves_its_place() -> None:
    callers = Callers(places=1)
    with ExitStack() as stack:
        assert callers.arrive(stack) == WAIT
    with ExitStack() as stack:
        assert callers.arrive(stack) == WAIT


def test_a_caller_whose_function_was_killed_leaves_its_place_after_its_wait() -> None:
    callers = Callers(places=1)
    killed = ExitStack()
    callers.arrive(killed)
    with ExitStack() as stack:
        callers.now = NOON + WAIT
        assert callers.arrive(stack) == timedelta(0)
        callers.now += LAST_TURN + timedelta(seconds=1)
        assert callers.arrive(stack) == WAIT
    killed.close()


def test_nobody_waits_if_there_is_no_place() -> None:
    with ExitStack() as stack:
        assert Callers(places=0).arrive(stack) == timedelta(0)


def test_datasets_are_polled_less_often_the_longer_they_run_but_at_least_every_so_often() -> None:
    def pause(*ran: timedelta) -> timedelta:
        requests = [Request(at=NOON - each, trigger=Trigger.ON_DEMAND, dataset_id="dataset") for each in ran]
        feeds = [Feed(company_id="c", data_type="bills", connection_id="xero").requested(each) for each in requests]
        return between_polls(feeds, NOON)

    second = timedelta(seconds=1)
    assert pause() == pause(timedelta(0)) == pause(-30 * second) == POLL_EVERY
    assert POLL_EVERY < pause(10 * second, 50 * second) == pause(10 * second) < pause(20 * second)
    assert pause(timedelta(hours=1)) == POLL_AT_LEAST_EVERY
