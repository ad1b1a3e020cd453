"""A full batch of webhooks, with the share of a processor that Lambda gives apply_webhook for its memory."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import boto3

from bench import fleet
from bench.figures import Figure
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
MEMORIES = (256, 512)
"""Megabytes, which give a share of 0.145 and of 0.29 of a processor."""
READ_AT = NOW + timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Applied:
    """The time and the calls of AWS that applying a batch took, and how many webhooks it returned."""

    seconds: float
    processor_seconds: float
    calls: int
    returned: int


def measure() -> list[Figure]:
    """Apply a batch of webhooks, each of ten data types, with each memory."""
    what = f"{WEBHOOKS} webhooks of ten data types"
    deployed = _memory()
    with running_aws() as aws:
        runs = {memory: _run(aws, memory) for memory in sorted({*MEMORIES, deployed})}
    run = runs[deployed]
    if run.returned:
        raise RuntimeError(f"{run.returned} webhooks were not applied")
    return [
        Figure(what=f"{what}: calls of AWS", value=run.calls, unit="", at_most=400),
        Figure(what=f"{what}: processor time", value=run.processor_seconds, unit="s", at_most=1.5),
        *(
            Figure(
                what=f"{what}: time with {memory} MB",
                value=each.seconds,
                unit="s",
                against=f"{share_of(memory):.3f} of a processor{', as deployed' if memory == deployed else ''}",
                at_most=15 if memory == deployed else None,
            )
            for memory, each in runs.items()
        ),
    ]


def _memory() -> int:
    """Return the megabytes of apply_webhook in the template."""
    from bench.aws_cost import template

    resources = template()["Resources"].values()
    functions = (each["Properties"] for each in resources if each["Type"] == "AWS::Lambda::Function")
    return next(int(each["MemorySize"]) for each in functions if each["Handler"] == "apply_webhook.handler")


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
    return companies


def _apply(parent: Connection, url: str, names: TableNames, companies: Iterable[Company]) -> None:
    """Apply a webhook about the first company unmeasured. Apply and measure the others when the parent says so."""
    os.environ |= local_aws.tool_environment(int(url.rpartition(":")[2]))
    calls = 0

    def count(**_: Any) -> None:
        nonlocal calls
        calls += 1

    boto3.setup_default_session()
    boto3.DEFAULT_SESSION.events.register("before-send", count)  # type: ignore[union-attr]
    services = Services(
        tables=Tables.open(client("dynamodb"), names),
        bus=EventBus(client("events"), "default"),
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
