"""How tables read and write, on a DynamoDB that answers as a test says."""

from typing import Any
from unittest.mock import Mock

import pytest

from freshness.aws.control import REREAD_RATES, Control
from freshness.aws.item_codec import marshal
from freshness.aws.table import BATCH_TRIES, ContentionError, Table

KEY = {"name": "a"}
UNPROCESSED = {"table": {"Keys": [marshal(KEY)]}}


class Clock:
    """Seconds that a test can let pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Rates:
    """The item of the fleet's rates in a fake table, with the number of its reads and writes."""

    def __init__(self) -> None:
        self.item: dict[str, Any] | None = None
        self.reads = self.writes = 0

    def get(self, _: dict[str, Any]) -> dict[str, Any] | None:
        self.reads += 1
        return self.item

    def put_always(self, item: dict[str, Any]) -> None:
        self.writes += 1
        self.item = item


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates() -> Rates:
    return Rates()


@pytest.fixture
def control(rates: Rates, clock: Clock) -> Control:
    return Control(rates, seconds=clock)  # type: ignore[arg-type]


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


def test_the_rates_of_the_fleet_are_read_once_an_hour(control: Control, rates: Rates, clock: Clock) -> None:
    for _ in range(60):
        control.fleet_rates()
    assert rates.reads == 1
    clock.now += REREAD_RATES
    control.fleet_rates()
    assert rates.reads == 2


def test_the_rates_of_the_fleet_are_written_only_when_they_changed_significantly(
    control: Control, rates: Rates
) -> None:
    for _ in range(1000):
        control.add_to_fleet_rates([("Xero", "invoices", 4.0)])
    # For the 1st, 2nd, 4th, …, 256th feed, after which the weight of a feed hardly changes.
    assert rates.writes == 9
    expected = control.fleet_rates().expected("Xero", "invoices")
    assert expected == pytest.approx(4.0)


def test_small_changes_of_a_rate_that_add_up_are_written(control: Control, rates: Rates, clock: Clock) -> None:
    control.add_to_fleet_rates([("Xero", "invoices", 4.0)] * 500)
    before = rates.writes
    for _ in range(500):
        control.add_to_fleet_rates([("Xero", "invoices", 40.0)])
    assert 5 < rates.writes - before < 50
    clock.now += REREAD_RATES
    assert (control.fleet_rates().expected("Xero", "invoices") or 0) > 12


def test_a_new_kind_of_feed_is_written_at_once(control: Control, rates: Rates) -> None:
    control.add_to_fleet_rates([("Xero", "invoices", 4.0)])
    control.add_to_fleet_rates([("Xero", "bills", 4.0)])
    assert rates.writes == 2
