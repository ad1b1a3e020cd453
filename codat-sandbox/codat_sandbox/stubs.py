"""Stub responses: what the sandbox returns in place of its own responses, to test how a client handles them."""

from datetime import timedelta
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
    status: int | None = Field(None, ge=200, le=599)
    headers: dict[str, str] = {}
    body: str = ""
    delay: timedelta = Field(timedelta(0), ge=timedelta(0), description="Time before the response; in JSON, seconds.")
    cut_after: int | None = Field(None, ge=0, description="Close the connection after this many bytes of the body.")
    close: bool = Field(False, description="Close the connection without a response.")
    carry_out: bool = Field(False, description="Perform the request first, as if only the response were lost.")

    def matches(self, method: str, path: str) -> bool:
        """Return whether this is the response to a request with this method and path."""
        return self.method in ("*", method) and fnmatchcase(path, self.path)


class Stubs:
    """Stub responses that are not used up yet, in the order in which they were added."""

    def __init__(self) -> None:
        self._stubs: list[StubResponse] = []

    def add(self, stub: StubResponse) -> None:
        """Add a stub response."""
        self._stubs.append(stub)

    def clear(self) -> None:
        """Remove all stub responses."""
        self._stubs.clear()

    def pending(self) -> list[StubResponse]:
        """Return the stub responses that are left, each with `times` as the number of uses left."""
        return list(self._stubs)

    def take(self, method: str, path: str) -> StubResponse | None:
        """Return the first stub response that matches and use it once, or return None."""
        for index, stub in enumerate(self._stubs):
            if stub.matches(method, path):
                if stub.times == 1:
                    del self._stubs[index]
                else:
                    self._stubs[index] = stub.model_copy(update={"times": stub.times - 1})
                return stub
        return None
