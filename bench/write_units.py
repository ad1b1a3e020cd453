"""The units that DynamoDB charges for a refresh: for queueing it, and for applying the webhook that reports its end."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache

import httpx

from bench import fleet
from bench.figures import Figure, show
from bench.fleet import NOW
from bench.parts import example_policy, run_refresh_tick, services
from bench.tables import Meter, Usage, running_aws
from estimate import prices
from freshness.app.checking.list_companies import promised
from freshness.app.webhooks import WebhookApplier
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus
from freshness.aws.metrics import Metric
from freshness.domain.companies.company import Company
from freshness.domain.slo.attainment import hour_of
from freshness.policy.policy import Policy

COMPANIES = 20
REFRESHES = COMPANIES * len(fleet.DATA_TYPES)
WRITE_UNIT = 1024
"""The bytes that one write unit covers."""
A_DAY = 40_000
"""Refreshes of 1,000 companies with ten data types each, four times a day."""
LATE = 0.01
"""The share of refreshes that end after their promise broke on a day without an outage."""
LATE_BY = timedelta(hours=1)
FLOOR = 4
"""Write units of one refresh without an index: the feed and its dataset, when it is queued and at the end."""


@dataclass(frozen=True, slots=True)
class Used:
    """The units of a tick that queues `REFRESHES` refreshes, of a webhook for each, and of the same webhooks again."""

    tick: Usage
    webhooks: Usage
    repeats: Usage
    fullest_feed: int
    """The bytes of a feed with every attribute set."""
    late: Usage
    """The units of recording the attainment of `REFRESHES` refreshes that end late, one after another."""
    counted: Usage
    """The units of writing how many feeds are promised."""


@cache
def use() -> Used:
    """Queue refreshes and apply their webhooks in a local AWS."""
    with running_aws() as aws:
        tables, meter = aws.open_tables()
        policy, bus = example_policy(), aws.event_bus()
        companies = [fleet.company(number) for number in range(COMPANIES)]
        for company in companies:
            tables.companies.put(company)
            for feed in fleet.due_feeds(company, policy):
                tables.feeds.put(feed)
        meter.take()
        codat = httpx.MockTransport(fleet.queued_response)
        measured = run_refresh_tick(tables, codat, bus, policy)
        if measured[Metric.REFRESHES_QUEUED] != REFRESHES:
            raise RuntimeError(f"expected {REFRESHES} refreshes to be queued, got {dict(measured)}")
        tick = meter.take()
        ended_at = NOW + fleet.SYNC_TIME
        recording = services(tables, bus, policy, lambda: ended_at).recorder
        applier = WebhookApplier(tables=tables, recorder=recording, clock=lambda: ended_at)
        bodies = [
            fleet.read_completed(company, data_type, ended_at)
            for company in companies
            for data_type in fleet.DATA_TYPES
        ]
        for body in bodies:
            applier.record(applier.parse(body))
        webhooks = meter.take()
        for body in bodies:
            applier.record(applier.parse(body))
        repeats = meter.take()
        tables.feeds.put(fleet.fullest_feed())
        fullest = meter.take().largest_item
        late = _record_late(tables, bus, policy, companies, meter)
        tables.attainment.put_feeds(
            Counter(cell for company in companies for cell in promised(_checked(company), policy)), hour_of(NOW)
        )
        return Used(tick, webhooks, repeats, fullest, late, meter.take())


def _record_late(tables: Tables, bus: EventBus, policy: Policy, companies: list[Company], meter: Meter) -> Usage:
    """Let every promise break, and end each breach by a webhook. Return what recording the attainment used."""
    now = NOW + timedelta(days=8)
    recording = services(tables, bus, policy, lambda: now).recorder
    applier = WebhookApplier(tables=tables, recorder=recording, clock=lambda: now)
    units = 0.0
    for company in companies:
        for feed in tables.feeds.of_company(company.company_id):
            recording.review(feed, company)
            applier.record(applier.parse(fleet.read_completed(company, feed.data_type, now)))
            # The hours of a usual breach: what is older than two days is recorded by day.
            recording.breach_times[:] = [replace(each, start=now - LATE_BY) for each in recording.breach_times]
            meter.take()
            recording.write_collected()
            units += meter.take().write_units
    return Usage(write_units=units)


def _checked(company: Company) -> Company:
    return replace(company, feeds=dict.fromkeys(company.connections, tuple(fleet.DATA_TYPES)))


def measure() -> list[Figure]:
    """Measure the read and write units of one refresh: of its tick, its webhook and its attainment."""
    used = use()
    write_units = (used.tick.write_units + used.webhooks.write_units) / REFRESHES
    read_units = (used.tick.read_units + used.webhooks.read_units) / REFRESHES
    return [
        Figure(
            what="write units of one refresh, with its webhook and indexes",
            value=write_units,
            unit="units",
            against="the feed and its dataset, when queued and at the end, without an index",
            floor=FLOOR,
            at_most=3,
        ),
        Figure(
            what="write units of one refresh, with its webhook and indexes",
            value=write_units,
            unit="units",
            against="`WRITE_UNITS` of the bill",
            floor=prices.WRITE_UNITS,
            at_most=1.05,
        ),
        Figure(
            what="write units of a tick, for each refresh queued",
            value=used.tick.write_units / REFRESHES,
            unit="units",
        ),
        Figure(
            what="write units of a webhook with one read",
            value=used.webhooks.write_units / REFRESHES,
            unit="units",
            against="the feed 1, its index 2, the dataset 1",
        ),
        Figure(
            what="write units of a webhook that is delivered again",
            value=used.repeats.write_units / REFRESHES,
            unit="units",
            against="the record of its dataset, which exists: to read it first would cost every webhook a call",
            at_most=1,
        ),
        Figure(
            what=f"write units of attainment a day, {LATE:.0%} of {A_DAY:,} refreshes late by an hour",
            value=LATE * A_DAY * used.late.write_units / REFRESHES + 24 * used.counted.write_units,
            unit="units",
            against="all refreshes of the day",
            floor=A_DAY * write_units,
            at_most=0.05,
        ),
        Figure(
            what="read units of one refresh, with its webhook",
            value=read_units,
            unit="units",
            against="`READ_UNITS` of the bill",
            floor=prices.READ_UNITS,
            at_most=1.05,
        ),
        Figure(
            what="largest item written for a refresh",
            value=max(used.tick.largest_item, used.webhooks.largest_item),
            unit="bytes",
            against="a write unit covers 1,024",
            at_most=WRITE_UNIT,
        ),
        Figure(
            what="largest possible item of a feed",
            value=used.fullest_feed,
            unit="bytes",
            against="every attribute set, so that a write takes two units",
        ),
    ]


if __name__ == "__main__":
    show("Units", measure())
