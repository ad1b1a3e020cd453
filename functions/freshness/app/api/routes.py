"""The routes of the HTTP API, written as in API Gateway. The infrastructure and the callers use them too."""

import re
from enum import StrEnum
from urllib.parse import quote


class Route(StrEnum):
    """A route, such as `GET /companies/{companyId}/freshness`."""

    ENSURE_FRESH = "POST /companies/{companyId}/ensure-fresh"
    GET_REQUEST = "GET /companies/{companyId}/ensure-fresh/{id}"
    GET_FRESHNESS = "GET /companies/{companyId}/freshness"
    GET_DESCRIPTION = "GET /openapi.json"

    @property
    def method(self) -> str:
        """Return the HTTP method."""
        return self.split(" ")[0]

    @property
    def template(self) -> str:
        """Return the path, with the names of its parameters in braces."""
        return self.split(" ")[1]

    @property
    def pattern(self) -> str:
        """Return the path with `*` in place of its parameters, as in IAM policies."""
        return re.sub(r"\{\w+\}", "*", self.template)

    def path(self, *parameters: str) -> str:
        """Return the path with values in place of its parameters, in their order."""
        values = iter(parameters)
        return re.sub(r"\{\w+\}", lambda _: quote(next(values), safe=""), self.template)
