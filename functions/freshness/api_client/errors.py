"""The errors of a call of the API. The docstring of `freshness.client` shows them as a tree."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any


class FreshnessError(Exception):
    """Any error of this client."""


class Unreachable(FreshnessError):
    """The API did not answer."""


class Refused(FreshnessError):
    """The API refused a call with a problem (RFC 9457). `kind` is the end of its type; `members` is the whole problem.

    `retry_after` is the time after which the same call may succeed; `None` if it cannot.
    """

    def __init__(self, status: int, members: Mapping[str, Any], retry_after: timedelta | None) -> None:
        self.status, self.members, self.retry_after = status, members, retry_after
        self.kind = str(members.get("type", "")).rpartition(":")[2]
        detail = members.get("detail") or members.get("message") or "without a reason"
        super().__init__(f"{status} {self.kind}".strip() + f": {detail}")


class Forbidden(Refused):
    """The caller's policy does not allow the call: `freshness policies caller` prints one that does."""


class NotFound(Refused):
    """There is no such company or request. A request is kept for some days only."""


class Invalid(Refused):
    """The API does not accept such a request."""


class Conflict(Refused):
    """The request is impossible now."""


class RelinkNeeded(Conflict):
    """The customer must authorise connections again."""

    @property
    def link_urls(self) -> dict[str, str]:
        """Return the links to relink connections, by connection id. A link is empty if Codat could not be asked."""
        return dict(self.members.get("linkUrls", {}))


class Limited(Refused):
    """Too many calls or requests were made."""


class Unavailable(Refused):
    """Codat or AWS does not answer."""


KINDS: Mapping[int, type[Refused]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    429: Limited,
}
"""The error for each status of a response. From 500 on it is `Unavailable`."""
