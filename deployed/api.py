"""Calling the API's function directly, with the permission to invoke it, in the format of API Gateway."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployed.errors import StackError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A response of the API."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def call_api(
    client: "LambdaClient",
    function: str,
    route: str,
    parameters: Mapping[str, str],
    *,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ApiResponse:
    """Call a route of the API, such as `GET /ensure-fresh/{id}`, and return the response.

    Raises:
        StackError: the function failed.
    """
    event = {
        "version": "2.0",
        "routeKey": route,
        "pathParameters": dict(parameters),
        "headers": {name.lower(): value for name, value in (headers or {}).items()},
        "body": json.dumps(body) if body is not None else "",
        "isBase64Encoded": False,
    }
    response = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
    payload = json.loads(response["Payload"].read())
    if "FunctionError" in response:
        raise StackError(f"{function} failed: {payload.get('errorMessage', payload)}. See its log in CloudWatch.")
    return ApiResponse(payload["statusCode"], payload["headers"], json.loads(payload["body"]))
