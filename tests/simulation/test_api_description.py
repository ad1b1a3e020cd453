"""The API against its own description: calls that schemathesis makes, all of which must be answered as described."""

import importlib
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freshness.app.api.api import answer, openapi
from freshness.app.api.routes import Route
from local.http_api import serving
from tests.simulation.test_api_requests import World

CASES = int(os.environ.get("API_CASES", "160"))
"""How many calls are made in all."""
OF_THE_GATEWAY = ("unsupported_method", "ignored_auth")
"""What API Gateway answers before the function is invoked: other methods, and calls that are not signed.

A call with a wrong signature, and no other mistake, would be answered as if it were valid.
"""
KNOWN = {"companyId": "company0", "id": "unknown"}


@pytest.fixture(scope="module")
def operations() -> dict[str, Any]:
    """The operations that the API describes, by label."""
    # Every process collects these tests, and importing it takes a second.
    schemathesis: Any = importlib.import_module("schemathesis")
    schema = schemathesis.openapi.from_dict(openapi())
    schema.config.checks.positive_data_acceptance.expected_statuses = ["200", "202", "404", "409", "422", "429"]
    schema.config.generation.update(with_security_parameters=False)
    described = {each.ok().label: each.ok() for each in schema.get_all_operations()}
    assert described.keys() == set(Route)
    return described


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve the API, with tables in memory, at the time of this machine."""
    services = replace(World().services, clock=lambda: datetime.now(UTC))
    with serving(lambda event, context: answer(lambda: services, event, context)) as url:
        yield url


def cases(operation: Any) -> st.SearchStrategy[Any]:
    """Return calls of an operation: valid or not, about any company or about one that there is."""
    modes: Any = importlib.import_module("schemathesis").GenerationMode
    known = {name: value for name, value in KNOWN.items() if f"{{{name}}}" in operation.path}
    return st.one_of(
        *(
            operation.as_strategy(generation_mode=mode, **given)
            for mode in modes
            for given in ({}, {"path_parameters": known})
            if mode.is_positive or operation.label != Route.GET_DESCRIPTION
        )
    )


@pytest.mark.parametrize("route", Route)
def test_every_call_is_answered_as_the_description_says(url: str, operations: dict[str, Any], route: Route) -> None:
    operation = operations[route]
    checks = importlib.import_module("schemathesis.specs.openapi.checks")
    of_the_gateway = [getattr(checks, name) for name in OF_THE_GATEWAY]
    share = {Route.ENSURE_FRESH: 0.6, Route.GET_DESCRIPTION: 0.02}.get(route, 0.19)

    @settings(
        max_examples=max(1, int(CASES * share)),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(case=cases(operation), of_known_type=st.booleans())
    def call(case: Any, of_known_type: bool) -> None:
        if of_known_type and isinstance(case.body, dict) and isinstance(case.body.get("dataTypes"), list):
            case.body["dataTypes"] = ["invoices"]
        case.call_and_validate(base_url=url, excluded_checks=of_the_gateway)

    call()
