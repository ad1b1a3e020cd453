"""Codat's HTTP API, as far as this project calls it."""

import asyncio
import base64
import random
import re
from asyncio import Semaphore
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

import httpx
from pydantic import TypeAdapter, ValidationError

from freshness.codat import errors
from freshness.codat.answers import (
    CompaniesPage,
    CompanyAnswer,
    DataStatus,
    ErrorAnswer,
    PullOperation,
    PullOperationsPage,
)

Readable = TypeVar("Readable")
Parameters = dict[str, str | int]

PAGE_SIZE = 1000
TRIES = 3
FIRST_PAUSE = 0.5
"""Seconds before the second try; each further pause is twice as long. All of it stays far below a Lambda's life."""
STOP_UNLESS_TOLD = timedelta(minutes=1)
AT_ONCE_PER_COMPANY = 4
"""Codat takes ten calls at once for one company: both ticks and a person at the command line share them."""
LONGEST_STOP = timedelta(days=1)
"""Codat's longest limit is its daily quota: a `Retry-After` beyond that is not believed."""

_IN_PROGRESS = re.compile(r"DatasetAlreadyInProgressException.*previous sync (\S+) is still in progress", re.DOTALL)
_DATA_STATUSES = TypeAdapter(dict[str, DataStatus | None])


@dataclass(frozen=True, slots=True)
class DataStatuses:
    """What Codat's cache holds of a company, by data type; `at` is Codat's time of saying so."""

    at: datetime
    by_type: dict[str, DataStatus]


class Pace(Protocol):
    """Keeps the limits on calls, together with whoever else calls Codat for the same account."""

    async def wait(self) -> None:
        """Return when the next call may be sent; `errors.RateLimited` if that is too long to wait for."""

    def told(self, limit: int, remaining: int, at: datetime) -> None:
        """Codat told of the daily quota of calls, at `at`."""

    async def stop(self, until: datetime) -> None:
        """Codat told to make no call before `until`."""


