"""Calling the API's function directly, with the permission to invoke it, in the format of API Gateway."""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from stack_access.ticks import invoke

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A response of the API."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def api_event(
    method: str,
    path: str,
    *,
    body: str | bytes | Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    caller: str = "",
) -> dict[str, Any]:
    """Return the event that API Gateway sends the function for a call.

    A body of bytes is encoded in base64. `caller` is the ARN that the event names as the caller, if any.
    """
    if isinstance(body, Mapping):
        body = json.dumps(body)
    authorizer = {"authorizer": {"iam": {"userArn": caller}}} if caller else {}
    path = unquote(path)
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {name.lower(): value for name, value in (headers or {}).items()},
        "requestContext": {"stage": "$default", "http": {"method": method, "path": path}} | authorizer,
        "body": b64encode(body).decode() if isinstance(body, bytes) else body,
        "isBase64Encoded": isinstance(body, bytes),
    }


def call_api(client: "LambdaClient", function: str, event: Mapping[str, Any]) -> ApiResponse:
    """Invoke the API's function with an event, and return its response.

    Raises:
        StackError: the function failed.
    """
    payload = invoke(client, function, event)
    return ApiResponse(payload["statusCode"], payload["headers"], json.loads(payload["body"]))
