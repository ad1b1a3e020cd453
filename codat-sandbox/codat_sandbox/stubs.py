"""Stub responses: what the sandbox returns in place of its own responses, to test how a client handles them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class StubResponse(BaseModel):
    """A response to the next `times` requests whose method and path match.

    Without `status`, the sandbox's own response is sent, late (`delay`) or truncated (`cut_after`).
    """

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")

    method: str = Field("*", description="GET, POST, … or * for any.")
    path: str = Field(description="The path, in which * matches any characters: /companies/*/dataStatus.")
    times: int = Field(1, ge=1, description="How many matching requests get this response.")
    lasts: timedelta | None = Field(
        None, gt=timedelta(0), description="How long all matching requests get it, in place of `times`; seconds."
    )
    status: int | None = Field(None, ge=200, le=599)
    headers: dict[str, str] = {}
    body: str = ""
    delay: timedelta = Field(timedelta(0), ge=timedelta(0), description="Time before the response; in JSON, seconds.")
    cut_after: int | None = Field(None, ge=0, description="Close the connection after this many bytes of the body.")
    close: bool = Field(False, description="Close the connection without a response.")
    carry_out: bool = Field(False, description="Perform the request first, as if only the response were lost.")

    def matches(self, method: str, path: str) -> bool:
        return self.method in ("*", method) and fnmatchcase(path, self.path)


class Stubs:
    """Stub responses that are not used up yet, in the order in which they were added."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """Create an empty list. `now` is called each time that it is needed."""
        self._now = now
        self._stubs: list[_Pending] = []

    def add(self, stub: StubResponse) -> None:
        self._stubs.append(_Pending(stub, stub.times, self._now() + stub.lasts if stub.lasts else None))

    def clear(self) -> None:
        self._stubs.clear()

    def pending(self) -> list[StubResponse]:
        """Return the stub responses that are left, each with its remaining uses (`times`) or time (`lasts`)."""
        now = self._now()
        return [each.rest(now) for each in self._stubs if not each.is_over(now)]

    def take(self, method: str, path: str) -> StubResponse | None:
        """Return the first stub response that matches and use it once, or return None."""
        now = self._now()
        self._stubs = [each for each in self._stubs if not each.is_over(now)]
        for pending in self._stubs:
            if pending.stub.matches(method, path):
                pending.times -= pending.until is None
                return pending.stub
        return None


@dataclass(slots=True)
class _Pending:
    """A stub response, with the number of uses left or the time at which it ends."""

    stub: StubResponse
    times: int
    until: datetime | None

    def is_over(self, now: datetime) -> bool:
        return self.times == 0 if self.until is None else self.until <= now

    def rest(self, now: datetime) -> StubResponse:
        return self.stub.model_copy(update={"times": self.times, "lasts": self.until and self.until - now})
