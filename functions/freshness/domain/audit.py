"""The record of who did what."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from freshness.domain.times import sortable

KEPT = timedelta(days=400)
"""How long an entry is kept."""
LONGEST_FAILURE = 300
"""The most characters kept of why an operation failed."""
_ASSUMED_ROLE = re.compile(r"(arn:[^:]*:sts::\d+:assumed-role/[^/]+)/.+")


class Operation(StrEnum):
    """An operation that is recorded in the audit."""

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
    """The person or program that performs an operation, and from where."""

    who: str
    """The ARN of a user, or of a role with its session; a description if AWS gives no ARN."""
    source: str
    """Such as `the command line on HOST`."""

    @property
    def principal(self) -> str:
        """Return `who` without the name of a role's session: the same in all sessions of the role."""
        match = _ASSUMED_ROLE.fullmatch(self.who)
        return match[1] if match else self.who


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    at: datetime
    operation: Operation
    who: str
    source: str
    what: str
    """What the operation was about, besides the company."""
    company_id: str = ""
    """Empty if the operation is about all companies."""
    failed: str = ""
    """Why it failed, perhaps only in part; empty if it did not."""

    @property
    def id(self) -> str:
        """Return the entry's id: `operation/refresh/COMPANY_ID/TIME`, and `/failed` if the operation failed."""
        parts = (
            "operation",
            self.operation,
            self.company_id or "all",
            sortable(self.at),
            "failed" if self.failed else "",
        )
        return "/".join(filter(None, parts))
