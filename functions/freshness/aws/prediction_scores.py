"""Scores of the predictions that data is up to date, in the control table: an item for each day, kept for 30 days."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from threading import Lock

from freshness.aws.control import control_key
from freshness.aws.item_codec import Item, adapter
from freshness.aws.table import Table
from freshness.domain.calibration import Prediction, Scores, scored

KEPT = timedelta(days=30)
WRITE_EVERY = 900.0
"""Seconds for which a process gathers scores before it writes them. Those of its last minutes may be lost with it."""
_DAY = timedelta(days=1)


class PredictionScores:
    """The repository of the scores. Several processes and threads may add to it."""

    def __init__(self, table: Table, seconds: Callable[[], float] = time.monotonic) -> None:
        """Create the repository. `seconds` is a clock that is never set back."""
        self._table = table
        self._seconds = seconds
        self._written_at = seconds()
        self._gathered: dict[date, Scores] = {}
        self._lock = Lock()

    def add(self, predictions: Iterable[Prediction], now: datetime) -> None:
        """Add predictions."""
        day = now.astimezone(UTC).date()
        with self._lock:
            self._gathered[day] = self._gathered.get(day, Scores()).merged(scored(predictions))
            if self._written_at + WRITE_EVERY <= self._seconds():
                self._written_at = self._seconds()
                while self._gathered:
                    self._write(*self._gathered.popitem())

    def recent(self, now: datetime) -> Scores:
        """Return the scores of the last 30 days."""
        today = now.astimezone(UTC).date()
        keys = [_key(today - number * _DAY) for number in range(KEPT.days)]
        return reduce(Scores.merged, map(_from, self._table.get_many(keys)), Scores())

    def _write(self, day: date, gathered: Scores) -> None:
        def put(value: Scores) -> Scores:
            written = replace(value, version=value.version + 1)
            text = adapter(Scores).dump_json(written, round_trip=True).decode()
            expires_at = datetime(day.year, day.month, day.day, tzinfo=UTC) + KEPT + _DAY
            item = _key(day) | {"scores": text, "version": written.version, "expires_at": int(expires_at.timestamp())}
            self._table.put(item, value.version)
            return written

        item = self._table.get(_key(day), consistent=True)
        known = Scores() if item is None else _from(item)
        self._table.update(known, lambda scores: scores.merged(gathered), put, _from)


def _key(day: date) -> Item:
    return control_key(f"scores {day.isoformat()}")


def _from(item: Item) -> Scores:
    return adapter(Scores).validate_json(item["scores"])
