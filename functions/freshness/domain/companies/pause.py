"""An operator's pause of refreshes."""

from dataclasses import dataclass
from datetime import datetime

LONGEST_REASON = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A pause of one company's refreshes, or of all. Without `until`, it lasts until someone resumes them."""

    until: datetime | None = None
    reason: str = ""

    def holds(self, now: datetime) -> bool:
        return self.until is None or now < self.until

    def __str__(self) -> str:
        until = f" until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"paused{until}" + (f" ({self.reason})" if self.reason else "")


UNTIL_RESUMED = Pause()


def in_force(pause: Pause | None, now: datetime) -> Pause | None:
    """Return a pause that has not ended by `now`, else `None`."""
    return pause if pause and pause.holds(now) else None
