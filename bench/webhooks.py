"""A full batch of webhooks, with the share of a processor that Lambda gives apply_webhook for its memory."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, cast

from bench import fleet
from bench.aws_cost import function, resources
from bench.figures import Figure, Topic, show
from bench.fleet import NOW
from bench.parts import example_policy
from bench.processor_share import limited, share_of
from bench.tables import LocalAws, running_aws
from freshness.app.services import Services
from freshness.app.webhooks import Message, apply_batch
from freshness.aws.clients import client
from freshness.aws.dynamodb.tables import TableNames, Tables
from freshness.aws.event_bus import EventBus
from freshness.domain.companies.company import Company
from local import local_aws

WEBHOOKS = 25
READ_AT = NOW + timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Applied:
    """The time and the calls of AWS that applying a batch took, and how many webhooks it returned."""

    seconds: float
    processor_seconds: float
    calls: int
    returned: int


def measure() -> list[Figure]:
    """Apply a batch of webhooks, each of ten data types, with the processor that the deployed memory gives."""
    [mapping] = resources("AWS::Lambda::EventSourceMapping")
    at_once, memory = mapping["ScalingConfig"]["MaximumConcurrency"], function("apply_webhook")["MemorySize"]
    with running_aws() as aws:
        applied = _run(aws, memory)
    if applied.returned:
        raise RuntimeError(f"{applied.returned} webhooks were not applied")
    what = f"{WEBHOOKS} webhooks of ten data types"
    share = f"{share_of(memory):.3f} of a processor"
    return [
        Figure(what=f"{what}: calls of AWS", value=applied.calls, unit="", at_most=400),
        Figure(what=f"{what}: processor time", value=applied.processor_seconds, unit="s", at_most=1.5),
        Figure(what=f"{what}: time with {memory} MB", value=applied.seconds, unit="s", against=share, at_most=15),
        Figure(
            what="webhooks of ten data types applied in a minute",
            topic=Topic.SCALE,
            value=at_once * WEBHOOKS * 60 / applied.seconds,
            unit="webhooks",
            against=f"{at_once} functions, each with {share}",
        ),
    ]


def _run(aws: LocalAws, memory: int) -> Applied:
    """Apply a batch in a process of its own. As in Lambda, its processor is limited once it has started."""
    names = aws.create_tables()
    companies = _fill(aws.open_tables(names)[0])
    ours, others = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_apply, args=(others, aws.url, names, companies))
    process.start()
    try:
        ours.recv()
        with limited(int(process.pid or 0), share_of(memory)):
            ours.send("go")
            applied: Applied = ours.recv()
    finally:
        process.join()
    return applied


def _fill(tables: Tables) -> list[Company]:
    """Write companies whose feeds are all being read."""
    companies = [tables.companies.put(fleet.company(number)) for number in range(WEBHOOKS + 1)]
    for company in companies:
        for feed in fleet.feeds_in_flight(company, example_policy()):
            tables.feeds.put(feed)
        tables.datasets.start(fleet.datasets_in_flight(company, example_policy()))
    return companies


def _apply(parent: Connection, url: str, names: TableNames, companies: Iterable[Company]) -> None:
    """Apply a webhook about the first company unmeasured. Apply and measure the others when the parent says so."""
    os.environ |= local_aws.tool_environment(int(url.rpartition(":")[2]))
    calls = 0

    def count(**_: Any) -> None:
        nonlocal calls
        calls += 1

    dynamodb, events, counting = client("dynamodb"), client("events"), cast(Any, count)
    for each in (dynamodb, events):
        each.meta.events.register("before-send", counting)
    services = Services(
        tables=Tables.open(dynamodb, names),
        bus=EventBus(events, "default"),
        policy=example_policy(),
        clock=lambda: READ_AT + timedelta(seconds=5),
        emit=lambda _: None,
    )
    first, *messages = map(_message, companies)
    _applied(services, [first])
    parent.send("ready")
    parent.recv()
    calls, began, used = 0, time.monotonic(), time.process_time()
    returned = _applied(services, messages)
    parent.send(Applied(time.monotonic() - began, time.process_time() - used, calls, len(returned)))


def _applied(services: Services, messages: list[Message]) -> list[Message]:
    return apply_batch(
        services,
        messages,
        until=services.clock() + timedelta(seconds=1),
        most_deliveries=20,
        move_to_dead_letters=lambda *_: False,
    )


def _message(company: Company) -> Message:
    body = fleet.reads_completed(company, fleet.DATA_TYPES, READ_AT)
    return Message(id=company.company_id, webhook_id="w", body=body, received_at=None, deliveries=1)


if __name__ == "__main__":
    show("Webhooks", measure())
