"""The bodies of the API's requests and responses, as pydantic models."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

from freshness.api_client import answers
from freshness.app.ensure.accept import Ask, Progress
from freshness.app.ensure.problems import Problem
from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed_values import State
from freshness.domain.feeds.freshness_request import LONGEST_PURPOSE, FeedResult, FeedState, OnLate
from freshness.policy.file.values import read_duration

if TYPE_CHECKING:
    from freshness.app.reading.views import FeedView

LONGEST_WAIT = timedelta(seconds=25)
"""The longest that a call may wait: the HTTP API ends a call after 30 s."""
LATEST_DEADLINE = timedelta(days=6)
"""How far ahead a deadline may be: a request is kept for seven days."""
NOTHING = timedelta(0)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Any copy is as of this time or later: an earlier `notBefore`, or a greater age, means the same."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
_EITHER = (("data_types", "set_name"), ("max_age", "not_before"), ("within", "deadline"))
"""A body has exactly one of each pair."""


def _alias(name: str) -> str:
    return "set" if name == "set_name" else to_camel(name)


def _duration(value: object) -> timedelta:
    """Return a duration that is given in seconds or as text."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return read_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError('expected seconds, or a duration such as "30 minutes", "6h" or "P1D"')
    try:
        return timedelta(seconds=value)
    except OverflowError:
        return timedelta.max if value > 0 else timedelta.min


def _described(**number: int) -> WithJsonSchema:
    """Return the JSON schema of a duration. `number` has the limits of one that is given in seconds."""
    text = {"type": "string", "pattern": "^(\\d|P)", "examples": ["1 hour", "1h", "PT1H"]}
    return WithJsonSchema({"anyOf": [{"type": "number", **number}, text]})