class Codat:
    """A client for one API key. Every call raises `freshness.codat.errors.CodatError` if it fails.

    Calls are made as fast as they come, unless there is a `pace`; `clock` is the time where Codat's answers carry none.
    """

    def __init__(
        self, http: httpx.AsyncClient, api_key: str, *, clock: Callable[[], datetime], pace: Pace | None = None
    ) -> None:
        self._http = http
        self._authorization = "Basic " + base64.b64encode(api_key.encode()).decode()
        self._clock = clock
        self._pace = pace
        self._companies: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()
        self.calls = 0

    async def companies(self) -> AsyncIterator[tuple[datetime, CompanyAnswer]]:
        """Every company, with Codat's time of listing it. Pages are read as they are needed."""
        number, seen = 1, 0
        while True:
            parameters: Parameters = {"page": number, "pageSize": PAGE_SIZE, "orderBy": "created"}
            response = await self._get("/companies", parameters)
            page = self._read(response, CompaniesPage)
            for company in page.results:
                yield self._time(response), company
            seen += len(page.results)
            if not page.results or page.links.next is None or seen >= page.total_results:
                return
            number += 1

    async def data_status(self, company_id: str) -> DataStatuses:
        """What Codat's cache holds of a company. Data types that were never synced may be missing."""
        response = await self._get(f"/companies/{company_id}/dataStatus")
        statuses = self._read(response, _DATA_STATUSES)
        by_type = {data_type: status for data_type, status in statuses.items() if status is not None}
        return DataStatuses(at=self._time(response), by_type=by_type)

    async def history(self, company_id: str) -> tuple[PullOperation, ...]:
        """The newest datasets of a company, newest first."""
        parameters: Parameters = {"page": 1, "pageSize": 100, "orderBy": "-requested"}
        response = await self._get(f"/companies/{company_id}/data/history", parameters)
        return self._read(response, PullOperationsPage).results

    async def dataset(self, company_id: str, dataset_id: str) -> PullOperation:
        """One dataset."""
        return self._read(await self._get(f"/companies/{company_id}/data/history/{dataset_id}"), PullOperation)

    async def queue(self, company_id: str, data_type: str, connection_id: str | None = None) -> PullOperation:
        """Queue a refresh of a data type, from one connection where one is named.

        It is sent once: where no answer came, the next try is told "already in progress" if it did arrive.
        """
        parameters: Parameters = {} if connection_id is None else {"connectionId": connection_id}
        path = f"/companies/{company_id}/data/queue/{data_type}"
        return self._read(await self._send("POST", path, parameters), PullOperation)

    async def _get(self, path: str, parameters: Parameters | None = None) -> httpx.Response:
        for attempt in range(TRIES - 1):
            try:
                return await self._send("GET", path, parameters)
            except errors.Temporary:
                await asyncio.sleep(FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        return await self._send("GET", path, parameters)

    async def _send(self, method: str, path: str, parameters: Parameters | None = None) -> httpx.Response:
        async with self._one_of_few(path):
            if self._pace:
                await self._pace.wait()
            response = await self._exchange(method, path, parameters)
        self._note_quota(response)
        if response.is_success:
            return response
        error = self._error(response)
        if self._pace and isinstance(error, errors.RateLimited):
            await self._pace.stop(error.until)
        raise error

    def _one_of_few(self, path: str) -> Semaphore:
        """What lets only a few calls at once go to one company: `/companies/{companyId}/…`."""
        return self._companies.setdefault("/".join(path.split("/")[:3]), Semaphore(AT_ONCE_PER_COMPANY))

    async def _exchange(self, method: str, path: str, parameters: Parameters | None) -> httpx.Response:
        self.calls += 1
        headers = {"Authorization": self._authorization}
        try:
            return await self._http.request(method, path, params=parameters, headers=headers)
        except httpx.TransportError as error:
            raise errors.Temporary(f"{method} {path}", f"no answer: {type(error).__name__} {error}") from error

    def _error(self, response: httpx.Response) -> errors.CodatError:
        try:
            answer = ErrorAnswer.model_validate_json(response.content)
        except ValidationError:
            answer = ErrorAnswer(error=response.text[:200])
        kind = _kind(response.status_code, answer.error)
        error = kind(_call(response), answer.error, status=response.status_code, correlation_id=answer.correlation_id)
        if isinstance(error, errors.AlreadyInProgress) and (match := _IN_PROGRESS.search(answer.error)):
            error.dataset_id = match[1]
        if isinstance(error, errors.RateLimited):
            error.until = retry_after(response.headers.get("Retry-After", ""), self._clock())
        return error

    def _read(self, response: httpx.Response, form: type[Readable] | TypeAdapter[Readable]) -> Readable:
        adapter = form if isinstance(form, TypeAdapter) else TypeAdapter(form)
        try:
            return adapter.validate_json(response.content)
        except ValidationError as error:
            message = f"not as Codat describes it: {error.errors()[0]['msg']} at {error.errors()[0]['loc']}"
            raise errors.Unreadable(_call(response), message, status=response.status_code) from error

    def _time(self, response: httpx.Response) -> datetime:
        try:
            return parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
        except (KeyError, ValueError):
            return self._clock()

    def _note_quota(self, response: httpx.Response) -> None:
        limit, remaining = (response.headers.get(f"X-Rate-Limit-{name}", "") for name in ("Limit", "Remaining"))
        if self._pace and limit.isdecimal() and remaining.isdecimal():
            self._pace.told(int(limit), int(remaining), self._time(response))


def _call(response: httpx.Response) -> str:
    return f"{response.request.method} {response.request.url.path}"


def _kind(status: int, error: str) -> type[errors.CodatError]:
    if "DatasetAlreadyInProgressException" in error:
        return errors.AlreadyInProgress
    if "not supported by platform" in error:
        return errors.UnsupportedDataType
    if status == httpx.codes.REQUEST_TIMEOUT or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return errors.Temporary
    kinds: dict[int, type[errors.CodatError]] = {
        httpx.codes.UNAUTHORIZED: errors.Unauthorized,
        httpx.codes.PAYMENT_REQUIRED: errors.AccountLimit,
        httpx.codes.FORBIDDEN: errors.Unauthorized,
        httpx.codes.NOT_FOUND: errors.NotFound,
        httpx.codes.TOO_MANY_REQUESTS: errors.RateLimited,
    }
    return kinds.get(status, errors.Refused)


def retry_after(header: str, now: datetime) -> datetime:
    """The time that a `Retry-After` header gives, in seconds or as a date; an absurd one is brought within reason."""
    try:
        until = now + timedelta(seconds=float(header))
    except (ValueError, OverflowError):
        try:
            until = parsedate_to_datetime(header).astimezone(UTC)
        except ValueError:
            until = now + STOP_UNLESS_TOLD
    return min(max(until, now + timedelta(seconds=1)), now + LONGEST_STOP)
