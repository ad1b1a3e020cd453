"""The speed and the memory of decisions about very many feeds, all due, with a budget for a tenth of them."""

import time
from dataclasses import replace

from bench.figures import Figure, show
from bench.peak import peak_memory
from bench.simulated_fleet import DATA_TYPES, START, policy, simulated_feeds, true_rates
from freshness.aws.dynamodb.item_codec import PackedRows, packed
from freshness.domain.companies.company import Company
from freshness.domain.datasets.sync_history import SyncHistory
from freshness.domain.feeds.feed import DAY, Feed
from freshness.domain.feeds.schedule import reschedule
from freshness.planning.decision import Action
from freshness.planning.planner import decide
from freshness.policy.policy import Policy

FEEDS = 100_000


def by_the_clock() -> Policy:
    """Return a policy with a shorter bound in office hours, and a deadline."""
    office = {"name": "office", "hours": "08:00 to 18:00", "fresh_within": "1 hour", "time_zone": "Europe/London"}
    ready = {"name": "ready", "by": "08:00", "fresh_within": "2 hours", "time_zone": "Europe/London"}
    return Policy.model_validate({"default": {"fresh_within": "1 day"}, "rules": [office], "deadlines": [ready]})


def measure() -> list[Figure]:
    """Measure decisions by bounds alone, and by the clock."""
    feeds, companies = list[Feed](), dict[str, Company]()
    for simulated in simulated_feeds(true_rates(FEEDS // len(DATA_TYPES))):
        # A tick has the histories as the table has them: packed.
        feeds.append(replace(simulated.feed, history=SyncHistory(PackedRows(packed(simulated.feed.history)))))
        companies[simulated.company.company_id] = simulated.company
    seconds = _seconds(feeds, companies, policy("1 day"))
    megabytes = peak_memory() / 2**20
    what = f"decisions about {FEEDS:,} feeds"
    return [
        Figure(what=what, value=seconds, unit="s", against="processor time", at_most=2.0),
        Figure(what=f"{what}: memory of the process", value=megabytes, unit="MB", at_most=300),
        Figure(
            what=f"{what} with hours and a deadline",
            value=_seconds(feeds, companies, by_the_clock()),
            unit="s",
            against="processor time",
            at_most=2.0,
        ),
    ]


def _seconds(feeds: list[Feed], companies: dict[str, Company], rules: Policy) -> float:
    """Return the processor time of decisions, after the feeds were scheduled by the rules."""
    for index, feed in enumerate(feeds):
        company = companies[feed.company_id]
        connection = company.connections[feed.connection_id]
        feeds[index] = reschedule(feed, rules.promise(feed.data_type, company, connection), connection)
    started = time.process_time()
    decisions = decide(feeds, companies, rules, START + DAY / 2, call_budget=FEEDS / 10)
    seconds = time.process_time() - started
    if sum(decision.action is Action.QUEUE for decision in decisions) != FEEDS // 10:
        raise RuntimeError("expected a tenth of the feeds to be queued")
    return seconds


if __name__ == "__main__":
    show("Decisions", measure())
