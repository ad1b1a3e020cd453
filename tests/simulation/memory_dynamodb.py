# ruff: noqa: N803 - the arguments have the names that boto3 gives them
"""DynamoDB in memory, as far as the store uses it: conditions are met, or fail as they do in AWS.

It is for tests that run through many histories. That the conditions mean the same over the real protocol is what the
integration tests of the store are for.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

Item = dict[str, Any]
KEYS = {"companies": ("company_id",), "freshness": ("company_id", "feed"), "datasets": ("company_id", "dataset_id")}


class ConditionalCheckFailedException(Exception):
    """The item is not as the condition asks."""

    def __init__(self, item: Item | None) -> None:
        super().__init__()
        self.response = {} if item is None else {"Item": item}


class MemoryDynamoDB:
    """A client. `before_call` is called before each call, and may break it off; `calls` counts them."""

    class exceptions:  # noqa: N801 - boto3's name
        ConditionalCheckFailedException = ConditionalCheckFailedException

    def __init__(self, before_call: Callable[[], None] = lambda: None) -> None:
        self.tables: dict[str, dict[str, dict[tuple[str, ...], Item]]] = {}
        self.calls: Counter[str] = Counter()
        self._before_call = before_call

    def sharing(self, before_call: Callable[[], None]) -> "MemoryDynamoDB":
        """Another client of the same tables."""
        other = MemoryDynamoDB(before_call)
        other.tables, other.calls = self.tables, self.calls
        return other

    def get_item(self, *, TableName: str, Key: Item) -> Item:
        self._count("GetItem")
        item = self._item(TableName, Key)
        return {} if item is None else {"Item": item}

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> Item:
        self._count("BatchGetItem")
        responses = {
            name: [item for key in wanted["Keys"] if (item := self._item(name, key)) is not None]
            for name, wanted in RequestItems.items()
        }
        return {"Responses": responses, "UnprocessedKeys": {}}

    def put_item(self, *, TableName: str, Item: Item, **condition: Any) -> None:
        self._count("PutItem")
        self._require(TableName, Item, condition)
        self._partition(TableName, Item)[_key(TableName, Item)] = Item

    def delete_item(self, *, TableName: str, Key: Item, **condition: Any) -> None:
        self._count("DeleteItem")
        self._require(TableName, Key, condition)
        self._partition(TableName, Key).pop(_key(TableName, Key), None)

    def get_paginator(self, operation: str) -> "_Paginator":
        assert operation == "query"
        return _Paginator(self)

    def query(self, table: str, condition: str, names: dict[str, str], values: Item) -> list[Item]:
        """The items of a table or an index, in order of the time that the condition compares."""
        self._count("Query")
        equal, _, before = condition.partition(" AND ")
        name, value = _operands(equal, " = ", names, values)
        if not before:
            return [item for _, item in sorted(self._partition(table, {name: value}).items())]
        items = (item for partition in self.tables.get(table, {}).values() for item in partition.values())
        found = [item for item in items if item.get(name) == value]
        time, now = _operands(before, " <= ", names, values)
        due = [item for item in found if time in item and item[time]["S"] <= now["S"]]
        return sorted(due, key=lambda item: str(item[time]["S"]))

    def _count(self, operation: str) -> None:
        self._before_call()
        self.calls[operation] += 1

    def _partition(self, table: str, key: Item) -> dict[tuple[str, ...], Item]:
        return self.tables.setdefault(table, {}).setdefault(key[_key_names(table)[0]]["S"], {})

    def _item(self, table: str, key: Item) -> Item | None:
        return self._partition(table, key).get(_key(table, key))

    def _require(self, table: str, key: Item, condition: Item) -> None:
        item = self._item(table, key)
        names = condition.get("ExpressionAttributeNames", {})
        values = condition.get("ExpressionAttributeValues", {})
        clauses = condition.get("ConditionExpression", "").split(" OR ")
        if clauses != [""] and not any(_holds(clause, item, names, values) for clause in clauses):
            raise ConditionalCheckFailedException(item)


class _Paginator:
    def __init__(self, dynamodb: MemoryDynamoDB) -> None:
        self._dynamodb = dynamodb

    def paginate(
        self,
        *,
        TableName: str,
        KeyConditionExpression: str,
        ExpressionAttributeValues: Item,
        ExpressionAttributeNames: dict[str, str] | None = None,
        **_: Any,
    ) -> Iterator[Item]:
        names = ExpressionAttributeNames or {}
        yield {"Items": self._dynamodb.query(TableName, KeyConditionExpression, names, ExpressionAttributeValues)}


def _key_names(table: str) -> tuple[str, ...]:
    return KEYS.get(table, ("name",))


def _key(table: str, item: Item) -> tuple[str, ...]:
    return tuple(item[name]["S"] for name in _key_names(table))


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
