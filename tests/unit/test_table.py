"""How tables read and write, on a DynamoDB that answers as a test says."""

from typing import Any, cast
from unittest.mock import Mock

import pytest

from estimate.memory_dynamodb import MemoryDynamoDB
from freshness.aws.dynamodb.item_codec import marshal
from freshness.aws.dynamodb.table import BATCH, BATCH_TRIES, ContentionError, Table

KEY = {"name": "a"}
UNPROCESSED = {"table": {"Keys": [marshal(KEY)]}}


def test_items_that_a_batch_left_out_are_read_after_longer_and_longer_pauses() -> None:
    dynamodb, pauses = Mock(), list[float]()
    left_out = {"Responses": {}, "UnprocessedKeys": UNPROCESSED}
    read = {"Responses": {"table": [marshal(KEY)]}, "UnprocessedKeys": {}}
    dynamodb.batch_get_item.side_effect = [left_out] * 4 + [read]

    assert list(Table(dynamodb, "table", pauses.append).get_many([KEY])) == [KEY]

    assert len(pauses) == 4
    assert all(pauses)
    assert pauses[-1] > pauses[0]


def test_a_batch_that_is_never_read_in_full_is_given_up() -> None:
    dynamodb = Mock()
    dynamodb.batch_get_item.return_value = {"Responses": {}, "UnprocessedKeys": UNPROCESSED}
    with pytest.raises(ContentionError):
        list(Table(dynamodb, "table", lambda _: None).get_many([KEY]))
    assert dynamodb.batch_get_item.call_count == BATCH_TRIES


def test_items_that_an_index_lists_twice_are_read_once() -> None:
    dynamodb = MemoryDynamoDB()
    table = Table(cast(Any, dynamodb), "control")
    keys = [{"name": str(number)} for number in range(BATCH + 1)]
    for key in keys:
        table.put_always(key)

    found = list(table.get_many([*keys, *keys]))

    assert sorted(found, key=str) == sorted(keys, key=str)
    assert dynamodb.calls["BatchGetItem"] == 2


def test_new_items_are_written_together_and_those_that_exist_are_left_as_they_are() -> None:
    dynamodb = MemoryDynamoDB()
    table = Table(cast(Any, dynamodb), "control")
    table.put_always({"name": "3", "value": "known"})

    refusals = table.put_new([{"name": str(number), "value": "new"} for number in range(30)])

    assert [number for number, refusal in enumerate(refusals) if refusal] == [3]
    assert table.get({"name": "3"}) == {"name": "3", "value": "known"}
    assert table.get({"name": "29"}) == {"name": "29", "value": "new"}
    assert dynamodb.calls["BatchExecuteStatement"] == 2


def test_no_items_are_written_without_a_call() -> None:
    dynamodb = MemoryDynamoDB()
    assert Table(cast(Any, dynamodb), "control").put_new([]) == []
    assert not dynamodb.calls
