"""Errors of the API, as RFC 9457 describes them: `application/problem+json`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from freshness.domain.times import sortable

TITLES = {
    400: "Bad Request",
    404: "Not Found",
    409: "Conflict",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
TYPE = "urn:codat-freshness:problem:"
"""What the type of every problem begins with."""


class Problem(Exception):
    """A request that is refused. `kind` distinguishes problems with the same status; `extra` are further members.

    `retry_after` is in how many seconds the same request may succeed.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        retry_after: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.retry_after = retry_after
        self.extra = dict(extra or {})

    @property
    def body(self) -> dict[str, Any]:
        """Return the members of the problem as JSON values."""
        extra = {name: sortable(value) if isinstance(value, datetime) else value for name, value in self.extra.items()}
        return {
            "type": TYPE + self.kind,
            "title": TITLES[self.status],
            "status": self.status,
            "detail": self.detail,
            **extra,
        }
