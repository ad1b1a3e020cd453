"""A client of the API, for programs that need data of at most an age.

    with FreshnessClient(api_url) as client:
        result = client.ensure_fresh(company_id, ["invoices"], max_age="1h", within="10m")
        print(result.is_fresh, result.as_of("invoices"))

Calls are signed with the AWS credentials that boto3 finds. They raise these errors:

* FreshnessError
  + Unreachable: the API did not answer
  + Refused: it answered with a problem
    - Forbidden: the caller's policy does not allow the call
    - NotFound: there is no such company
    - Invalid: the API does not accept such a request
    - Conflict: it is impossible now
      · RelinkNeeded: the customer must authorise a connection again
    - Limited: too many calls or requests
    - Unavailable: Codat or AWS does not answer
  + NotFresh: raised by `Result.raise_if_not_fresh` only
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import boto3
import httpx

from freshness.api_client.answers import CompanyFreshness, DataTypeFreshness, DataTypeResult, NotFresh, Result
from freshness.api_client.errors import (
    Conflict,
    Forbidden,
    FreshnessError,
    Invalid,
    Limited,
    NotFound,
    Refused,
    RelinkNeeded,
    Unavailable,
    Unreachable,
)
from freshness.api_client.steps import Call, OnLate, Response, SigV4, Steps, asked_for, ensured, freshness, run

__all__ = [
    "AsyncFreshnessClient",
    "CompanyFreshness",
    "Conflict",
    "DataTypeFreshness",
    "DataTypeResult",
    "Forbidden",
    "FreshnessClient",
    "FreshnessError",
    "Invalid",
    "Limited",
    "NotFound",
    "NotFresh",
    "Refused",
    "RelinkNeeded",
    "Result",
    "Unavailable",
    "Unreachable",
]

TIMEOUT = 35
"""Seconds. The API ends any call after 30."""


class FreshnessClient:
    """A client of the API. `api_url` is the stack's output `ApiUrl`. Threads may share a client.

    `session` has the credentials to use in place of those that boto3 finds. `transport` replaces the network.
    """

    def __init__(
        self, api_url: str, *, session: boto3.Session | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        auth = SigV4(api_url, session)
        self._http = httpx.Client(base_url=api_url, auth=auth, timeout=TIMEOUT, transport=transport)

    def ensure_fresh(
        self,
        company_id: str,
        data_types: Sequence[str],
        *,
        max_age: str | timedelta,
        within: str | timedelta,
        on_late: OnLate = "stale",
        override_windows: bool = False,
        idempotency_key: str | None = None,
    ) -> Result:
        """Ensure that data is no older than `max_age`. Return how that ended, after `within` at the latest.

        A duration is a `timedelta`, or text such as "1h". With the same `idempotency_key`, a program that starts again
        continues the same request.

        Raises:
            FreshnessError: the request was refused, or the API does not answer.
        """
        asked = asked_for(data_types, max_age, within, on_late, override_windows)
        return Result.model_validate(run(ensured(company_id, asked, idempotency_key), self._send))

    def freshness(self, company_id: str) -> CompanyFreshness:
        """Return how fresh each data type of a company is.

        Raises:
            FreshnessError: there is no such company, or the API does not answer.
        """
        return CompanyFreshness.model_validate(run(freshness(company_id), self._send))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _send(self, call: Call) -> Response:
        try:
            return self._http.send(call.request(self._http))
        except httpx.TransportError as error:
            return error


class AsyncFreshnessClient:
    """`FreshnessClient` for asyncio."""

    def __init__(
        self, api_url: str, *, session: boto3.Session | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        auth = SigV4(api_url, session)
        self._http = httpx.AsyncClient(base_url=api_url, auth=auth, timeout=TIMEOUT, transport=transport)

    async def ensure_fresh(
        self,
        company_id: str,
        data_types: Sequence[str],
        *,
        max_age: str | timedelta,
        within: str | timedelta,
        on_late: OnLate = "stale",
        override_windows: bool = False,
        idempotency_key: str | None = None,
    ) -> Result:
        """Ensure that data is no older than `max_age`, as `FreshnessClient.ensure_fresh` does."""
        asked = asked_for(data_types, max_age, within, on_late, override_windows)
        return Result.model_validate(await self._run(ensured(company_id, asked, idempotency_key)))

    async def freshness(self, company_id: str) -> CompanyFreshness:
        """Return how fresh each data type of a company is, as `FreshnessClient.freshness` does."""
        answer = await self._run(freshness(company_id))
        return CompanyFreshness.model_validate(answer)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, steps: Steps) -> dict[str, Any]:
        response: Response | None = None
        while True:
            try:
                step = steps.send(response)
            except StopIteration as end:
                return dict(end.value)
            response = await self._send(step) if isinstance(step, Call) else None
            if isinstance(step, timedelta):
                await asyncio.sleep(step.total_seconds())

    async def _send(self, call: Call) -> Response:
        try:
            return await self._http.send(call.request(self._http))
        except httpx.TransportError as error:
            return error
