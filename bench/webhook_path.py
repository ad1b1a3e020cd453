"""The way of one webhook through our modules: how many it passes, how often it changes module, what it computes."""

import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from inspect import CO_GENERATOR
from itertools import pairwise
from types import FrameType
from typing import Any, cast

from bench import fleet
from bench.figures import Figure, show
from bench.fleet import NOW
from bench.parts import example_policy, services
from estimate.memory_dynamodb import tables_in_memory
from freshness.app.services import Services
from freshness.app.webhooks import Message, apply_batch
from freshness.aws.event_bus import EventBus

READ_AT = NOW + timedelta(seconds=30)


def measure() -> list[Figure]:
    """Trace one `read.completed` of one data type, as apply_webhook applies it."""
    warm, traced = (fleet.company(number) for number in range(2))
    made = _services()
    for company in (warm, traced):
        made.tables.companies.put(company)
        for feed in fleet.feeds_in_flight(company, made.policy):
            made.tables.feeds.put(feed)
        made.tables.datasets.start(fleet.datasets_in_flight(company, made.policy))
    _apply(made, fleet.read_completed(warm, "invoices", READ_AT))
    calls = _traced(lambda: _apply(made, fleet.read_completed(traced, "invoices", READ_AT)))
    modules = [module for module, _ in calls]
    what = "one `read.completed`: "
    return [
        Figure(what=f"{what}modules passed", value=len(set(modules)), unit="", at_most=25),
        Figure(
            what=f"{what}changes of module",
            value=sum(before != after for before, after in pairwise(modules)),
            unit="",
            at_most=150,
        ),
        Figure(
            what=f"{what}transitions computed",
            value=Counter(calls)["freshness.domain.transitions.transition", "transitions"],
            unit="",
            at_most=1,
        ),
    ]


class _Events:
    """A client of EventBridge that accepts every event."""

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, int]:  # noqa: N803, ARG002 - boto3's name
        return {"FailedEntryCount": 0}


def _services() -> Services:
    tables = tables_in_memory()
    return services(tables, EventBus(cast(Any, _Events()), "bus"), example_policy(), clock=lambda: READ_AT)


def _apply(made: Services, body: str) -> None:
    left = apply_batch(
        made,
        [Message(id="1", webhook_id="1", body=body, received_at=READ_AT, deliveries=1)],
        until=READ_AT + timedelta(minutes=1),
        most_deliveries=20,
        move_to_dead_letters=lambda *_: False,
    )
    if left:
        raise RuntimeError("the webhook was not applied")


def _traced(act: Callable[[], None]) -> list[tuple[str, str]]:
    """Return the module and name of each of our functions that is called, in their order.

    Left out are methods that `dataclass` writes, which are in no file, and each step of a generator after its first.
    """
    calls: list[tuple[str, str]] = []
    generators: set[FrameType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        module, code = frame.f_globals.get("__name__", ""), frame.f_code
        if event != "call" or not module.startswith("freshness.") or not code.co_filename.endswith(".py"):
            return
        if code.co_flags & CO_GENERATOR:
            if frame in generators:
                return
            generators.add(frame)
        calls.append((module, code.co_name))

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return calls


if __name__ == "__main__":
    show("The way of a webhook", measure())
