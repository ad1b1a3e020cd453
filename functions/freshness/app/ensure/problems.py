"""Errors of the API, as RFC 9457 describes them: `application/problem+json`."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Self

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
MEDIA_TYPE = "application/problem+json"
TYPE = "urn:codat-freshness:problem:"
"""The beginning of every problem's type."""


class Problem(Exception):
    """A refused request. `kind` distinguishes problems with the same status. `extra` has further members.

    `retry_after` is in how many seconds the same request may succeed. `location` is the path of the request, if it was
    accepted and goes on.
    """

    location = ""

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


class RelinkNeeded(Problem):
    """A customer must authorise connections again. `platforms` has the platform of each, by connection id."""

    def __init__(self, platforms: Mapping[str, str]) -> None:
        names = ", ".join(sorted(set(platforms.values())))
        super().__init__(409, "relink-needed", f"The customer must authorise {names} again before it can be read.")
        self.connection_ids = tuple(platforms)

    def with_links(self, links: Mapping[str, str]) -> Self:
        """Add the links where the customer authorises the connections again. Return the problem."""
        self.extra["linkUrls"] = {each: links.get(each, "") for each in self.connection_ids}
        return self


def codat_unavailable(reason: str, until: datetime, now: datetime) -> Problem:
    """Return the problem that Codat accepts no calls until a time."""
    return Problem(
        503,
        "codat-unavailable",
        f"{reason} until {until.isoformat(timespec='seconds')}.",
        retry_after=seconds(until - now),
        extra={"until": until},
    )


def seconds(duration: timedelta) -> int:
    """Return a duration in whole seconds, rounded up, and at least one."""
    return max(1, math.ceil(duration.total_seconds()))
