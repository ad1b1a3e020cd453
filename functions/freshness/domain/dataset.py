"""One dataset: a single read of a data type from a connection into Codat's cache, and the states it passes through."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class DatasetState(StrEnum):
    """The states that Codat documents. It may add others, so a state travels as `str` and is never refused."""

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
    """What a state means for the data: whether the dataset has ended, and what is to follow if it has."""

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
"""In the order in which a dataset passes through them; it may skip some."""

_OUTCOMES: dict[str, Outcome] = {
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
    DatasetState.AUTH_ERROR: Outcome.PERSON_MUST_ACT,
    DatasetState.PERMISSIONS_ERROR: Outcome.PERSON_MUST_ACT,
    DatasetState.NOT_SUPPORTED: Outcome.NEVER,
}


def outcome(state: str) -> Outcome:
    """What a dataset's state means; `UNKNOWN` for one that Codat added since this was written."""
    return _OUTCOMES.get(state, Outcome.UNKNOWN)


def has_ended(state: str) -> bool:
    """Whether a dataset in this state will not move again. An unknown state is taken as still moving."""
    return outcome(state) not in (Outcome.IN_FLIGHT, Outcome.UNKNOWN)


def may_follow(state: str, later: str) -> bool:
    """Whether a dataset seen in `state` can be seen in `later` afterwards.

    States are passed in the order of `IN_FLIGHT`, some skipped; any of them may end in any end, and an end is
    final. An unknown state may stand anywhere before the end.
    """
    if has_ended(state):
        return False
    if has_ended(later) or Outcome.UNKNOWN in (outcome(state), outcome(later)):
        return True
    return IN_FLIGHT.index(DatasetState(later)) > IN_FLIGHT.index(DatasetState(state))


class Trigger(StrEnum):
    """What asked for a dataset."""

    PROMISE = "promise"
    OPERATOR = "operator"
    KEEP_ALIVE = "keep-alive"
    """That the connection's token does not expire for want of use."""
    EXTERNAL = "external"
    """Codat's own schedule, its portal, or anyone else with the API key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """What is known of one dataset; `states` maps each state it was seen in to when it was first seen so."""

    company_id: str
    dataset_id: str
    data_type: str
    connection_id: str
    trigger: Trigger
    requested_at: datetime
    states: dict[str, datetime]
    ended_at: datetime | None = None
    records_modified: bool | None = None
    version: int = 0

    @property
    def state(self) -> str:
        """The furthest state it was seen in: its end if there is one, else the last that it entered."""
        return max(self.states, key=lambda state: (has_ended(state), _position(state), self.states[state], state))

    def merge(self, other: "Dataset") -> "Dataset":
        """What both together tell. The order of merging does not matter, nor does merging the same twice.

        A dataset ends once: of two ends, the earlier is its own, the later that of another that followed it.
        """
        states = {**self.states, **other.states}
        for state in self.states.keys() & other.states.keys():
            states[state] = min(self.states[state], other.states[state])
        for later_end in sorted(filter(has_ended, states), key=lambda state: (states[state], state))[1:]:
            del states[later_end]
        ended = [dataset for dataset in (self, other) if dataset.ended_at]
        ended_at = min((dataset.ended_at for dataset in ended if dataset.ended_at), default=None)
        told = [dataset.records_modified for dataset in ended if dataset.ended_at == ended_at]
        return replace(
            self,
            trigger=max(self.trigger, other.trigger, key=lambda trigger: trigger is not Trigger.EXTERNAL),
            requested_at=min(self.requested_at, other.requested_at),
            states=dict(sorted(states.items())),
            ended_at=ended_at,
            records_modified=max((modified for modified in told if modified is not None), default=None),
        )


def _position(state: str) -> int:
    return IN_FLIGHT.index(DatasetState(state)) if state in IN_FLIGHT else -1
