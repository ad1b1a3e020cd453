"""The OpenAPI 3.1 description of the API. This module adds what the types of the routes do not say."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from pydantic import BaseModel

from freshness.app.api.models import ProblemBody
from freshness.app.ensure.problems import MEDIA_TYPE, TITLES

_PROBLEMS = {
    400: "The body is not JSON.",
    404: "There is no such company or request.",
    409: "A request with this key is being answered, a customer must authorise a connection, or refreshes are paused.",
    422: "The body is invalid, the company has no such data type, the key was used with another body, or the deadline "
    "is impossible.",
    429: "The share of the quota that is reserved for such requests is spent, or the caller makes too many.",
    503: "Codat accepts no calls, the tables are contended, or AWS does not answer.",
}
_LOCATION = {
    "Location": {"description": "Where the state of the request is.", "schema": {"type": "string"}},
    "Retry-After": {"description": "In how many seconds to ask again.", "schema": {"type": "integer"}},
}
_SECURITY = {
    "sigv4": {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "description": "AWS Signature Version 4, of the service execute-api.",
    }
}
_UNUSED = ("HTTPValidationError", "ValidationError", "ResponseValidationError")
"""Error schemas that Powertools adds to every description. This API answers with problems instead."""


def responses(
    model: type[BaseModel] | None, successes: Mapping[int, str], *, problems: Collection[int] = ()
) -> dict[int, Any]:
    """Return the responses of a route by status: successes with their body, and problems."""
    content = {"model": model} if model else {"schema": {"type": "object"}}
    described: dict[int, Any] = {
        status: {"description": text, "content": {"application/json": content}} for status, text in successes.items()
    }
    for status in problems:
        description = f"{TITLES[status]}. {_PROBLEMS[status]}"
        described[status] = {"description": description, "content": {MEDIA_TYPE: {"model": ProblemBody}}}
    if 202 in described:
        described[202]["headers"] = described[503]["headers"] = _LOCATION
    return described


def describe(api: APIGatewayHttpResolver) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of the API."""
    text = api.get_openapi_json_schema(
        title="Codat Freshness", version="1", description="Fresh data of companies, on demand."
    )
    described: dict[str, Any] = json.loads(text)
    described["components"]["securitySchemes"] = _SECURITY
    described["security"] = [{name: [] for name in _SECURITY}]
    for name in _UNUSED:
        described["components"]["schemas"].pop(name, None)
    for operations in described["paths"].values():
        for operation in operations.values():
            unused = operation["responses"].get("422", {})
            if _UNUSED[0] in str(unused):
                del operation["responses"]["422"]
    return described
