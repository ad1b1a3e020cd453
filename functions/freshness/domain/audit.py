"""The record of who did what."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from freshness.domain.times import sortable

KEPT = timedelta(days=400)
"""How long it is kept."""


class Operation(StrEnum):
    """What a person or a program may do."""

    REFRESH = "refresh"
    PAUSE = "pause"
    RESUME = "resume"
    ENSURE = "ensure"
    REDRIVE = "redrive"
    ERASE = "erase"
    CONFIRM_DELETIONS = "confirm deletions"
    POLICY_PUSH = "policy push"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something, and from where."""

    who: str
    """The ARN of a user or of a role with its session; in words where AWS does not tell."""
    source: str
    """Such as `the command line on HOST`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One operation."""

    at: datetime
    operation: Operation
    who: str
    source: str
    what: str
    """What it was about, besides the company."""
    company_id: str = ""
    """Empty if it is about all companies."""

    @property
    def id(self) -> str:
        """Return what identifies the operation: one that is recorded again has the same."""
        return f"operation/{self.operation}/{self.company_id or 'all'}/{sortable(self.at)}"
