"""The record of who did what."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from freshness.domain.times import sortable

KEPT = timedelta(days=400)
"""How long it is kept."""
LONGEST_FAILURE = 300
"""Characters that are kept of why an operation failed."""
_ASSUMED_ROLE = re.compile(r"(arn:[^:]*:sts::\d+:assumed-role/[^/]+)/.+")


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
    REGISTER_WEBHOOK = "register webhook"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something, and from where."""

    who: str
    """The ARN of a user or of a role with its session; in words where AWS does not tell."""
    source: str
    """Such as `the command line on HOST`."""

    @property
    def principal(self) -> str:
        """Return who that is in all sessions: the ARN of a role without the name of its session."""
        match = _ASSUMED_ROLE.fullmatch(self.who)
        return match[1] if match else self.who


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
    failed: str = ""
    """Why it failed, perhaps only in part; empty if it did not."""

    @property
    def id(self) -> str:
        """Return what identifies the operation, and that it failed."""
        parts = (
            "operation",
            self.operation,
            self.company_id or "all",
            sortable(self.at),
            "failed" if self.failed else "",
        )
        return "/".join(filter(None, parts))
