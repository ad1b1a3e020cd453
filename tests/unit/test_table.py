"""How tables read and write, on a DynamoDB that answers as a test says."""

from unittest.mock import Mock

import pytest

from freshness.aws.item_codec import marshal
from freshness.aws.table import BATCH_TRIES, ContentionError, Table

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
