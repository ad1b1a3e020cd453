"""Idempotency keys: a repeated POST or PATCH gets the response to the first, and has no second effect."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.responses import Response

from codat_sandbox.errors import IdempotencyConflictError, IdempotencyMismatchError

KEPT = timedelta(minutes=90)
"""How long after the first request its response is repeated."""


@dataclass(slots=True)
class _First:
    """The first request with a key. Its `response` is `None` while it is being processed."""

    content: bytes
    at: datetime
    response: Response | None = None


class IdempotencyKeys:
    """The keys of the last 90 minutes, with the first request of each and its response."""

    def __init__(self) -> None:
        self._first: OrderedDict[str, _First] = OrderedDict()

    def begin(self, key: str, content: bytes, now: datetime) -> Response | None:
        """Return the response to the first request with a key; `None` if this is the first one.

        `content` is everything that must be the same in a repeat.

        Raises:
            IdempotencyConflictError: the first request is still being processed.
            IdempotencyMismatchError: the first request had other content.
        """
        while self._first and next(iter(self._first.values())).at + KEPT <= now:
            self._first.popitem(last=False)
        first = self._first.get(key)
        if first is None:
            self._first[key] = _First(content, now)
            return None
        if first.content != content:
            raise IdempotencyMismatchError(key)
        if first.response is None:
            raise IdempotencyConflictError(key)
        return first.response

    def end(self, key: str, response: Response | None) -> None:
        """Keep the response to the first request with a key; forget the key if there is none, or it is a 429."""
        if response is None or response.status_code == 429:
            self._first.pop(key, None)
        elif key in self._first:
            self._first[key].response = response
