"""The speed and the memory of decisions about very many feeds, all due, with a budget for a tenth of them."""

import time
from dataclasses import replace
from itertools import islice

from bench.figures import Figure, show
from bench.peak import peak_memory
from bench.simulated_fleet import DATA_TYPES, START, policy, simulated_feeds, true_rates
from estimate.world import SimulatedFeed
from freshness.app.queueing.tick import BATCH
from freshness.aws.dynamodb.item_codec import PackedRows, packed
from freshness.domain.datasets.sync_history import SyncHistory
from freshness.domain.feeds.feed import DAY, Feed
from freshness.domain.feeds.schedule import reschedule
from freshness.planning.decision import Action
from freshness.planning.planner import decide
from freshness.policy.policy import Policy

FEEDS = 20_000


def by_the_clock() -> Policy:
    """Return a policy with a shorter bound in office hours, and a deadline."""
    office = {"name": "office", "hours": "08:00 to 18:00", "fresh_within": "1 hour", "time_zone": "Europe/London"}
    ready = {"name": "ready", "by": "08:00", "fresh_within": "2 hours", "time_zone": "Europe/London"}
    return Policy.model_validate({"default": {"fresh_within": "1 day"}, "rules": [office], "deadlines": [ready]})


def measure() -> list[Figure]:
    """Measure decisions by bounds alone, and by the clock."""
    what = f"a decision about a feed, {BATCH:,} at a time as in a tick"
    alone = _microseconds(policy("1 day"))
    megabytes = peak_memory() / 2**20
    return [
        Figure(what=what, value=alone, unit="µs", against="processor time", at_most=20),
        Figure(what=f"{what}: memory of the process", value=megabytes, unit="MB", at_most=300),
        Figure(
            what=f"{what}, with hours and a deadline",
            value=_microseconds(by_the_clock()),
            unit="µs",
            against="processor time",
            at_most=20,
        ),
    ]


def _microseconds(rules: Policy) -> float:
    """Return the processor time of a decision, without that of making the feeds and scheduling them by the rules."""
    fleet, seconds = simulated_feeds(true_rates(FEEDS // len(DATA_TYPES))), 0.0
    while batch := list(islice(fleet, BATCH)):
        companies = {each.company.company_id: each.company for each in batch}
        feeds = [_scheduled(each, rules) for each in batch]
        started = time.process_time()
        decisions = decide(feeds, companies, rules, START + DAY / 2, call_budget=BATCH / 10)
        seconds += time.process_time() - started
        if sum(decision.action is Action.QUEUE for decision in decisions) != BATCH // 10:
            raise RuntimeError("expected a tenth of the feeds to be queued")
    return seconds / FEEDS * 1e6


def _scheduled(simulated: SimulatedFeed, rules: Policy) -> Feed:
    """Return a feed as it is read from its table, where the history is packed."""
    connection = simulated.company.connections[simulated.feed.connection_id]
    feed = reschedule(
        simulated.feed, rules.promise(simulated.feed.data_type, simulated.company, connection), connection
    )
    return replace(feed, history=SyncHistory(PackedRows(packed(feed.history))))


if __name__ == "__main__":
    show("Decisions", measure())
