"""One DynamoDB table: typed calls, conditional writes, and complete responses to paged or partial ones."""

import heapq
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from freshness.aws.dynamodb.item_codec import SHARDS, Item
from freshness.domain.times import sortable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH = 100
"""The most items that one BatchGetItem returns."""
STATEMENTS = 25
"""The most statements that one BatchExecuteStatement accepts."""
RACES = 10
"""How often a change is tried before it is given up, because another writer came first each time."""
BATCH_TRIES = 8
FIRST_PAUSE = 0.02
"""Seconds before a lost race, or an item that BatchGetItem left out, is tried again; each further pause is longer."""


def marshal(item: Item) -> Item:
    """Return an item in DynamoDB's own notation, with the type of each attribute."""
    return {name: _typed(value) for name, value in item.items()}


def unmarshal(item: Item) -> Item:
    """Return an item in plain Python values."""
    # Most values are texts, which take no further call.
    return {name: typed["S"] if "S" in typed else _plain(typed) for name, typed in item.items()}


def _typed(value: object) -> Any:
    """Return a value in DynamoDB's notation, such as `{"S": "text"}` for text."""
    match value:
        case str():
            return {"S": str(value)}  # DynamoDB's client accepts no subclass.
        case dict():
            return {"M": marshal(value)}
        case bool():
            return {"BOOL": value}
        case int() | Decimal():
            return {"N": str(value)}
        case bytes():
            return {"B": value}
        case list() | tuple():
            return {"L": [_typed(each) for each in value]}
        case None:
            return {"NULL": True}
        case _:
            raise TypeError(f"DynamoDB has no type for {value!r}")


def _plain(typed: Any) -> Any:
    """Return the Python value of a value in DynamoDB's notation."""
    [(kind, value)] = typed.items()
    match kind:
        case "M":
            return unmarshal(value)
        case "N":
            return Decimal(value)
        case "L":
            return [_plain(each) for each in value]
        case "NULL":
            return None
        case _:
            return value


class ContentionError(Exception):
    """Other writers kept changing an item, or DynamoDB kept leaving items out. Try again later."""


class VersionConflict(Exception):
    """The item is no longer as it was read. `current` is the item now, `None` if it was deleted."""

    def __init__(self, current: Item | None) -> None:
        super().__init__("the item was changed by another writer")
        self.current = current


class Refusal(NamedTuple):
    """The reason why a statement was not carried out. `current` is the item that did not meet its condition, if any."""

    is_of_condition: bool
    current: Item | None


