"""`freshness export`: the whole fleet for other programs."""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, TextIO

import typer
from pydantic_core import to_json, to_jsonable_python

from cli.fleet import Line, decisions_on, lines_of
from cli.target import Target, target
from freshness.domain.feed import Feed
from freshness.domain.sync_history import Sync


class Format(StrEnum):
    """What an export is written as."""

    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported(Line):
    """A line with what else tells how it should be planned."""

    source_type: str
    tags: dict[str, str]
    """Those of its company."""
    succeeded_at: datetime | None
    syncs: tuple[Sync, ...]
    """When the last syncs ended, how long they took, and whether they changed anything: oldest first."""


def export(
    context: typer.Context,
    *,
    form: Annotated[Format, typer.Option("--format", help="JSON, a line for each data type, or CSV.")] = Format.JSONL,
) -> None:
    """Write out every data type of every company, with its last syncs; durations are in seconds, times in UTC."""
    write = _write_csv if form is Format.CSV else _write_jsonl
    write(_exported(target(context)), sys.stdout)


def _exported(stack: Target) -> Iterator[Exported]:
    now = datetime.now(UTC)
    feeds: dict[str, list[Feed]] = defaultdict(list)
    for feed in stack.store.every_feed():
        feeds[feed.company_id].append(feed)
    companies = list(stack.store.every_company())
    every_feed = [feed for company in companies for feed in feeds[company.company_id]]
    decisions = decisions_on(every_feed, companies, stack.store, stack.policy, now)
    for company in companies:
        for feed in feeds[company.company_id]:
            for line in lines_of(company, [feed], decisions, stack.store, stack.policy, now):
                yield Exported(
                    **{field.name: getattr(line, field.name) for field in fields(Line)},
                    source_type=company.connections[feed.connection_id].source_type,
                    tags=company.tags,
                    succeeded_at=feed.succeeded_at,
                    syncs=tuple(feed.syncs),
                )


def _write_jsonl(exported: Iterable[Exported], output: TextIO) -> None:
    for line in exported:
        output.write(to_json(line, timedelta_mode="float").decode() + "\n")


def _write_csv(exported: Iterable[Exported], output: TextIO) -> None:
    writer = csv.DictWriter(output, [field.name for field in fields(Exported)])
    writer.writeheader()
    for line in exported:
        plain = to_jsonable_python(asdict(line), timedelta_mode="float")
        # What is itself a list or an object stays JSON within its cell.
        writer.writerow(
            {name: json.dumps(cell) if isinstance(cell, list | dict) else cell for name, cell in plain.items()}
        )
