"""The base class of the policy file's tables, and the mistakes that concern several of them."""

from pydantic import BaseModel, ConfigDict

Location = tuple[str | int, ...]


class LocatedError(ValueError):
    """A mistake found by comparing tables, with the location of the key to correct."""

    def __init__(self, location: Location, message: str) -> None:
        super().__init__(message)
        self.location = location


class Table(BaseModel):
    """Base class of the policy file's tables."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
