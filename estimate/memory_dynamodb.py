# ruff: noqa: N803 - boto3's argument names
"""A client for tables in memory, with the operations of DynamoDB that `freshness.aws.dynamodb.table` uses.

It makes simulations of many days fast. The integration tests check the same conditions over DynamoDB's own protocol.
"""

import re
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

from botocore.exceptions import ClientError

from freshness.aws.dynamodb.tables import TableNames, Tables

TABLE_NAMES = TableNames(companies="companies", feeds="feeds", datasets="datasets", control="control")
Item = dict[str, Any]
Key = tuple[str, ...]
KEYS = {"companies": ("company_id",), "feeds": ("company_id", "feed"), "datasets": ("company_id", "dataset_id")}
"""The attributes of each table's key. That of any other table is `name`."""
INDEXED = {
    "companies": {"due_for_check": "check_at", "needs_relink": "needs_relink_at"},
    "feeds": {"due": "due_at", "broken": "broken_at"},
    "control": {"open": "open_until", "open_of_company": "open_until"},
}
"""The sort key of each index. An item without it is not in the index."""
PARTITIONED = {"open_of_company": "company_id"}
"""The partition key of an index, if it is not `shard`."""
MOST_KEYS, MOST_STATEMENTS = 100, 25
"""The most keys of one BatchGetItem, and the most statements of one BatchExecuteStatement."""
PROJECTED = ("breach",)
"""The attributes of an item that an index has besides its keys."""


class ConditionalCheckFailedException(Exception):
    """The condition of a write does not hold for the item, which is in `response` if it exists."""

    def __init__(self, item: Item | None) -> None:
        super().__init__()
        self.response = {} if item is None else {"Item": item}


class Table:
    """The items of one table by partition, and the keys of the items in each index."""

    def __init__(self, name: str) -> None:
        self.partitions: dict[str, dict[Key, Item]] = {}
        self._key_names = KEYS.get(name, ("name",))
        self._times = INDEXED.get(name, {})
        self._shards: defaultdict[tuple[str, str], list[tuple[str, Key]]] = defaultdict(list)

    def get(self, key: Item) -> Item | None:
        return self.partitions.get(self._partition(key), {}).get(self._key(key))

    def replace(self, key: Item, item: Item | None) -> None:
        """Replace the item with a key, or delete it if `item` is `None`."""
        partition = self.partitions.setdefault(self._partition(key), {})
        before = partition.pop(self._key(key), {})
        for shard, entry in self._entries(before):
            del shard[bisect_left(shard, entry)]
        if item is None:
            return
        partition[self._key(item)] = item
        for shard, entry in self._entries(item):
            insort(shard, entry)

    def keys(self, index: str, shard: str, until: str | None) -> Iterator[Item]:
        """Yield the entries of a shard of an index in order of time, up to `until` if it is set."""
        entries = self._shards[index, shard]
        end = len(entries) if until is None else bisect_right(entries, until, key=lambda entry: entry[0])
        for time, key in entries[:end]:
            names = (self._times[index], *self._key_names)
            keys = {name: {"S": value} for name, value in zip(names, (time, *key), strict=True)}
            item = self.partitions[key[0]][key]
            yield keys | {name: item[name] for name in PROJECTED if name in item}

    def _partition(self, key: Item) -> str:
        return str(key[self._key_names[0]]["S"])

    def _key(self, item: Item) -> Key:
        return tuple(item[name]["S"] for name in self._key_names)

    def _entries(self, item: Item) -> Iterator[tuple[list[tuple[str, Key]], tuple[str, Key]]]:
        """Yield, for each index that has the item, all entries of the item's shard and the item's own entry."""
        for index, time in self._times.items():
            if time in item:
                yield (
                    self._shards[index, item[PARTITIONED.get(index, "shard")]["S"]],
                    (item[time]["S"], self._key(item)),
                )


