"""The base of what Codat sends: unknown fields are accepted, and items that cannot be read can be left out."""

from typing import Annotated, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
)
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import WrapValidator

from freshness.domain.datasets.dataset import LONGEST_REASON

Anything = TypeVar("Anything")


class Skipped(NamedTuple):
    """An item that cannot be read: what identifies it, and why."""

    item: str
    error: ValidationError


def _or_none(value: object, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
    try:
        return validate(value)
    except ValidationError as error:
        if info.context and "skipped" in info.context:
            info.context["skipped"].append(Skipped(_id_of(value), error))
        return None


def _id_of(value: object) -> str:
    """Return what identifies an item to a person: its id, or its data type."""
    named = value if isinstance(value, dict) else {}
    return str(named.get("id") or named.get("dataType") or "")


Readable = Annotated[Anything | None, WrapValidator(_or_none)]
"""A value that is `None` if it cannot be read: the rest of a response still can.

A `Skipped` for it is appended to `skipped` of the validation context, if that is given.
"""
Text = Annotated[str, BeforeValidator(lambda given: given if isinstance(given, str) else "")]
"""Text that may be missing or null."""
LONGEST_ID = 500
"""The most bytes of an id. A key of DynamoDB has at most 1,024 bytes, and the key of a feed holds two ids."""


def _fits_into_a_key(given: str) -> str:
    if len(given.encode()) > LONGEST_ID:
        raise ValueError(f"an id or a data type has more than {LONGEST_ID} bytes")
    return given


Identifier = Annotated[str, Field(min_length=1), AfterValidator(_fits_into_a_key)]
"""An id or a data type, short enough for a key of DynamoDB."""


def in_words(given: object) -> str:
    """Return text as one line of at most `LONGEST_REASON` characters that can be stored; empty if it is not text."""
    if not isinstance(given, str):
        return ""
    return " ".join(given.encode("utf-8", "replace").decode().split())[:LONGEST_REASON]


Words = Annotated[str, BeforeValidator(in_words)]
"""Codat's words to people. They may be missing, null or long, and of any characters."""


class Response(BaseModel):
    """The base of all objects that Codat sends."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True, defer_build=True
    )
