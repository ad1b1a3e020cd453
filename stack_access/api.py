"""The events with which API Gateway calls the API's function, and others that may invoke it."""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote


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
