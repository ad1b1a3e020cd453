"""What the API's own description says of a response."""

import re

import httpx
import jsonschema  # type: ignore[import-untyped]

from freshness.app.api.api import openapi

DESCRIPTION = openapi()


def require_described(method: str, path: str, response: httpx.Response) -> None:
    """Check that the description has the status of a response, and that the body matches its schema there."""
    [operations] = [
        operations
        for described, operations in DESCRIPTION["paths"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", described), path)
    ]
    described = operations[method.lower()]["responses"][str(response.status_code)]
    schema = described["content"][response.headers["Content-Type"]]["schema"]
    jsonschema.Draft202012Validator(schema | {"components": DESCRIPTION["components"]}).validate(response.json())
