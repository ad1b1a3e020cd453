"""What DynamoDB charges for a refresh, from due to done: queueing it, and applying the message that tells its end."""

import asyncio
from dataclasses import dataclass
from functools import cache

import httpx

from bench import fleet
from bench.figures import Figure, show
from bench.fleet import NOW
from bench.parts import example_policy, queue_due
from bench.tables import Usage, running_aws
from freshness.app.apply_webhook import Webhook
from freshness.aws.metrics import Metric
from simulate import prices

COMPANIES = 20
REFRESHES = COMPANIES * len(fleet.DATA_TYPES)
WRITE_UNIT = 1024
"""Bytes that one write unit writes."""
FLOOR = 4
"""Units for one refresh: its feed and its dataset, each written when queued and when done, with no index."""


@dataclass(frozen=True, slots=True)
class Used:
    """Units of a tick that queues `REFRESHES`, of the messages that end them, one each, and of the same once more."""

    tick: Usage
    messages: Usage
    repeats: Usage
    fullest_feed: int
    """Bytes of a feed with all that one can hold."""


@cache
def use() -> Used:
    """Take refreshes from due to done in a local AWS."""
    with running_aws() as aws:
        store, meter = aws.store()
        policy, bus = example_policy(), aws.bus()
        companies = [fleet.company(number) for number in range(COMPANIES)]
        for company in companies:
            store.change_company(company, lambda company: company)
            for feed in fleet.due_feeds(company, policy):
                store.change_feed(feed, lambda feed: feed)
        meter.take()
        refresh = asyncio.run(queue_due(store, httpx.MockTransport(fleet.queues_anything), bus, policy))
        if refresh.tally[Metric.REFRESHES_QUEUED] != REFRESHES:
            raise RuntimeError(f"expected {REFRESHES} refreshes to be queued, but: {dict(refresh.tally)}")
        tick = meter.take()
        ended_at = NOW + fleet.SYNC_TIME
        webhook = Webhook(store=store, bus=bus, policy=policy, clock=lambda: ended_at)
        told = {
            f"{company.company_id}/{data_type}": fleet.read_completed(company, data_type, ended_at)
            for company in companies
            for data_type in fleet.DATA_TYPES
        }
        for message_id, body in told.items():
            webhook.apply(message_id, body)
        messages = meter.take()
        for message_id, body in told.items():
            webhook.apply(message_id, body)
        repeats = meter.take()
        store.change_feed(fleet.fullest_feed(), lambda feed: feed)
        return Used(tick, messages, repeats, meter.take().largest_item)


def measure() -> list[Figure]:
    """Units of one refresh, against bare writes."""
    used = use()
    return [
        Figure(
            what="write units of one refresh, from due to done, indexes included",
            value=(used.tick.write_units + used.messages.write_units) / REFRESHES,
            unit="units",
            against="its feed and its dataset, each written when queued and when done, no index",
            floor=FLOOR,
            at_most=3,
        ),
        Figure(
            what="the same",
            value=(used.tick.write_units + used.messages.write_units) / REFRESHES,
            unit="units",
            against="what `make simulate` reckons with",
            floor=prices.WRITE_UNITS,
            at_most=1.05,
        ),
        Figure(
            what="write units of a tick, for each refresh that it queues",
            value=used.tick.write_units / REFRESHES,
            unit="units",
        ),
        Figure(
            what="write units of a message that tells of one read",
            value=used.messages.write_units / REFRESHES,
            unit="units",
            against="the feed 1, its place in the index 2, the dataset 1, the message's id 1",
        ),
        Figure(
            what="write units of a message that comes again",
            value=used.repeats.write_units / REFRESHES,
            unit="units",
            at_most=0,
        ),
        Figure(
            what="read units of one refresh, from due to done",
            value=(used.tick.read_units + used.messages.read_units) / REFRESHES,
            unit="units",
        ),
        Figure(
            what="largest item written by these",
            value=max(used.tick.largest_item, used.messages.largest_item),
            unit="bytes",
            against="a write unit holds 1,024",
            at_most=WRITE_UNIT,
        ),
        Figure(
            what="a feed with all that one can hold",
            value=used.fullest_feed,
            unit="bytes",
            against="late, and asked for by a person: two units",
        ),
    ]


if __name__ == "__main__":
    show("Units", measure())
