"""How often the feeds of each kind change, as learned: one item of the control table."""

import math
import time
from collections.abc import Callable, Iterable

from freshness.aws.dynamodb.control import control_key
from freshness.aws.dynamodb.item_codec import adapter
from freshness.aws.dynamodb.table import Table
from freshness.domain.learned.learned_rates import FeedSample, LearnedRates, PlatformTypeRate

REREAD = 3600.0
"""Seconds after which a process reads again what other processes learned too."""
SIGNIFICANT = math.log(1.1)
"""The change of a rate's logarithm that is worth a write: a tenth. Each feed's own rate is less precise."""


class Learned:
    """The repository of the learned rates. Several processes may add to it: each rate is an average of many."""

    def __init__(self, table: Table, seconds: Callable[[], float] = time.monotonic) -> None:
        """Create the repository. `seconds` is a clock that is never set back."""
        self._table = table
        self._seconds = seconds
        self._read = LearnedRates()
        self._read_at: float | None = None
        self._unwritten = LearnedRates()

    def fleet(self) -> LearnedRates:
        """Return the learned rates. A process reads them once an hour."""
        self._reread_if_due()
        return self._read.merged(self._unwritten)

    def add(self, samples: Iterable[FeedSample]) -> None:
        """Add samples. The rate of a kind is written once they change it significantly."""
        self._reread_if_due()
        self._unwritten = self._unwritten.merged(LearnedRates.learned(samples))
        kinds = self._unwritten.kinds.items()
        changed = {name: kind for name, kind in kinds if _differs(self._read.kinds.get(name), kind)}
        if changed:
            self._write(changed)

    def _reread_if_due(self) -> None:
        if self._read_at is None or self._read_at + REREAD <= self._seconds():
            self._read, self._read_at = self._stored(), self._seconds()

    def _write(self, changed: dict[str, PlatformTypeRate]) -> None:
        """Add rates to those that are stored by now.

        The write is not conditional: if two processes write at the same moment, what one has learned may be lost. That
        is harmless: the values are averages over many feeds, and are learned again.
        """
        stored = self._stored()
        self._read, self._read_at = stored.merged(LearnedRates(changed)), self._seconds()
        kept = self._unwritten.kinds.items()
        self._unwritten = LearnedRates({name: kind for name, kind in kept if name not in changed})
        rates = adapter(dict[str, PlatformTypeRate]).dump_json(dict(self._read.kinds)).decode()
        self._table.put_always(control_key("fleet rates") | {"rates": rates})

    def _stored(self) -> LearnedRates:
        item = self._table.get(control_key("fleet rates"))
        return LearnedRates(adapter(dict[str, PlatformTypeRate]).validate_json(item["rates"]) if item else {})


def _differs(known: PlatformTypeRate | None, added: PlatformTypeRate) -> bool:
    """Return whether a kind is new, or would change significantly by adding to it."""
    if known is None:
        return True
    rate = known.merged(added)
    return rate.feeds >= 2 * known.feeds or abs(rate.mean_log - known.mean_log) >= SIGNIFICANT
