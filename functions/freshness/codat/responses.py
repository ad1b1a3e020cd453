"""Reads what Codat's responses say: headers, bodies and errors."""

import codecs
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote

from pydantic import TypeAdapter, ValidationError

from freshness.codat import errors
from freshness.codat.models import ErrorBody
from freshness.domain.api_limits import LONGEST_STOP
from freshness.domain.times import in_utc

if TYPE_CHECKING:
    import httpx

Form = TypeVar("Form")
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)

LONGEST_NUMBER = 12
"""The most digits of a quota that is believed: far longer numbers cannot be stored, or even converted."""
DEFAULT_STOP = timedelta(minutes=1)
"""How long to stop after a refused call without a readable `Retry-After`."""


def reported_quota(headers: "httpx.Headers") -> tuple[int, int] | None:
    """Return the daily quota of calls and how many are left, from a response's headers; `None` if it has none."""
    limit, remaining = (headers.get(f"X-Rate-Limit-{name}", "") for name in ("Limit", "Remaining"))
    is_readable = all(text.isdecimal() and len(text) <= LONGEST_NUMBER for text in (limit, remaining))
    return (int(limit), int(remaining)) if is_readable else None


def response_date(headers: "httpx.Headers") -> datetime | None:
    """Return when a response was sent, by Codat's clock; `None` if it has no readable `Date`."""
    try:
        return in_utc(parsedate_to_datetime(headers["Date"]))
    except (KeyError, ValueError, OverflowError):
        return None


def validate(form: type[Form], content: bytes, context: dict[str, Any]) -> Form:
    """Validate a JSON text and return its value.

    Pydantic refuses the whole of a text with a lone surrogate. Then `json` parses it, and only the item with the
    surrogate is refused.
    """
    adapter: TypeAdapter[Form] = _adapter(form)
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return adapter.validate_json(content, context=context)
    except ValidationError as error:
        if error.errors()[0]["type"] != "json_invalid":
            raise
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            raise error from None
    return adapter.validate_python(value, context=context)


def call_of(response: "httpx.Response") -> str:
    """Return the method and path of the request that a response is for."""
    return f"{response.request.method} {response.request.url.path}"


def mistake_of(error: ValidationError) -> str:
    """Return the first mistake of a validation error, and where it is, without the value."""
    first = error.errors(include_input=False)[0]
    return f"{first['msg']} at {first['loc']}"


def correlation_id_of(response: "httpx.Response") -> str:
    """Return the correlation id of a response, from a header or the body; empty if it has none.

    Codat documents it only for the body of an error.
    """
    try:
        in_body = validate(ErrorBody, response.content, {}).correlation_id
    except ValidationError:
        in_body = ""
    return in_body or response.headers.get("X-Correlation-Id", "")


def company_id_of(path: str) -> str:
    """Return the id of the company that a path `/companies/{companyId}/…` is about; empty if it is about none."""
    _, first, *rest = path.split("/")
    return unquote(rest[0]) if first == "companies" and rest else ""


def path_of(*parts: str) -> str:
    """Return a path of these parts, each escaped."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def kind_of(response: "httpx.Response", error: str, *, is_repeat: bool) -> type[errors.CodatError]:
    """Return the class of the error of a refused call."""
    status = response.status_code
    if "DatasetAlreadyInProgressException" in error or "read operation is in progress" in error:
        return errors.AlreadyInProgress
    if "not supported by platform" in error:
        return errors.UnsupportedDataType
    if status == HTTPStatus.CONFLICT and response.request.method == "POST":
        # Codat documents 409 for a repeat during the first try, and for what is not ready, without their texts.
        return errors.StillProcessing if is_repeat or "idempoten" in error.lower() else errors.Refused
    if status == HTTPStatus.SERVICE_UNAVAILABLE and "Retry-After" in response.headers:
        return errors.RateLimited
    if status == HTTPStatus.REQUEST_TIMEOUT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return errors.Temporary
    kinds: dict[int, type[errors.CodatError]] = {
        HTTPStatus.UNAUTHORIZED: errors.Unauthorized,
        HTTPStatus.PAYMENT_REQUIRED: errors.AccountLimit,
        HTTPStatus.FORBIDDEN: errors.Forbidden,
        HTTPStatus.NOT_FOUND: errors.NotFound,
        HTTPStatus.TOO_MANY_REQUESTS: errors.RateLimited,
    }
    return kinds.get(status, errors.Refused)


def retry_after(header: str, now: datetime) -> timedelta:
    """Return how long a `Retry-After` header says to wait, in seconds or by a date: from 1 second to `LONGEST_STOP`.

    `now` is by the sender's clock.
    """
    try:
        pause = timedelta(seconds=float(header))
    except (ValueError, OverflowError):
        try:
            pause = in_utc(parsedate_to_datetime(header)) - now
        except (ValueError, OverflowError):
            pause = DEFAULT_STOP
    return min(max(pause, timedelta(seconds=1)), LONGEST_STOP)
