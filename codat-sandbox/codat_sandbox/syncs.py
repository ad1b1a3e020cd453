"""Syncs: the statuses that a dataset passes through until it ends, and how long it stays in each."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from codat_sandbox.model import Dataset, DatasetStatus

TEMPORARY_ERRORS = (
    DatasetStatus.FETCH_ERROR,
    DatasetStatus.MAP_ERROR,
    DatasetStatus.VALIDATION_ERROR,
    DatasetStatus.PROCESSING_ERROR,
    DatasetStatus.INTERNAL_ERROR,
    DatasetStatus.PREREQUISITE_NOT_MET,
    DatasetStatus.CANCELLED,
)
"""The final statuses after which a retry may succeed, except RateLimitError, which has its own setting."""

_FETCH = (DatasetStatus.QUEUED, DatasetStatus.FETCHING)
_MAP = (DatasetStatus.MAP_QUEUED, DatasetStatus.MAPPING)
_VALIDATE = (DatasetStatus.VALIDATION_QUEUED, DatasetStatus.VALIDATING)
_PROCESS = (DatasetStatus.PROCESSING_QUEUED, DatasetStatus.PROCESSING)

_ENDED_IN_THE_QUEUE = frozenset(
    {DatasetStatus.NOT_SUPPORTED, DatasetStatus.PREREQUISITE_NOT_MET, DatasetStatus.CANCELLED}
)
_ENDED_IN_FETCHING = frozenset(
    {
        DatasetStatus.FETCH_ERROR,
        DatasetStatus.AUTH_ERROR,
        DatasetStatus.PERMISSIONS_ERROR,
        DatasetStatus.RATE_LIMIT_ERROR,
    }
)

_PROGRESS = {
    DatasetStatus.INITIAL: 0,
    DatasetStatus.QUEUED: 5,
    DatasetStatus.FETCHING: 20,
    DatasetStatus.MAP_QUEUED: 45,
    DatasetStatus.MAPPING: 50,
    DatasetStatus.VALIDATION_QUEUED: 65,
    DatasetStatus.VALIDATING: 70,
    DatasetStatus.PROCESSING_QUEUED: 80,
    DatasetStatus.PROCESSING: 90,
}

WAITING = "Waiting for asynchronous response from third party"
"""How Codat describes a dataset in Fetching while it waits for the customer's machine."""

ERROR_MESSAGES = {
    DatasetStatus.FETCH_ERROR: "The platform answered with an error while data was fetched.",
    DatasetStatus.MAP_ERROR: "The platform's data could not be mapped to Codat's model.",
    DatasetStatus.VALIDATION_ERROR: "The data did not pass validation.",
    DatasetStatus.PROCESSING_ERROR: "The data could not be processed.",
    DatasetStatus.INTERNAL_ERROR: "An internal error occurred.",
    DatasetStatus.RATE_LIMIT_ERROR: "The platform's rate limit was reached.",
    DatasetStatus.PREREQUISITE_NOT_MET: "A data type that this one needs has not been synced.",
    DatasetStatus.CANCELLED: "The sync was cancelled.",
    DatasetStatus.AUTH_ERROR: "The platform refused the authorization: the connection must be relinked.",
    DatasetStatus.PERMISSIONS_ERROR: "The user who linked the connection may not read this data type.",
    DatasetStatus.NOT_SUPPORTED: "The platform does not support this data type.",
}


def path_to(end: DatasetStatus, random: Random) -> Sequence[DatasetStatus]:
    """Return the statuses before `end` in order. Some syncs begin with Initial, and some are validated."""
    start = (DatasetStatus.INITIAL,) if random.random() < 0.25 else ()
    if end in _ENDED_IN_THE_QUEUE:
        return (*start, DatasetStatus.QUEUED)
    if end in _ENDED_IN_FETCHING:
        return (*start, *_FETCH)
    if end is DatasetStatus.MAP_ERROR:
        return (*start, *_FETCH, *_MAP)
    if end is DatasetStatus.VALIDATION_ERROR:
        return (*start, *_FETCH, *_MAP, *_VALIDATE)
    validation = _VALIDATE if random.random() < 0.25 else ()
    return (*start, *_FETCH, *_MAP, *validation, *_PROCESS)


def divide(total: timedelta, parts: int, random: Random) -> Sequence[timedelta]:
    """Return `parts` random durations that add up to `total`, none of them zero unless `total` is."""
    weights = [random.uniform(0.5, 1.5) for _ in range(parts)]
    whole = sum(weights)
    return [total * (weight / whole) for weight in weights]


@dataclass(slots=True)
class Sync:
    """The progress of one dataset.

    Attributes:
        as_requested: The dataset as it was when requested.
        remaining: The statuses still to come in reverse order, each with how long the sync stays in it.
        chance: A random number from 0 to 1 that decides whether the read finds changed records.
        fetched: When the data was fetched from the platform.
        product: The custom product that it is read for, or empty.
        end_is_forced: Whether its end was asked for, and says nothing about its connection.
        pause: How long it is paused when it begins to fetch.
        description: What Codat says of its status, or None.
    """

    as_requested: Dataset
    status: DatasetStatus
    completed: datetime | None = None
    remaining: list[tuple[DatasetStatus, timedelta]] = field(default_factory=list)
    chance: float = 0.0
    fetched: datetime | None = None
    product: str = ""
    end_is_forced: bool = False
    waits_for_machine: bool = False
    pause: timedelta = timedelta(0)
    description: str | None = None
    _dataset: Dataset | None = None

    @property
    def dataset(self) -> Dataset:
        known = self._dataset
        if known is None or known.status is not self.status or known.description != self.description:
            known = self._dataset = replace(
                self.as_requested,
                status=self.status,
                progress=100 if self.completed else _PROGRESS[self.status],
                completed=self.completed,
                description=self.description,
            )
        return known

    @property
    def is_running(self) -> bool:
        return self.completed is None

    @property
    def next_status(self) -> DatasetStatus:
        return self.remaining[-1][0]

    def enter_next(self, now: datetime) -> timedelta:
        """Enter the next status, and return how long the sync stays in it."""
        self.status, stay = self.remaining.pop()
        self.description = None
        if self.status is DatasetStatus.FETCHING:
            self.fetched = now + self.pause
            if self.pause:
                until = (now + self.pause).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
                self.description = f"Paused until {until}Z"
            return stay + self.pause
        if not self.remaining:
            self.completed = now
        return stay

    def end(self, status: DatasetStatus, now: datetime) -> None:
        self.remaining.clear()
        self.status, self.description = status, None
        self.completed = now


def plan(dataset: Dataset, end: DatasetStatus, duration: timedelta, random: Random) -> Sync:
    """Return a sync that has not started, and that takes `duration` from its first status to `end`."""
    path = path_to(end, random)
    steps = [*zip(path, divide(duration, len(path), random), strict=True), (end, timedelta(0))]
    return Sync(dataset, dataset.status, remaining=steps[::-1], chance=random.random())
