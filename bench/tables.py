"""The stack's tables in a local AWS, with a meter of what DynamoDB would charge."""

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
from aws_cdk import App, Stack
from aws_cdk.assertions import Template

from freshness.aws.event_bus import Bus
from freshness.aws.store import Store
from freshness.aws.store import Tables as TableNames
from infra.tables import Tables
from local import local_aws
from local.processes import free_port, guarded_processes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KINDS = ("companies", "freshness", "datasets", "control")
READ_UNIT = 4096
"""Bytes that one read unit reads; a read that need not be consistent costs half of it."""
BATCH = 25
"""The most items that one BatchWriteItem takes."""
Item = dict[str, dict[str, object]]
"""As DynamoDB's protocol has it: a value under the name of its type, under its own name."""
_READS = ("GetItem", "BatchGetItem", "Query")
_WRITES = ("PutItem", "DeleteItem")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Units that were used, and the bytes of the largest item written."""

    write_units: float = 0.0
    read_units: float = 0.0
    largest_item: int = 0


class Meter:
    """What one client uses.

    Write units are those that the local AWS reports, by DynamoDB's rules: sizes and indexes count. It reports reads
    without regard to size, so these are worked out from what was read.
    """

    def __init__(self, dynamodb: "DynamoDBClient") -> None:
        self._usage = Usage()
        for operation in (*_READS, *_WRITES):
            ask: Any = self._ask
            dynamodb.meta.events.register(f"provide-client-params.dynamodb.{operation}", ask)
            dynamodb.meta.events.register(f"after-call.dynamodb.{operation}", self._count)

    def take(self) -> Usage:
        """What was used since the last time."""
        usage, self._usage = self._usage, Usage()
        return usage

    def _ask(self, params: dict[str, Any], **_: object) -> dict[str, Any]:
        largest = max(self._usage.largest_item, _size(params.get("Item", {})))
        self._usage = replace(self._usage, largest_item=largest)
        return params | {"ReturnConsumedCapacity": "INDEXES"}

    def _count(self, parsed: dict[str, Any], model: Any, **_: object) -> None:
        if model.name in _WRITES:
            # A condition that failed, which is not itemised, costs what the write would have: one unit below 1 KB.
            units = 1.0 if "Error" in parsed else parsed["ConsumedCapacity"]["CapacityUnits"]
            self._usage = replace(self._usage, write_units=self._usage.write_units + units)
        elif "Error" not in parsed:
            units = _read_units(model.name, parsed)
            self._usage = replace(self._usage, read_units=self._usage.read_units + units)


def _read_units(operation: str, parsed: dict[str, Any]) -> float:
    """What DynamoDB charges for an eventually consistent read."""
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
    """The bytes that DynamoDB charges for an item, or what of it an index holds: its names and values."""
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
        """What makes clients that reach it."""
        return boto3.Session("test", "test", region_name=local_aws.REGION)

    def dynamodb(self) -> "DynamoDBClient":
        """A client for its DynamoDB."""
        return self.session.client("dynamodb", endpoint_url=self.url)

    def bus(self) -> Bus:
        """Its event bus."""
        return Bus(self.session.client("events", endpoint_url=self.url), "default")

    def tables(self) -> TableNames:
        """Create empty tables, as the stack defines them."""
        stack = Stack(App())
        Tables(stack, disposable=True)
        kept = ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "BillingMode")
        names: dict[str, str] = {}
        for logical_id, resource in Template.from_stack(stack).find_resources("AWS::DynamoDB::Table").items():
            kind = next(kind for kind in KINDS if kind in logical_id.lower())
            names[kind] = f"{kind}-{uuid4().hex}"
            definition: Any = {key: value for key, value in resource["Properties"].items() if key in kept}
            self.dynamodb().create_table(TableName=names[kind], **definition)
        return TableNames(**names)

    def store(self, names: TableNames | None = None) -> tuple[Store, Meter]:
        """A store over tables, empty ones if none are named, and the meter of what the store uses."""
        dynamodb = self.dynamodb()
        return Store(dynamodb, names or self.tables()), Meter(dynamodb)


def write(aws: LocalAws, table: str, items: Iterable[Item]) -> None:
    """Fill a table. Requests are not signed, which the local AWS does not mind: boto3 would take far longer."""
    headers = {
        "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
        "Content-Type": "application/x-amz-json-1.0",
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/dynamodb/aws4_request",
    }
    remaining = iter(items)
    with httpx.Client(base_url=aws.url, headers=headers) as http:
        while puts := [{"PutRequest": {"Item": item}} for item in islice(remaining, BATCH)]:
            answer = http.post("/", content=json.dumps({"RequestItems": {table: puts}})).raise_for_status().json()
            if answer["UnprocessedItems"]:
                raise RuntimeError("the local AWS left items unwritten, which it should never do")


@contextmanager
def running_aws() -> Iterator[LocalAws]:
    """A local AWS for the time of the `with` block."""
    with tempfile.TemporaryDirectory() as folder, guarded_processes(Path(folder), ()) as processes:
        port = free_port()
        local_aws.start(processes, port, Path(folder, "temporary"))
        yield LocalAws(f"http://127.0.0.1:{port}")