class Table:
    """One table. May be used from several threads."""

    def __init__(self, dynamodb: "DynamoDBClient", name: str, sleep: Callable[[float], object] = time.sleep) -> None:
        self._dynamodb = dynamodb
        self._sleep = sleep
        self.name = name

    def get(self, key: Item, *, consistent: bool = False) -> Item | None:
        """Return one item. A read that is not consistent costs half, and may miss the last writes."""
        response = self._dynamodb.get_item(TableName=self.name, Key=marshal(key), ConsistentRead=consistent)
        return unmarshal(response["Item"]) if "Item" in response else None

    def get_many(self, keys: Iterable[Item], *, consistent: bool = False) -> Iterator[Item]:
        """Yield the items that exist, in any order. A key that is given twice, as an index may do, is read once.

        Raises:
            ContentionError: DynamoDB kept leaving out items.
        """
        unique = iter({tuple(key.items()): key for key in keys}.values())
        while batch := list(islice(unique, BATCH)):
            yield from self.get_together({self.name: batch}, consistent=consistent)[self.name]

    def get_together(self, keys: dict[str, list[Item]], *, consistent: bool = False) -> dict[str, list[Item]]:
        """Return the items of several tables that exist, by the name of their table. There are at most `BATCH` keys.

        Raises:
            ContentionError: DynamoDB kept leaving out items.
        """
        found: dict[str, list[Item]] = {name: [] for name in keys}
        wanted: Any = {
            name: {"Keys": [marshal(key) for key in of_table], "ConsistentRead": consistent}
            for name, of_table in keys.items()
        }
        for attempt in range(BATCH_TRIES):
            response = self._dynamodb.batch_get_item(RequestItems=wanted)
            for name, items in response["Responses"].items():
                found[name] += (unmarshal(item) for item in items)
            wanted = response["UnprocessedKeys"]
            if not wanted:
                return found
            self._pause(attempt)
        raise ContentionError(f"{', '.join(keys)}: DynamoDB left out items {BATCH_TRIES} times; try again later")

    def put(self, item: Item, version: int) -> None:
        """Write an item in place of the one that was read at `version`; 0 means that there was none.

        Raises:
            VersionConflict: another writer came first.
        """
        condition: Any = {"ConditionExpression": "attribute_not_exists(version)"}
        if version:
            condition = {
                "ConditionExpression": "version = :version",
                "ExpressionAttributeValues": marshal({":version": version}),
            }
        try:
            self._dynamodb.put_item(
                TableName=self.name, Item=marshal(item), ReturnValuesOnConditionCheckFailure="ALL_OLD", **condition
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException as failed:
            raise _conflict(failed) from None

    def put_new(self, items: Sequence[Item]) -> list["Refusal | None"]:
        """Write new items, `STATEMENTS` by one call. Return a refusal for each; `None` if it was written."""
        return self._execute([self._insertion(item) for item in items])

    def put_over(
        self, items: Sequence[Item], key: Collection[str], *, version: int, without: str
    ) -> list["Refusal | None"]:
        """Write the attributes of items over those that exist at `version` and lack the attribute `without`.

        `key` names the attributes of the table's key. One call writes `STATEMENTS` items and reads none: to read and
        put them takes a call more for each. Return a refusal for each; `None` if it was written.
        """
        return self._execute([self._assignment(item, key, version, without) for item in items])

    def _execute(self, statements: Sequence[Item]) -> list["Refusal | None"]:
        refusals: list[Refusal | None] = []
        for start in range(0, len(statements), STATEMENTS):
            batch: Any = statements[start : start + STATEMENTS]
            response = self._dynamodb.batch_execute_statement(Statements=batch)
            refusals += (_refusal(each) for each in response["Responses"])
        return refusals

    def _insertion(self, item: Item) -> Item:
        attributes = ", ".join(f"'{name}': ?" for name in item)
        return {
            "Statement": f'INSERT INTO "{self.name}" VALUE {{{attributes}}}',
            "Parameters": list(marshal(item).values()),
        }

    def _assignment(self, item: Item, key: Collection[str], version: int, without: str) -> Item:
        values = {name: value for name, value in item.items() if name not in key}
        expected = {name: item[name] for name in key} | {"version": version}
        assigned = " ".join(f'SET "{name}" = ?' for name in values)
        conditions = " AND ".join(f'"{name}" = ?' for name in expected)
        return {
            "Statement": f'UPDATE "{self.name}" {assigned} WHERE {conditions} AND "{without}" IS MISSING',
            "Parameters": [*marshal(values).values(), *marshal(expected).values()],
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def races(self) -> Iterator[None]:
        """Yield once for each attempt to write what others may change meanwhile, with pauses between.

        Raises:
            ContentionError: others came first `RACES` times.
        """
        for race in range(RACES):
            yield
            self._pause(race)
        raise ContentionError(f"{self.name}: an item was changed by others {RACES} times in a row; try again later")

    def put_always(self, item: Item) -> None:
        self._dynamodb.put_item(TableName=self.name, Item=marshal(item))

    def add(self, key: Item, numbers: Item, values: Item) -> Item:
        """Add to numbers of an item, and set other values of it, in one step. The item need not exist yet.

        Return these numbers and values as written.
        """
        aliases = {name: str(index) for index, name in enumerate((*numbers, *values))}
        added = ", ".join(f"#{aliases[name]} :{aliases[name]}" for name in numbers)
        assigned = ", ".join(f"#{aliases[name]} = :{aliases[name]}" for name in values)
        response = self._dynamodb.update_item(
            TableName=self.name,
            Key=marshal(key),
            ReturnValues="UPDATED_NEW",
            UpdateExpression=" ".join(
                f"{verb} {clause}" for verb, clause in (("ADD", added), ("SET", assigned)) if clause
            ),
            ExpressionAttributeNames={f"#{alias}": name for name, alias in aliases.items()},
            ExpressionAttributeValues=marshal(
                {f":{aliases[name]}": value for name, value in (numbers | values).items()}
            ),
        )
        return unmarshal(response["Attributes"])

    def delete(self, key: Item, version: int | None = None) -> None:
        """Delete an item, if it exists. If a `version` is given, the item must still have it.

        Raises:
            VersionConflict: another writer came first.
        """
        condition: Any = {}
        if version is not None:
            condition = {
                "ConditionExpression": "version = :version",
                "ExpressionAttributeValues": marshal({":version": version}),
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        try:
            self._dynamodb.delete_item(TableName=self.name, Key=marshal(key), **condition)
        except self._dynamodb.exceptions.ConditionalCheckFailedException as failed:
            raise _conflict(failed) from None

    def partition(self, name: str, value: str, *, consistent: bool = False) -> Iterator[Item]:
        """Yield the items whose partition key `name` has a value."""
        yield from self._query(
            KeyConditionExpression=f"{name} = :value",
            ExpressionAttributeValues=marshal({":value": value}),
            ConsistentRead=consistent,
        )

    def due(self, index: str, attribute: str, now: datetime) -> Iterator[Item]:
        """Yield the keys of an index whose time is no later than `now`, longest due first, from all shards."""
        of_shards = (
            self._query(
                IndexName=index,
                KeyConditionExpression=f"#shard = :shard AND {attribute} <= :now",
                ExpressionAttributeNames={"#shard": "shard"},
                ExpressionAttributeValues=marshal({":shard": shard, ":now": sortable(now)}),
            )
            for shard in SHARDS
        )
        return heapq.merge(*of_shards, key=itemgetter(attribute))

    def of_shard(self, index: str, shard: str, partition: str = "shard") -> Iterator[Item]:
        """Yield the entries of an index in a shard, or in another partition if the index is not by shards."""
        for page in self._of_shard(index, shard, partition):
            yield from (unmarshal(item) for item in page["Items"])

    def first_keys(self, index: str, shard: str, most: int) -> tuple[list[Item], bool]:
        """Return the first entries of an index in a shard, the earliest first, and whether these are all.

        They are at most `most`, or what fits into the 1 MB that one query reads.
        """
        page = next(self._of_shard(index, shard, PaginationConfig={"PageSize": most}))
        return [unmarshal(item) for item in page["Items"]], "LastEvaluatedKey" not in page

    def item_count(self) -> int:
        """Return about how many items there are, as DynamoDB counted them in the last six hours, free of charge."""
        return self._dynamodb.describe_table(TableName=self.name)["Table"].get("ItemCount", 0)

    def scan(self) -> Iterator[Item]:
        """Yield every item, for an operator's tools: no function has the permission to scan."""
        for page in self._dynamodb.get_paginator("scan").paginate(TableName=self.name):
            yield from (unmarshal(item) for item in page["Items"])

    def acquire(self, key: Item, owner: str, until: datetime, now: datetime, since: datetime | None = None) -> bool:
        """Take a lease until a time, unless another owner holds it. Return whether it was taken.

        `since` is stored with the lease, by default `now`.
        """
        try:
            self._dynamodb.put_item(
                TableName=self.name,
                Item=marshal(key | {"owner": owner, "since": sortable(since or now), "until": sortable(until)}),
                ConditionExpression="attribute_not_exists(#owner) OR #until < :now OR #owner = :owner",
                ExpressionAttributeNames={"#until": "until", "#owner": "owner"},
                ExpressionAttributeValues=marshal({":now": sortable(now), ":owner": owner}),
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def release(self, key: Item, owner: str) -> None:
        try:
            self._dynamodb.delete_item(
                TableName=self.name,
                Key=marshal(key),
                ConditionExpression="#owner = :owner",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues=marshal({":owner": owner}),
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return

    def _of_shard(self, index: str, shard: str, partition: str = "shard", **options: Any) -> Iterator[Any]:
        return iter(
            self._dynamodb.get_paginator("query").paginate(
                TableName=self.name,
                IndexName=index,
                KeyConditionExpression="#shard = :shard",
                ExpressionAttributeNames={"#shard": partition},
                ExpressionAttributeValues=marshal({":shard": shard}),
                **options,
            )
        )

    def _query(self, **query: Any) -> Iterator[Item]:
        for page in self._dynamodb.get_paginator("query").paginate(TableName=self.name, **query):
            yield from (unmarshal(item) for item in page["Items"])

    def _pause(self, attempt: int) -> None:
        self._sleep(FIRST_PAUSE * 1.5**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter


def _conflict(failed: Any) -> VersionConflict:
    current = failed.response.get("Item")
    return VersionConflict(unmarshal(current) if current else None)


def _refusal(response: Any) -> Refusal | None:
    error = response.get("Error")
    if error is None:
        return None
    current = error.get("Item")
    return Refusal(
        error["Code"] in ("DuplicateItem", "ConditionalCheckFailed"), unmarshal(current) if current else None
    )
