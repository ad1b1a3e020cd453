"""The OpenAPI 3.1 description of the API."""

from typing import Any

from pydantic.json_schema import models_json_schema

from freshness.app.ensure.models import LONGEST_WAIT, CompanyFreshness, EnsureFreshBody, ProblemBody, RequestStatus
from freshness.app.ensure.problems import TITLES

_PROBLEMS = {
    400: "The body is not JSON.",
    404: "There is no such company or request.",
    409: "A request with this key is being answered, a customer must authorise a connection, or refreshes are paused.",
    422: "The body is invalid, the company has no such data type, the key was used with another body, or the deadline "
    "is impossible.",
    429: "The share of the quota that is reserved for such requests is spent.",
    503: "Codat accepts no calls, or the tables are contended.",
}
_LOCATION = {
    "Location": {"description": "Where the state of the request is.", "schema": {"type": "string"}},
    "Retry-After": {"description": "In how many seconds to ask again.", "schema": {"type": "integer"}},
}


def _parameter(name: str, place: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": description,
        "schema": {"type": "string"},
    }


_COMPANY_ID = _parameter("companyId", "path", "Codat's id of the company.")
_PREFER = _parameter("Prefer", "header", f"`wait=N`: wait up to N seconds, {LONGEST_WAIT.seconds} at most.")
_KEY = _parameter("Idempotency-Key", "header", "A key of the caller's own: a repeated call has the same effect once.")


def openapi() -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of the API."""
    _, schemas = models_json_schema(
        [
            (EnsureFreshBody, "validation"),
            (RequestStatus, "serialization"),
            (CompanyFreshness, "serialization"),
            (ProblemBody, "serialization"),
        ],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Codat Freshness", "version": "1", "description": "Fresh data of companies, on demand."},
        "paths": {
            "/companies/{companyId}/ensure-fresh": {"post": _ensure_fresh()},
            "/ensure-fresh/{id}": {"get": _get_request()},
            "/companies/{companyId}/freshness": {"get": _get_freshness()},
            "/openapi.json": {"get": _get_description()},
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "name": "Authorization",
                    "in": "header",
                    "description": "AWS Signature Version 4, of the service execute-api.",
                }
            },
        },
        "security": [{"sigv4": []}],
    }


def _ensure_fresh() -> dict[str, Any]:
    return {
        "operationId": "ensureFresh",
        "summary": "Ensure that data types of a company are as of a time or later.",
        "parameters": [_COMPANY_ID, _KEY, _PREFER],
        "requestBody": {"required": True, "content": _json("EnsureFreshBody")},
        "responses": {
            "200": {
                "description": "Everything is fresh, or the request is done.",
                "content": _json("RequestStatus"),
            },
            "202": {
                "description": "The request was accepted.",
                "headers": _LOCATION,
                "content": _json("RequestStatus"),
            },
            **_problems(400, 404, 409, 422, 429),
            "503": _problems(503)["503"] | {"headers": _LOCATION},
        },
    }


def _get_request() -> dict[str, Any]:
    return {
        "operationId": "getRequest",
        "summary": "Get the state of a request.",
        "parameters": [_parameter("id", "path", "The id of the request."), _PREFER],
        "responses": {
            "200": {"description": "Its state.", "content": _json("RequestStatus")},
            **_problems(404, 503),
        },
    }


def _get_freshness() -> dict[str, Any]:
    return {
        "operationId": "getFreshness",
        "summary": "Get how fresh each data type of a company is.",
        "parameters": [_COMPANY_ID],
        "responses": {
            "200": {"description": "Its data types.", "content": _json("CompanyFreshness")},
            **_problems(404, 503),
        },
    }


def _get_description() -> dict[str, Any]:
    return {
        "operationId": "getDescription",
        "summary": "Get this description.",
        "responses": {
            "200": {
                "description": "This description.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
        },
    }


def _json(model: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model}"}}}


def _problems(*statuses: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    return {
        str(status): {
            "description": f"{TITLES[status]}. {_PROBLEMS[status]}",
            "content": {"application/problem+json": {"schema": schema}},
        }
        for status in statuses
    }
