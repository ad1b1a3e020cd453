"""Answers that the sandbox is told to give in place of its own, to try out what a client makes of them."""

from datetime import timedelta
from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class PrescribedAnswer(BaseModel):
    """What the next `times` requests get whose method and path match.

    Without `status` it is the sandbox's own answer, only later (`delay`) or cut off (`cut_after`).
    """

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")

    method: str = Field("*", description="GET, POST, … or * for any.")
    path: str = Field(description="The path, in which * stands for anything: /companies/*/dataStatus.")
    times: int = Field(1, ge=1)
    status: int | None = Field(None, ge=200, le=599)
    headers: dict[str, str] = {}
    body: str = ""
    delay: timedelta = Field(timedelta(0), ge=timedelta(0), description="Before the answer; seconds in JSON.")
    cut_after: int | None = Field(None, ge=0, description="Bytes of the body after which the connection is closed.")
    close: bool = Field(False, description="Close the connection without an answer.")
    carry_out: bool = Field(False, description="Do first what was asked, as if only the answer were lost.")

    def matches(self, method: str, path: str) -> bool:
        """Whether it is meant for such a request."""
        return self.method in ("*", method) and fnmatchcase(path, self.path)


class PrescribedAnswers:
    """Those not used up, in the order in which they were prescribed."""

    def __init__(self) -> None:
        self._answers: list[PrescribedAnswer] = []

    def add(self, answer: PrescribedAnswer) -> None:
        """Prescribe one more."""
        self._answers.append(answer)

    def clear(self) -> None:
        """Forget all of them."""
        self._answers.clear()

    def pending(self) -> list[PrescribedAnswer]:
        """Those yet to be given; `times` is how often."""
        return list(self._answers)

    def take(self, method: str, path: str) -> PrescribedAnswer | None:
        """The first that matches, which is thereby used once."""
        for index, answer in enumerate(self._answers):
            if answer.matches(method, path):
                if answer.times == 1:
                    del self._answers[index]
                else:
                    self._answers[index] = answer.model_copy(update={"times": answer.times - 1})
                return answer
        return None