def _has_exactly_one_of_each(schema: dict[str, Any]) -> None:
    """Require exactly one member of each pair in a JSON schema. Null counts as not given."""
    schema["allOf"] = [
        {"oneOf": [{"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in map(_alias, pair)]}
        for pair in _EITHER
    ]


class Body(BaseModel):
    """Any object of the API. Names are in camel case; durations are seconds."""

    model_config = ConfigDict(
        alias_generator=_alias,
        populate_by_name=True,
        from_attributes=True,
        extra="forbid",
        frozen=True,
        ser_json_timedelta="float",
        defer_build=True,
    )


class EnsureFreshBody(Body):
    """What a caller asks for: data types as of a time or later, by a deadline."""

    model_config = ConfigDict(json_schema_extra=_has_exactly_one_of_each)

    data_types: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50)] | None = Field(
        None, description="Codat's data types."
    )
    set_name: Name | None = Field(None, description="The name of a set of the policy, instead of them.")
    max_age: Annotated[timedelta, BeforeValidator(_duration), Field(ge=NOTHING), _described(minimum=0)] | None = Field(
        None, description="The greatest age of the data on acceptance: seconds, or a duration."
    )
    not_before: AwareDatetime | None = Field(None, description="What time the data must be as of, instead of maxAge.")
    within: (
        Annotated[timedelta, BeforeValidator(_duration), Field(gt=NOTHING), _described(exclusiveMinimum=0)] | None
    ) = Field(None, description="The time to the deadline: seconds, or a duration.")
    deadline: AwareDatetime | None = Field(None, description="The deadline, instead of within.")
    on_late: OnLate = Field(OnLate.STALE, description="After the deadline, accept the best copy, or fail.")
    override_windows: bool = Field(False, description="Whether the policy's windows do not apply.")
    purpose: str = Field("", max_length=LONGEST_PURPOSE, description="What the data is for, kept with the request.")
    task_token: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = Field(
        None, description="The token of a task of Step Functions, which is ended with the request."
    )

    @model_validator(mode="after")
    def _has_one_of_each(self) -> Self:
        for one, other in _EITHER:
            if (getattr(self, one) is None) == (getattr(self, other) is None):
                raise ValueError(f"expected either {_alias(one)} or {_alias(other)}")
        return self

    def ask(self, data_types: tuple[str, ...], now: datetime) -> Ask:
        """Return what is asked for, with absolute times.

        Raises:
            Problem: a time is out of range.
        """
        not_before = self.not_before or now - min(self.max_age or timedelta(0), now - EARLIEST)
        deadline = self.deadline or now + min(self.within or timedelta(0), 2 * LATEST_DEADLINE)
        if not_before > now:
            raise Problem(422, "not-before-in-future", "notBefore must not be in the future.")
        if not now < deadline <= now + LATEST_DEADLINE:
            raise Problem(422, "deadline-out-of-range", "The deadline must be in the future, by 6 days at most.")
        as_of = max(not_before, EARLIEST).astimezone(UTC)
        return Ask(
            data_types=data_types,
            # Codat's times are compared by the millisecond.
            not_before=as_of.replace(microsecond=as_of.microsecond // 1000 * 1000),
            deadline=deadline.astimezone(UTC),
            on_late=self.on_late,
            at_any_time=self.override_windows,
            purpose=self.purpose,
            task_token=self.task_token or "",
        )


class DataTypeResult(answers.DataTypeResult, Body):
    """One data type of a request, from one connection. The times and the age are those of Codat's copy."""

    state: FeedState


class RequestStatus(Body):
    """The state of a request."""

    id: str | None = Field(
        description="Null if the data was fresh at once, without an Idempotency-Key or a purpose, and the policy does "
        "not keep such requests."
    )
    company_id: str
    asked_by: str = Field(description="The ARN of who asked, empty if that is not known.")
    purpose: str
    asked_at: datetime
    done: bool
    done_at: datetime | None
    not_before: datetime
    deadline: datetime
    expected_at: datetime | None = Field(description="When it is expected to be done, from learned sync times.")
    probability: float | None = Field(description="Of meeting the deadline.")
    data_types: tuple[DataTypeResult, ...]

    @classmethod
    def of(cls, progress: Progress, links: Mapping[str, str], now: datetime) -> Self:
        """Return the state of a request as a caller sees it. `links` are by connection id."""
        request, ahead = progress.request, progress.estimate
        results = request.results or request.results_of(progress.feeds, progress.company, now)
        return cls(
            id=request.request_id if request.version else None,
            company_id=request.company_id,
            asked_by=request.caller,
            purpose=request.purpose,
            asked_at=request.accepted_at,
            done=request.is_done,
            done_at=request.ended_at,
            not_before=request.not_before,
            deadline=request.deadline,
            expected_at=ahead.expected_at if ahead else None,
            probability=round(ahead.probability, 3) if ahead else None,
            data_types=tuple(_result(result, links, now) for result in results),
        )


def _result(result: FeedResult, links: Mapping[str, str], now: datetime) -> DataTypeResult:
    needs_person = result.state is FeedState.NEEDS_PERSON
    return DataTypeResult(
        **asdict(result),
        age=now - result.as_of if result.as_of else None,
        link_url=links.get(result.connection_id, "") if needs_person else "",
    )


class DataTypeFreshness(answers.DataTypeFreshness, Body):
    """How fresh one data type of a company is, from one connection: what callers see of a `FeedView`."""

    state: State
    refreshed_at: datetime | None = Field(validation_alias="succeeded_at", description="When that read ended.")


class CompanyFreshness(Body):
    """How fresh each data type of a company is."""

    company_id: str
    company_name: str
    data_types: tuple[DataTypeFreshness, ...]

    @classmethod
    def of(cls, company: Company, views: "tuple[FeedView, ...]") -> Self:
        """Return the views of a company's feeds as a caller sees them."""
        return cls(
            company_id=company.company_id,
            company_name=company.name,
            data_types=tuple(map(DataTypeFreshness.model_validate, views)),
        )


class ProblemBody(BaseModel):
    """An error, as RFC 9457 describes it. Some have further members, such as `until`, `remaining` and `linkUrls`."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="What happened, as a URN: several may have the same status.")
    title: str
    status: int
    detail: str
