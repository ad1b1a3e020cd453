"""Reads that fail or are paused at Codat: everyone learns why, with and without webhooks, and few calls are made."""

from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any, cast

import pytest

from codat_sandbox.platforms import XERO
from codat_sandbox.settings import Settings
from codat_sandbox.syncs import ERROR_MESSAGES
from freshness.app.reading.diagnosis import Turn
from freshness.app.reading.queries import Queries
from freshness.app.reading.views import FeedView
from freshness.domain.feeds.feed_values import State
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Fuse, Simulation, reliable
from tests.builders import HOUR, MINUTE, a_policy

SETTINGS = reliable()
POLICY = a_policy("2 hours")


def seen(settings: Settings, duration: timedelta, lost: float) -> tuple[list[FeedView], Counter[str]]:
    """Return the feeds of a company with Xero after a time, and the calls of the last hour."""

    async def scenario(loop: SimulatedLoop) -> tuple[list[FeedView], Counter[str]]:
        simulation = Simulation(loop, settings, POLICY)
        company = simulation.backend.add_company((XERO,), loop.clock())
        await simulation.run_for(duration - HOUR, every=MINUTE, random=Random(1), lost=lost)
        simulation.calls.clear()
        await simulation.run_for(HOUR, every=MINUTE, random=Random(1), lost=lost)
        known = simulation.tables.companies.get(company.id)
        assert known
        return list(Queries(services=simulation.services(Fuse())).company(known, loop.clock())), simulation.calls

    found: tuple[list[FeedView], Counter[str]] = simulate(cast(Any, scenario))
    return found


@pytest.mark.parametrize("lost", [0.0, 1.0], ids=["with webhooks", "without webhooks"])
def test_of_each_feed_that_fails_people_see_why(lost: float) -> None:
    views, _ = seen(SETTINGS.model_copy(update={"fails_first": 1.0, "fails_later": 1.0}), 3 * HOUR, lost)

    failing = [view for view in views if view.state is State.FAILING]
    assert failing
    assert {view.codat_says for view in failing} <= set(ERROR_MESSAGES.values())


def test_reads_that_codat_pauses_wait_for_the_platform_and_are_not_asked_about_until_they_go_on() -> None:
    views, calls = seen(SETTINGS.model_copy(update={"paused": 1.0, "paused_for": 6 * HOUR}), 5 * HOUR, 0.0)

    assert {view.state for view in views} == {State.REFRESHING}
    assert {view.codat_says[:13] for view in views} == {"Paused until "}
    assert {view.diagnosis.turn for view in views if view.diagnosis and view.is_broken} == {Turn.PLATFORM}
    assert calls.total() - calls["GET "] <= 1
