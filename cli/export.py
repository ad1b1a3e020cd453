"""`freshness export`: the whole fleet for other programs."""

import csv
import json
import sys
from collections.abc import Iterable
from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any, TextIO

import typer
from pydantic.alias_generators import to_camel
from pydantic_core import to_json, to_jsonable_python

from cli.arguments import selected_stack
from cli.output import with_json_keys
from freshness.app.reading.views import FeedExport, FeedView
from stack_access.stack import clock

KEYS = tuple(to_camel(each.name) for kind in (FeedView, FeedExport) for each in fields(kind) if each.name != "feed")


class Format(StrEnum):
    """The formats of an export."""

    JSONL = "jsonl"
    CSV = "csv"


def export(
    context: typer.Context,
    *,
    form: Annotated[Format, typer.Option("--format", help="JSON, a line for each data type, or CSV.")] = Format.JSONL,
) -> None:
    """Print every data type of every company with its last syncs; durations are in seconds, times in UTC.

    They are printed as they are read, in no particular order.
    """
    write = _write_csv if form is Format.CSV else _write_jsonl
    write(map(_record, selected_stack(context).queries.export(clock())), sys.stdout)


def _record(exported: FeedExport) -> dict[str, Any]:
    """Return an exported feed as one flat record."""
    record: dict[str, Any] = with_json_keys(exported)
    feed: dict[str, Any] = record.pop("feed")
    return feed | record


def _write_jsonl(records: Iterable[dict[str, Any]], output: TextIO) -> None:
    for record in records:
        output.write(to_json(record, timedelta_mode="float").decode() + "\n")


def _write_csv(records: Iterable[dict[str, Any]], output: TextIO) -> None:
    writer = csv.DictWriter(output, KEYS)
    writer.writeheader()
    for record in records:
        values = to_jsonable_python(record, timedelta_mode="float")
        # A list or an object is written as JSON in its cell.
        writer.writerow(
            {name: json.dumps(value) if isinstance(value, list | dict) else value for name, value in values.items()}
        )
