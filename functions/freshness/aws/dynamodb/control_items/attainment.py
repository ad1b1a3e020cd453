"""Records of attainment by hour and by day, which are kept in the control table."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from freshness.aws.dynamodb.control import control_key
from freshness.aws.dynamodb.item_codec import Item
from freshness.aws.dynamodb.table import Table
from freshness.domain.slo.attainment import (
    DAY,
    DAYS_KEPT,
    HOUR,
    Attained,
    Breakdown,
    Cell,
    Period,
    PeriodRecord,
    attained,
    by_hour_since,
    by_period,
    periods,
)
from freshness.domain.slo.breach import BreachTime

LAST_HOURS = 4 * DAY
"""How long the records of hours are kept: until their day is recorded, and longer if no tick runs."""
MOST_NUMBERS = 100
"""The most numbers that one call changes."""
_FEEDS, _SETTLED = "feeds", "settled"


class AttainmentRecords:
    """The repository of attainment.

    An item has an attribute for each number of each part of the fleet, such as `late rule [default]`, in seconds.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, breaches: Iterable[BreachTime], now: datetime) -> None:
        """Add times of breach that have ended. Other functions may add some at the same time."""
        for period, times in by_period(breaches, now).items():
            for numbers in _chunks(_numbers(times)):
                self._table.add(_key(period), numbers, _expiry(period))

    def put_feeds(self, feeds: Mapping[Cell, int], hour: Period) -> None:
        """Write how many feeds are promised in an hour, unless that is stored already."""
        [known] = self.read([hour])
        if known.feeds != feeds:
            for numbers in _chunks({_attribute(_FEEDS, cell): number for cell, number in feeds.items()}):
                self._table.add(_key(hour), {}, numbers | _expiry(hour))

    def settle(self, now: datetime) -> None:
        """Record the latest day that is no longer kept by hour, as the sum of its hours, unless that was done.

        This must not run twice at the same time. What was added to the day itself since midnight stays.
        """
        day = Period(start=by_hour_since(now) - DAY, length=DAY)
        known = self._table.get(_key(day), consistent=True) or {}
        if _SETTLED not in known:
            hours = [Period(start=day.start + number * HOUR, length=HOUR) for number in range(-1, 24)]
            records = [*self.read(hours), _record(day, known)]
            numbers = _numbers(attained(records, (), day.start, day.end))
            self._table.put_always(_key(day) | numbers | _expiry(day) | {_SETTLED: True})

    def read(self, of: Iterable[Period]) -> list[PeriodRecord]:
        """Return what was recorded of periods, in their order."""
        by_name = {_key(period)["name"]: period for period in of}
        items = {item["name"]: item for item in self._table.get_many([control_key(name) for name in by_name])}
        return [_record(period, items.get(name, {})) for name, period in by_name.items()]

    def since(self, start: datetime, now: datetime) -> list[PeriodRecord]:
        """Return the records of all periods from `start` on, and of the hour before."""
        return self.read(periods(start - HOUR, now, now))


def _key(period: Period) -> Item:
    return control_key(f"attainment {period.name}")


def _expiry(period: Period) -> Item:
    kept = LAST_HOURS if period.length == HOUR else DAYS_KEPT
    return {"expires_at": int((period.end + kept).timestamp())}


def _attribute(name: str, cell: Cell) -> str:
    kind, part = cell
    return f"{name} {kind} {part}"


def _numbers(times: Mapping[Cell, Attained]) -> Item:
    return {
        _attribute(name, cell): Decimal(f"{value.total_seconds():.3f}")
        for cell, of_cell in times.items()
        for name, value in asdict(of_cell).items()
        if value
    }


def _chunks(numbers: Item) -> Iterator[Item]:
    """Yield the numbers in parts, since an expression may have 300 operands."""
    items = list(numbers.items())
    for start in range(0, len(items), MOST_NUMBERS):
        yield dict(items[start : start + MOST_NUMBERS])


@lru_cache(maxsize=10_000)
def _number_of(attribute: str) -> tuple[str, Cell | None]:
    """Split an attribute into the name of its number and its cell. The cell is `None` if it has no number."""
    name, *cell = attribute.split(" ", 2)
    return name, (Breakdown(cell[0]), cell[1]) if len(cell) == 2 else None


def _record(period: Period, item: Item) -> PeriodRecord:
    times: defaultdict[Cell, dict[str, timedelta]] = defaultdict(dict)
    feeds: dict[Cell, int] = {}
    for attribute, number in item.items():
        name, cell = _number_of(attribute)
        if cell is None:
            continue
        if name == _FEEDS:
            feeds[cell] = int(number)
        else:
            times[cell][name] = timedelta(seconds=float(number))
    return PeriodRecord(period=period, times={key: Attained(**of_cell) for key, of_cell in times.items()}, feeds=feeds)