class MemoryDynamoDB:
    """A DynamoDB client for tables in memory. `before_call` is called before each operation, and may raise.

    `calls` counts the operations, and `writes` the items of each table that were written or deleted.
    """

    class exceptions:  # noqa: N801 - boto3's name
        """The errors that operations raise."""

        ConditionalCheckFailedException = ConditionalCheckFailedException

    def __init__(self, before_call: Callable[[], None] = lambda: None) -> None:
        self.tables = {name: Table(name) for name in (*KEYS, "control")}
        self.calls: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        self._before_call = before_call

    def sharing(self, before_call: Callable[[], None]) -> "MemoryDynamoDB":
        """Return a second client for the same tables. It adds to the same counts."""
        other = MemoryDynamoDB(before_call)
        other.tables, other.calls, other.writes = self.tables, self.calls, self.writes
        return other

    def get_item(self, *, TableName: str, Key: Item, **_: Any) -> Item:
        self._count("GetItem")
        item = self.tables[TableName].get(Key)
        return {} if item is None else {"Item": item}

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> Item:
        """Return the items with the keys of a request.

        Raises:
            ClientError: a key is given twice, or there are more than DynamoDB accepts.
        """
        self._count("BatchGetItem")
        if sum(len(wanted["Keys"]) for wanted in RequestItems.values()) > MOST_KEYS:
            raise _invalid("BatchGetItem", "Too many items requested for the BatchGetItem call")
        for wanted in RequestItems.values():
            if len({str(sorted(key.items())) for key in wanted["Keys"]}) < len(wanted["Keys"]):
                raise _invalid("BatchGetItem", "Provided list of item keys contains duplicates")
        responses = {
            name: [item for key in wanted["Keys"] if (item := self.tables[name].get(key)) is not None]
            for name, wanted in RequestItems.items()
        }
        return {"Responses": responses, "UnprocessedKeys": {}}

    def put_item(self, *, TableName: str, Item: Item, **condition: Any) -> None:
        """Write an item.

        Raises:
            ConditionalCheckFailedException: the condition does not hold.
        """
        self._count("PutItem")
        self._require(TableName, Item, condition)
        self._replace(TableName, Item, Item)

    def batch_execute_statement(self, *, Statements: list[Item]) -> Item:
        """Insert items that do not exist yet, by statements such as `INSERT INTO "table" VALUE {'name': ?}`.

        Or update some by `UPDATE "table" SET "value" = ? WHERE "name" = ? AND "version" = ? AND "other" IS MISSING`.

        Raises:
            ClientError: there are more than DynamoDB accepts.
        """
        self._count("BatchExecuteStatement")
        if len(Statements) > MOST_STATEMENTS:
            raise _invalid("BatchExecuteStatement", "Member must have length less than or equal to 25")
        return {"Responses": [self._execute(each["Statement"], each["Parameters"]) for each in Statements]}

    def _execute(self, statement: str, parameters: list[Item]) -> Item:
        return (self._insert if statement.startswith("INSERT") else self._update)(statement, parameters)

    def _insert(self, statement: str, parameters: list[Item]) -> Item:
        _, table, attributes = statement.split('"')
        item = dict(zip(re.findall(r"'(\w+)': \?", attributes), parameters, strict=True))
        if self.tables[table].get(item) is not None:
            return {"Error": {"Code": "DuplicateItem"}}
        self._replace(table, item, item)
        return {"TableName": table}

    def _update(self, statement: str, parameters: list[Item]) -> Item:
        assignments, _, condition = statement.partition(" WHERE ")
        names = re.findall(r'"(\w+)" = \?', assignments)
        values = dict(zip(names, parameters, strict=False))
        expected = dict(zip(re.findall(r'"(\w+)" = \?', condition), parameters[len(names) :], strict=True))
        [missing] = re.findall(r'"(\w+)" IS MISSING', condition)
        table = assignments.split('"')[1]
        item = self.tables[table].get(expected)
        if item is None or missing in item or any(item.get(name) != value for name, value in expected.items()):
            return {"Error": {"Code": "ConditionalCheckFailed"} | ({"Item": item} if item else {})}
        self._replace(table, item, item | values)
        return {"TableName": table}

    def update_item(
        self,
        *,
        TableName: str,
        Key: Item,
        UpdateExpression: str,
        ExpressionAttributeNames: dict[str, str],
        ExpressionAttributeValues: Item,
        **_options: Any,
    ) -> Item:
        """Add to numbers of an item, and set other values, by an expression such as `ADD #0 :0 SET #1 = :1`."""
        self._count("UpdateItem")
        item = dict(self.tables[TableName].get(Key) or Key)
        added, _, assigned = UpdateExpression.removeprefix("ADD ").partition("SET ")
        for clause in filter(None, map(str.strip, added.split(","))):
            alias, value = clause.split()
            name, known = ExpressionAttributeNames[alias], item.get(ExpressionAttributeNames[alias], {"N": "0"})
            item[name] = {"N": str(Decimal(known["N"]) + Decimal(ExpressionAttributeValues[value]["N"]))}
        for clause in filter(None, map(str.strip, assigned.split(","))):
            alias, value = clause.split(" = ")
            item[ExpressionAttributeNames[alias]] = ExpressionAttributeValues[value]
        self._replace(TableName, Key, item)
        return {"Attributes": {name: item[name] for name in ExpressionAttributeNames.values()}}

    def delete_item(self, *, TableName: str, Key: Item, **condition: Any) -> None:
        """Delete the item with a key, if it exists.

        Raises:
            ConditionalCheckFailedException: the condition does not hold.
        """
        self._count("DeleteItem")
        self._require(TableName, Key, condition)
        self._replace(TableName, Key, None)

    def get_paginator(self, operation: str) -> SimpleNamespace:
        return SimpleNamespace(paginate=self._scanned if operation == "scan" else self._queried)

    def _scanned(self, *, TableName: str) -> Iterator[Item]:
        yield {"Items": self.scan(TableName)}

    def _queried(
        self,
        *,
        TableName: str,
        KeyConditionExpression: str,
        ExpressionAttributeValues: Item,
        ExpressionAttributeNames: dict[str, str] | None = None,
        IndexName: str | None = None,
        PaginationConfig: dict[str, int] | None = None,
        **_: Any,
    ) -> Iterator[Item]:
        names, values = ExpressionAttributeNames or {}, ExpressionAttributeValues
        items = self.query(TableName, IndexName, KeyConditionExpression, names, values)
        size = (PaginationConfig or {}).get("PageSize", len(items))
        if len(items) <= size:
            yield {"Items": items}
            return
        yield {"Items": items[:size], "LastEvaluatedKey": True}
        yield {"Items": items[size:]}

    def query(self, table: str, index: str | None, condition: str, names: dict[str, str], values: Item) -> list[Item]:
        """Return the items of a partition in order of their keys, or of a shard of an index in order of time."""
        self._count("Query")
        equal, _, before = condition.partition(" AND ")
        _, value = _operands(equal, " = ", names, values)
        if index is None:
            return [item for _, item in sorted(self.tables[table].partitions.get(value["S"], {}).items())]
        until = _operands(before, " <= ", names, values)[1]["S"] if before else None
        return list(self.tables[table].keys(index, value["S"], until))

    def describe_table(self, *, TableName: str) -> Item:
        self._count("DescribeTable")
        items = sum(map(len, self.tables[TableName].partitions.values()))
        return {"Table": {"ItemCount": items}}

    def scan(self, table: str) -> list[Item]:
        """Return all items of a table, in order of their keys."""
        self._count("Scan")
        items = {key: item for partition in self.tables[table].partitions.values() for key, item in partition.items()}
        return [item for _, item in sorted(items.items())]

    def _replace(self, table: str, key: Item, item: Item | None) -> None:
        self.writes[table] += 1
        self.tables[table].replace(key, item)

    def _count(self, operation: str) -> None:
        self._before_call()
        self.calls[operation] += 1

    def _require(self, table: str, key: Item, condition: Item) -> None:
        item = self.tables[table].get(key)
        names = condition.get("ExpressionAttributeNames", {})
        values = condition.get("ExpressionAttributeValues", {})
        clauses = condition.get("ConditionExpression", "").split(" OR ")
        if clauses != [""] and not any(_holds(clause, item, names, values) for clause in clauses):
            raise ConditionalCheckFailedException(item)


def tables_in_memory(dynamodb: MemoryDynamoDB | None = None) -> Tables:
    """Return the repositories of tables in memory, by default of empty ones. No call is waited for."""
    return Tables.open(cast(Any, dynamodb or MemoryDynamoDB()), TABLE_NAMES, sleep=lambda _: None)


def _invalid(operation: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": "ValidationException", "Message": message}}, operation)


def _operands(clause: str, operator: str, names: dict[str, str], values: Item) -> tuple[str, Any]:
    name, _, placeholder = clause.partition(operator)
    return names.get(name, name), values[placeholder]


def _holds(clause: str, item: Item | None, names: dict[str, str], values: Item) -> bool:
    if clause.startswith("attribute_not_exists("):
        name = clause.removeprefix("attribute_not_exists(").removesuffix(")")
        return item is None or names.get(name, name) not in item
    operator = " = " if " = " in clause else " < "
    name, value = _operands(clause, operator, names, values)
    if item is None or name not in item:
        return False
    return bool(item[name] == value if operator == " = " else item[name]["S"] < value["S"])
