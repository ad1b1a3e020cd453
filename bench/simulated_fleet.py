"""A generated fleet with known change rates, for the benchmarks of the planner."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np

from bench.optimum import Numbers
from estimate.world import Measured, SimulatedFeed
from freshness.domain.companies.company import Company, Connection
from freshness.domain.datasets.sync_history import Sync, SyncHistory
from freshness.domain.feeds.feed import DAY, Feed
from freshness.policy.policy import Policy

DATA_TYPES = {
    "invoices": 10,
    "bills": 5,
    "payments": 5,
    "bankTransactions": 3,
    "journalEntries": 2,
    "balanceSheet": 2,
    "customers": 1,
    "suppliers": 1,
    "chartOfAccounts": 1,
    "taxRates": 1,
}
"""The data types of each company, with their weights in the policy."""
MEDIAN_CHANGES = 0.2
"""The median change rate, in changes a day."""
SPREAD = 0.75
"""The standard deviation of the decimal logarithm of the rates: 95 % of them are within three decades."""
TYPE_SPREAD = 0.4
"""The part of `SPREAD` that is between data types."""
EVERY = timedelta(hours=6)
"""The interval of Codat's fixed schedule, from the last sync of each feed."""
START = datetime(2026, 11, 1, tzinfo=UTC)
HISTORY = 120
"""Syncs on Codat's schedule before the start, which take a month."""


def policy(fresh_within: str) -> Policy:
    """Return a policy under which more feeds are due than may be refreshed, so that the most valuable are chosen."""
    default = {"fresh_within": fresh_within, "confidence": 0.995, "at_most_every": "1 minute"}
    weights = {data_type: {"weight": weight} for data_type, weight in DATA_TYPES.items()}
    return Policy.model_validate({"default": default, "data_types": weights})


def true_rates(companies: int) -> Numbers:
    """Return the change rates of all feeds, in changes a day, company by company."""
    random = np.random.default_rng(20261123)
    types = random.normal(0, TYPE_SPREAD, len(DATA_TYPES))
    feeds = random.normal(0, math.sqrt(SPREAD**2 - TYPE_SPREAD**2), (companies, len(DATA_TYPES)))
    rates: Numbers = (MEDIAN_CHANGES * 10 ** (feeds + (types - types.mean()) / types.std() * TYPE_SPREAD)).ravel()
    return rates


def simulated_feeds(rates: Numbers) -> Iterator[SimulatedFeed]:
    """Yield the feeds, last synced at times spread over an interval, with a history of syncs at that interval."""
    random = Random(1)
    per_company = len(DATA_TYPES)
    for first in range(0, len(rates), per_company):
        connection = Connection(
            connection_id="connection",
            platform="Xero",
            source_type="Accounting",
            status="Linked",
            status_at=START - 100 * DAY,
        )
        company = Company(company_id=f"company-{first // per_company}", connections={"connection": connection})
        for offset, data_type in enumerate(DATA_TYPES):
            rate = float(rates[first + offset])
            synced_at = START - random.random() * EVERY
            ends = [synced_at - number * EVERY for number in reversed(range(HISTORY))]
            *earlier, latest = (
                Sync(ended_at=end, records_modified=random.random() < -math.expm1(-rate * (EVERY / DAY)))
                for end in ends
            )
            feed = Feed(
                company_id=company.company_id,
                data_type=data_type,
                connection_id="connection",
                succeeded_at=synced_at,
                history=SyncHistory.of(earlier).with_end(
                    latest.ended_at, latest.records_modified, succeeded=True, requested_at=None
                ),
            )
            yield SimulatedFeed(
                feed=feed,
                company=company,
                connection=connection,
                changes_per_day=rate,
                sync_time=timedelta(seconds=15),
                measured=Measured(since=START),
            )
