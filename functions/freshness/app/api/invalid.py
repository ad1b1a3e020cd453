"""What is wrong with a body, in the words of the API."""

from collections.abc import Iterable, Mapping
from typing import Any

from freshness.app.ensure.problems import Problem

_TIME = 'expected a time with its offset from UTC, such as "2026-11-23T12:00:00Z"'
_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not a member of the body",
    "string_type": "expected a string",
    "string_too_short": "expected at least {min_length} character",
    "string_too_long": "expected at most {max_length} characters",
    "tuple_type": "expected a list",
    "too_short": "expected at least {min_length} entry",
    "too_long": "expected at most {max_length} entries",
    "enum": "expected {expected}",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "greater_than": "expected a duration of more than nothing",
    "greater_than_equal": "expected a duration that is not negative",
    "timezone_aware": _TIME,
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "datetime_object_invalid": _TIME,
}
"""The message for each of pydantic's error types."""


def invalid(messages: Mapping[str, str]) -> Problem:
    """Return the problem of an invalid body. `messages` says what is wrong, by JSON pointer."""
    errors = [{"pointer": pointer or "/", "detail": detail} for pointer, detail in messages.items()]
    detail = "; ".join(f"{each['pointer']}: {each['detail']}" for each in errors)
    return Problem(422, "invalid", detail, extra={"errors": errors})


def invalid_fields(errors: Iterable[Mapping[str, Any]]) -> Problem:
    """Return the problem for what pydantic found in a body."""
    messages = {"/".join(("", *map(str, error["loc"][1:]))): _message(error) for error in errors}
    if messages == {"": _MESSAGES["missing"]}:
        return Problem(400, "malformed", "The body is not JSON: it is empty.")
    # pydantic does not count invalid entries, so it may also say that their list is too short.
    return invalid(
        {at: text for at, text in messages.items() if not any(each.startswith(f"{at}/") for each in messages)}
    )


def _message(error: Mapping[str, Any]) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return _MESSAGES.get(error["type"], "is not valid").format_map(error.get("ctx") or {})
