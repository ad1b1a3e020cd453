"""Faults that the code once had, to be put back one at a time: the tests must find each.

A fault replaces attributes of modules or classes. `python -m pytest -p chaos.seeded TEST`, with the number of a fault
in the environment variable `SEEDED_FAULT`, runs a test with the fault.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from freshness.app.ensure.finish import Finisher
from freshness.domain import backoff
from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import AsOf
from freshness.domain.feeds.freshness_request import FreshnessRequest
from freshness.domain.transitions.notifications import request_ended

VARIABLE = "SEEDED_FAULT"
ROOT = Path(__file__).parents[1]
_KEPT = ExitStack()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """A fault. `replaced` has the replacements by name: `module:attribute` or `module:class.attribute`."""

    what: str
    replaced: Mapping[str, object]
    found_by: str
    is_slow: bool = False
    """Whether the test takes so long that only `make chaos` runs it."""


def _estimate_short(feed: Feed, ended_at: Any) -> AsOf:
    requested_at = feed.history.requested_at(ended_at)
    return AsOf(at=requested_at or ended_at - feed.usual_sync_time, is_estimated=requested_at is None)


def _publish_first(finisher: Finisher, request: FreshnessRequest, company: Company, feeds: Any) -> FreshnessRequest:
    ended = request.with_results(feeds, company, finisher.services.clock())
    if ended.is_done and not ended.is_published:
        finisher.services.bus.publish([request_ended(ended, company)])
        return finisher._stored(request, company, feeds)
    return ended


@contextmanager
def _collect_nothing(_failures: object, _subject: object) -> Iterator[None]:
    yield


SEEDED: dict[int, Seeded] = {
    1: Seeded(
        what="a webhook ends whatever read is in flight",
        replaced={"freshness.domain.transitions.transition:_attributed": lambda _feed, fact: fact},
        found_by="tests/unit/test_transition.py::"
        "test_a_second_form_of_a_webhook_does_not_end_a_read_that_was_requested_after_the_first",
    ),
    2: Seeded(
        what="a promise is called broken before Codat says how a late read ended",
        replaced={"freshness.domain.transitions.transition:is_break_unknown": lambda _feed, _at, _now: False},
        found_by="tests/unit/test_transition.py::"
        "test_it_is_unknown_whether_a_promise_broke_until_codat_says_that_the_dataset_in_flight_still_runs",
    ),
    3: Seeded(
        what="where only the end of a read is known, its copy is as of a usual sync time before that",
        replaced={"freshness.domain.feeds.feed:Feed.as_of_read": _estimate_short},
        found_by="tests/unit/test_feed.py::"
        "test_a_copy_of_which_only_the_end_is_known_is_as_of_the_longest_plausible_sync_before_it",
    ),
    4: Seeded(
        what="the end of a request is published before it is stored",
        replaced={"freshness.app.ensure.finish:Finisher.finish": _publish_first},
        found_by="tests/simulation/test_api_requests.py::"
        "test_an_end_that_a_killed_run_stored_is_published_as_it_was_stored",
    ),
    5: Seeded(
        what="a dataset whose repeated call is answered unreadably is as of the repeat",
        replaced={"freshness.app.queueing.calls:_first_sent": lambda _feed, _key, at: at},
        found_by="tests/simulation/test_on_demand.py::"
        "test_a_dataset_whose_repeated_call_is_answered_unreadably_is_as_of_when_the_key_was_first_sent",
    ),
    6: Seeded(
        what="a dataset that ended before its request was recorded is not matched",
        replaced={
            "freshness.domain.transitions.transition:_ended_before_it_was_recorded": lambda _before, _after, _fact: (
                False
            )
        },
        found_by="tests/simulation/test_lost_responses.py::"
        "test_a_dataset_whose_webhook_overtakes_the_response_is_recorded_and_not_read_again",
    ),
    7: Seeded(
        what="a read that a killed run queued does not count once it has ended",
        replaced={
            "freshness.codat.bulk_refresh:_is_new": lambda operation, feed, _called_at: (
                not feed.end or operation.requested > feed.end.at
            )
        },
        found_by="tests/simulation/test_lost_responses.py::"
        "test_what_operators_requested_is_read_once_although_the_run_that_queued_it_was_killed",
    ),
    8: Seeded(
        what="work that is due every 15 minutes waits for the next tick if one starts a moment early",
        replaced={"freshness.app.tick:EARLY": timedelta(0)},
        found_by="tests/simulation/test_rules.py::"
        "test_the_companies_are_listed_every_15_minutes_although_ticks_start_early_or_late",
    ),
    9: Seeded(
        what="one write that fails ends the forecast",
        replaced={"freshness.app.tick:Failures.collected": _collect_nothing},
        found_by="tests/unit/test_forecast.py::"
        "test_a_feed_that_cannot_be_recorded_does_not_keep_others_from_the_forecast",
    ),
    10: Seeded(
        what="companies that hang have turns as all others",
        replaced={"freshness.app.company_turns:CompanyTurns.is_doubtful": lambda _turns, _company: False},
        found_by="tests/unit/test_company_turns.py::test_companies_that_hang_take_no_more_than_two_turns_at_a_time",
    ),
    11: Seeded(
        what="calls that failed in an outage are repeated after up to 15 minutes",
        replaced={"freshness.domain.backoff:LONGEST_OUTAGE": backoff.LONGEST_RUNNING},
        found_by="tests/simulation/test_partial_failures.py::"
        "test_after_an_outage_every_promise_is_kept_again_within_two_ticks[5-no response]",
        is_slow=True,
    ),
    12: Seeded(
        what="what callers asked for is compared with times of Codat's clock",
        replaced={"freshness.codat.client:Codat.ahead": None},
        found_by="tests/simulation/test_many_callers.py::"
        "test_clocks_that_differ_make_at_most_two_datasets_of_what_fifty_callers_ask_for[ahead]",
        is_slow=True,
    ),
}


@contextmanager
def seeded(fault: Seeded) -> Iterator[None]:
    """Put a fault back for a while."""
    with ExitStack() as stack:
        for name, replacement in fault.replaced.items():
            module, _, path = name.partition(":")
            *owners, attribute = path.split(".")
            target: Any = import_module(module)
            for owner in owners:
                target = getattr(target, owner)
            stack.enter_context(patch.object(target, attribute, replacement))
        yield


def pytest_configure() -> None:
    """Put back the fault that the environment names, for as long as pytest runs."""
    if number := os.environ.get(VARIABLE):
        _KEPT.enter_context(seeded(SEEDED[int(number)]))


def is_found(number: int) -> bool:
    """Return whether the test of a fault fails with it, and passes without it."""
    return _passes(number, "") and not _passes(number, str(number))


def _passes(number: int, variable: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "chaos.seeded", SEEDED[number].found_by]
    environment = os.environ | {VARIABLE: variable, "PYTHONPATH": f"{ROOT / 'functions'}:{ROOT}"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)  # noqa: S603 - our own
    if ended.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run {SEEDED[number].found_by}: {ended.stdout.decode()[-500:]}")
    return ended.returncode == 0


Test = Callable[[], None]


def test_of(fault: Seeded) -> Test:
    """Return the test that finds a fault. The test must take no arguments."""
    path, _, name = fault.found_by.partition("::")
    function: Test = getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)
    return function
