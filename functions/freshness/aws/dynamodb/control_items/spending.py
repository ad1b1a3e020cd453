"""How many refreshes of each platform were queued in a month, in the control table."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from freshness.aws.dynamodb.control import control_key
from freshness.aws.dynamodb.table import Table
from freshness.planning.budgets import month_of

KEPT = timedelta(days=62)


class Spending:
    def __init__(self, table: Table) -> None:
        self._table = table

    def refreshes(self, now: datetime) -> Counter[str]:
        """Return how many refreshes were queued this month, by platform."""
        item = self._table.get(control_key(f"spending {month_of(now)}")) or {}
        return Counter({name.removeprefix(_PLATFORM): int(n) for name, n in item.items() if name.startswith(_PLATFORM)})

    def add(self, refreshes: Mapping[str, int], now: datetime) -> None:
        """Add refreshes to those of this month, by platform. Other functions may add some at the same time."""
        numbers = {f"{_PLATFORM}{platform}": number for platform, number in refreshes.items()}
        expires = {"expires_at": int((now.astimezone(UTC) + KEPT).timestamp())}
        self._table.add(control_key(f"spending {month_of(now)}"), numbers, expires)


_PLATFORM = "refreshes "
