"""The stack's tables in a local AWS, with a meter for the units that DynamoDB charges."""

import json
import math
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import httpx

from freshness.aws.dynamodb.tables import TableNames, Tables
from freshness.aws.event_bus import EventBus
from local import local_aws
from local.processes import free_port, guarded_processes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KINDS = ("companies", "feeds", "datasets", "control")
READ_UNIT = 4096
"""The bytes that one read unit covers. An eventually consistent read costs half of it."""
BATCH = 25
"""The most items that one BatchWriteItem accepts."""
Item = dict[str, dict[str, object]]
"""An item in DynamoDB's own notation, with the type of each attribute."""
_READS = ("GetItem", "BatchGetItem", "Query")
_WRITES = ("PutItem", "UpdateItem", "DeleteItem", "BatchExecuteStatement")
_CONSISTENT = "bench.consistent"
"""The entry in boto3's context of a request for whether it is a consistent read, which costs twice as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Units used, and the bytes of the largest item written."""

    write_units: float = 0.0
    read_units: float = 0.0
    largest_item: int = 0


class Meter:
    """Measures what one client uses.

    Write units are as the local AWS reports them, by DynamoDB's rules for sizes and indexes. It reports reads
    regardless of their size, so read units are calculated from the items read.
    """

    def __init__(self, dynamodb: "DynamoDBClient") -> None:
        self._usage = Usage()
        for operation in (*_READS, *_WRITES):
            prepare: Any = self._prepare
            dynamodb.meta.events.register(f"provide-client-params.dynamodb.{operation}", prepare)
            dynamodb.meta.events.register(f"after-call.dynamodb.{operation}", self._count)

    def take(self) -> Usage:
        """Return what was used since the last call."""
        usage, self._usage = self._usage, Usage()
        return usage

    def _prepare(self, params: dict[str, Any], context: dict[str, Any], **_: object) -> dict[str, Any]:
        of_tables = params.get("RequestItems", {}).values()
        context[_CONSISTENT] = any(each.get("ConsistentRead", False) for each in (params, *of_tables))
        largest = max(self._usage.largest_item, _size(params.get("Item", {})))
        self._usage = replace(self._usage, largest_item=largest)
        return params | {"ReturnConsumedCapacity": "INDEXES"}

    def _count(self, parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: object) -> None:
        if model.name in _WRITES:
            # A write whose condition fails costs as much as the write, here one unit, and its response has no units.
            units = 1.0 if "Error" in parsed else _write_units(parsed["ConsumedCapacity"])
            self._usage = replace(self._usage, write_units=self._usage.write_units + units)
        elif "Error" not in parsed:
            units = _read_units(model.name, parsed) * (2 if context[_CONSISTENT] else 1)
            self._usage = replace(self._usage, read_units=self._usage.read_units + units)


def _write_units(consumed: dict[str, Any] | list[dict[str, Any]]) -> float:
    """Return the units of a write, or of several by one call."""
    return float(sum(each["CapacityUnits"] for each in (consumed if isinstance(consumed, list) else [consumed])))


def _read_units(operation: str, parsed: dict[str, Any]) -> float:
    """Return the units that DynamoDB charges for an eventually consistent read."""
    match operation:
        case "Query":
            return _eventually_consistent(sum(map(_size, parsed["Items"])))
        case "BatchGetItem":
            return sum(_eventually_consistent(_size(item)) for items in parsed["Responses"].values() for item in items)
        case _:
            return _eventually_consistent(_size(parsed.get("Item", {})))


def _eventually_consistent(size: int) -> float:
    return max(1, math.ceil(size / READ_UNIT)) / 2


def _size(item: dict[str, Any]) -> int:
    """Return the bytes that DynamoDB charges for an item, or for the part of it in an index: its names and values."""
    return sum(len(name.encode()) + _value_size(*value.items()) for name, value in item.items())


def _value_size(typed: tuple[str, Any]) -> int:
    match typed:
        case ("S", text):
            return len(text.encode())
        case ("N", number):
            return len(number) // 2 + 2
        case ("B", content):
            return len(content)
        case ("M", members):
            return 3 + len(members) + _size(members)
        case ("L", members):
            return 3 + len(members) + sum(_value_size(*value.items()) for value in members)
        case _:
            return 1


@dataclass(frozen=True)
class LocalAws:
    """A local AWS on a port of this machine."""

    url: str

    @property
    def session(self) -> boto3.Session:
        """Return a session with test credentials."""
        return boto3.Session("test", "test", region_name=local_aws.REGION)

    def dynamodb(self) -> "DynamoDBClient":
        """Return a client for its DynamoDB."""
        return self.session.client("dynamodb", endpoint_url=self.url)

    def event_bus(self) -> EventBus:
        """Return its default event bus."""
        return EventBus(self.session.client("events", endpoint_url=self.url), "default")

    def create_tables(self) -> TableNames:
        """Create empty tables as the stack defines them, and return their names."""
        # Imported here, because importing the CDK starts Node.js, and not all users of this module create tables.
        from aws_cdk import App, Stack
        from aws_cdk.assertions import Template

        from infra import tables as infra_tables

        stack = Stack(App())
        infra_tables.Tables(stack, disposable=True)
        kept = ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "BillingMode")
        names: dict[str, str] = {}
        for logical_id, resource in Template.from_stack(stack).find_resources("AWS::DynamoDB::Table").items():
            kind = next(kind for kind in KINDS if kind in logical_id.lower())
            names[kind] = f"{kind}-{uuid4().hex}"
            definition: Any = {key: value for key, value in resource["Properties"].items() if key in kept}
            self.dynamodb().create_table(TableName=names[kind], **definition)
        return TableNames(**names)

    def open_tables(self, names: TableNames | None = None) -> tuple[Tables, Meter]:
        """Return tables, by default new ones, and the meter for what is used through them."""
        dynamodb = self.dynamodb()
        return Tables.open(dynamodb, names or self.create_tables()), Meter(dynamodb)


def write(aws: LocalAws, table: str, items: Iterable[Item]) -> None:
    """Write items to a table. Unsigned requests, which the local AWS accepts, are much faster than boto3."""
    headers = {
        "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
        "Content-Type": "application/x-amz-json-1.0",
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/dynamodb/aws4_request",
    }
    remaining = iter(items)
    with httpx.Client(base_url=aws.url, headers=headers) as http:
        while puts := [{"PutRequest": {"Item": item}} for item in islice(remaining, BATCH)]:
            response = http.post("/", content=json.dumps({"RequestItems": {table: puts}})).raise_for_status().json()
            if response["UnprocessedItems"]:
                raise RuntimeError("the local AWS left items unprocessed, which it never should")


@contextmanager
def running_aws() -> Iterator[LocalAws]:
    """Run a local AWS during the `with` block."""
    with tempfile.TemporaryDirectory() as folder, guarded_processes(Path(folder), ()) as processes:
        port = free_port()
        local_aws.start(processes, port, Path(folder, "temporary"))
        yield LocalAws(f"http://127.0.0.1:{port}")
