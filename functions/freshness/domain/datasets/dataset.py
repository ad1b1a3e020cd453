"""Datasets: single reads of a data type from a connection into Codat's cache, and their states."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError

from freshness.domain.times import Instant

LONGEST_REASON = 300
"""The most characters that are kept of Codat's words."""
_PAUSED = re.compile(r"paused until (\S+)", re.IGNORECASE)
_instant: TypeAdapter[datetime] = TypeAdapter(Instant)


class DatasetState(StrEnum):
    """The states that Codat documents. It may add others, so a state is passed on as `str` and never refused."""

    INITIAL = "Initial"
    QUEUED = "Queued"
    FETCHING = "Fetching"
    MAP_QUEUED = "MapQueued"
    MAPPING = "Mapping"
    VALIDATION_QUEUED = "ValidationQueued"
    VALIDATING = "Validating"
    PROCESSING_QUEUED = "ProcessingQueued"
    PROCESSING = "Processing"
    COMPLETE = "Complete"
    FETCH_ERROR = "FetchError"
    MAP_ERROR = "MapError"
    VALIDATION_ERROR = "ValidationError"
    PROCESSING_ERROR = "ProcessingError"
    INTERNAL_ERROR = "InternalError"
    RATE_LIMIT_ERROR = "RateLimitError"
    PREREQUISITE_NOT_MET = "PrerequisiteNotMet"
    CANCELLED = "Cancelled"
    AUTH_ERROR = "AuthError"
    PERMISSIONS_ERROR = "PermissionsError"
    NOT_SUPPORTED = "NotSupported"


class Outcome(StrEnum):
    """The meaning of a state: whether the dataset has ended, and what follows if it has."""

    IN_FLIGHT = "in flight"
    COMPLETE = "complete"
    TRY_AGAIN = "try again"
    PERSON_MUST_ACT = "person must act"
    NEVER = "never"
    UNKNOWN = "unknown"


IN_FLIGHT = (
    DatasetState.INITIAL,
    DatasetState.QUEUED,
    DatasetState.FETCHING,
    DatasetState.MAP_QUEUED,
    DatasetState.MAPPING,
    DatasetState.VALIDATION_QUEUED,
    DatasetState.VALIDATING,
    DatasetState.PROCESSING_QUEUED,
    DatasetState.PROCESSING,
)
"""The states in flight, in their usual order. A dataset may skip some."""


class _Outcomes(dict[str, Outcome]):
    def __missing__(self, _state: str) -> Outcome:
        return Outcome.UNKNOWN


OUTCOMES = _Outcomes(
    {
        **dict.fromkeys(IN_FLIGHT, Outcome.IN_FLIGHT),
        DatasetState.COMPLETE: Outcome.COMPLETE,
        DatasetState.FETCH_ERROR: Outcome.TRY_AGAIN,
        DatasetState.MAP_ERROR: Outcome.TRY_AGAIN,
        DatasetState.VALIDATION_ERROR: Outcome.TRY_AGAIN,
        DatasetState.PROCESSING_ERROR: Outcome.TRY_AGAIN,
        DatasetState.INTERNAL_ERROR: Outcome.TRY_AGAIN,
        DatasetState.RATE_LIMIT_ERROR: Outcome.TRY_AGAIN,
        DatasetState.PREREQUISITE_NOT_MET: Outcome.TRY_AGAIN,
        DatasetState.CANCELLED: Outcome.TRY_AGAIN,
        DatasetState.AUTH_ERROR: Outcome.TRY_AGAIN,
        DatasetState.PERMISSIONS_ERROR: Outcome.PERSON_MUST_ACT,
        DatasetState.NOT_SUPPORTED: Outcome.NEVER,
    }
)
"""What each state means; `UNKNOWN` for one that Codat added since this was written."""


def has_ended(state: str) -> bool:
    """Return whether a dataset in this state has ended. An unknown state is taken as still running."""
    return OUTCOMES[state] not in (Outcome.IN_FLIGHT, Outcome.UNKNOWN)


def paused_until(description: str) -> datetime | None:
    """Return until when Codat pauses a read, from its `statusDescription`; `None` if it is not paused.

    Codat pauses a read that met a limit or an outage of the platform, and resumes it by itself. The description then
    has `Paused until 2022-10-23T00:00:00.000Z`.
    """
    found = _PAUSED.search(description)
    try:
        return _instant.validate_python(found[1]) if found else None
    except ValidationError:
        return None


class Trigger(StrEnum):
    """Who requested a dataset."""

    PROMISE = "promise"
    OPERATOR = "operator"
    KEEP_ALIVE = "keep-alive"
    """This system, so that the connection's token does not expire while unused."""
    ON_DEMAND = "on demand"
    """A program that asked for data of at most a given age."""
    EXTERNAL = "external"
    """Codat's own schedule, its portal, or anyone else with the API key."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Issue:
    """A report of Codat's about the data that was read, such as a validation warning, or why a read failed."""

    type: str
    """Codat's name of the kind of issue, such as `warning.validation`."""
    message: str


def reason_of(issues: Iterable[Issue]) -> str:
    """Return why a read failed: the messages of its issues, each once, in at most `LONGEST_REASON` characters."""
    return " ".join(dict.fromkeys(issue.message for issue in issues if issue.message))[:LONGEST_REASON]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The record of a dataset. While it runs, its feed holds the state in which it was last seen."""

    company_id: str
    dataset_id: str
    data_type: str
    connection_id: str
    trigger: Trigger
    requested_at: datetime
    state: str
    ended_at: datetime | None = None
    """`None` while it runs."""
    records_modified: bool | None = None
    issues: tuple[Issue, ...] = ()
    """The issues that a webhook reported with its end."""
    reason: str = ""
    """Why it failed, in Codat's words, as polled; a webhook gives `issues` instead."""
    modified_from: datetime | None = None
    """Codat's `modifiedFromDate`: the changes found are from then on. `None` unless a webhook reported it."""
    version: int = 0

    def merge(self, other: "Dataset") -> "Dataset":
        """Merge two records of the dataset. Neither the order of merging nor its repetition changes the result.

        A dataset ends once: of two ends the earlier counts, and the later belongs to the next dataset.
        """
        records = (self, other)
        first = min(records, key=lambda each: (each.ended_at is None, each.ended_at or self.requested_at, each.state))
        same = [record for record in records if record.ended_at == first.ended_at]
        found = [record.records_modified for record in same if record.records_modified is not None]
        return replace(
            self,
            trigger=max((r.trigger for r in records), key=lambda trigger: (trigger is not Trigger.EXTERNAL, trigger)),
            requested_at=min(record.requested_at for record in records),
            state=first.state,
            ended_at=first.ended_at,
            records_modified=max(found, default=None),
            issues=max((record.issues for record in same), key=lambda issues: (len(issues), issues)),
            reason=max((record.reason for record in same), key=lambda reason: (len(reason), reason)),
            modified_from=max(filter(None, (record.modified_from for record in same)), default=None),
        )
