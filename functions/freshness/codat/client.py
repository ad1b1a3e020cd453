"""Codat's HTTP API, as far as this project calls it."""

import asyncio
import base64
import random
import re
from asyncio import Semaphore
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Protocol, TypeVar
from urllib.parse import quote
from weakref import WeakValueDictionary

import httpx
from pydantic import TypeAdapter, ValidationError

from freshness.codat import errors
from freshness.codat.models import (
    CompanyAnswer,
    ConnectionAnswer,
    DataStatus,
    ErrorAnswer,
    Listed,
    Page,
    PullOperation,
    Readable,
    SyncSetting,
    SyncSettings,
    WebhookConsumer,
    WebhookConsumers,
)
from freshness.domain.api_limits import LONGEST_STOP
from freshness.domain.times import in_utc

Form = TypeVar("Form")
Parameters = dict[str, str | int]

PAGE_SIZE = 1000
HISTORY_PAGE_SIZE = 100
CALL_TIMEOUT = 10.0
"""Seconds that Codat has to answer one call, to the last byte."""
TRIES = 3
TRY_AGAIN_WITHIN = 5.0
"""Seconds after the first try in which another may begin: so all of them end well within a minute."""
FIRST_PAUSE = 0.5
"""Seconds before the second try; each further pause is twice as long."""
STOP_UNLESS_TOLD = timedelta(minutes=1)
LARGEST_SKEW = timedelta(hours=1)
"""A `Date` further than this from our own clock is not believed either, nor what is to have happened later."""
UNANSWERED = 10
"""Calls without an answer in a feed after which Codat is taken to be down."""
AT_ONCE_PER_COMPANY = 4
"""Codat takes ten calls at once for one company: both ticks and a person at the command line share them."""

_IN_PROGRESS = re.compile(r"DatasetAlreadyInProgressException.*previous sync (\S+) is still in progress", re.DOTALL)
_DATA_STATUSES = TypeAdapter(dict[str, Readable[DataStatus]])


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
    `calls` counts them, and `key_is_refused` tells whether the last that failed did so for the key.
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
        self.key_is_refused = False
        self._unanswered = 0

    @property
    def is_down(self) -> bool:
        """Whether Codat has not answered for so many calls in a feed that another now is in vain."""
        return self._unanswered >= UNANSWERED

    async def companies(self, tags: str = "") -> AsyncGenerator[tuple[datetime, CompanyAnswer], None]:
        """Every company, or those with `tags` (`region=uk && team=x`), with Codat's time of listing it.

        Pages are read as they are needed.
        """
        parameters: Parameters = {"pageSize": PAGE_SIZE, "orderBy": "created"}
        if tags:
            parameters["tags"] = tags
        async for response, company in self._pages("/companies", Page[CompanyAnswer], parameters):
            yield self._time(response), company

    async def company(self, company_id: str) -> tuple[datetime, CompanyAnswer]:
        """One company, with Codat's time of telling."""
        response = await self._get(_path("companies", company_id))
        return self._time(response), self._read(response, CompanyAnswer)

    async def connections(self, company_id: str) -> list[ConnectionAnswer]:
        """All connections of a company."""
        pages = self._pages(
            _path("companies", company_id, "connections"), Page[ConnectionAnswer], {"pageSize": HISTORY_PAGE_SIZE}
        )
        return [connection async for _, connection in pages]

    async def data_status(self, company_id: str) -> DataStatuses:
        """What Codat's cache holds of a company. Data types that were never synced may be missing."""
        response = await self._get(_path("companies", company_id, "dataStatus"))
        statuses = self._read(response, _DATA_STATUSES)
        by_type = {data_type: status for data_type, status in statuses.items() if status is not None}
        return DataStatuses(at=self._time(response), by_type=by_type)

    async def history(self, company_id: str) -> AsyncIterator[PullOperation]:
        """The datasets of a company, newest first. Pages are read as they are needed."""
        parameters: Parameters = {"pageSize": HISTORY_PAGE_SIZE, "orderBy": "-requested"}
        path = _path("companies", company_id, "data", "history")
        async for _, operation in self._pages(path, Page[PullOperation], parameters):
            yield operation

    async def dataset(self, company_id: str, dataset_id: str) -> PullOperation:
        """One dataset."""
        path = _path("companies", company_id, "data", "history", dataset_id)
        return self._read(await self._get(path), PullOperation)

    async def queue(self, company_id: str, data_type: str, connection_id: str | None = None) -> PullOperation:
        """Queue a refresh of a data type, from one connection where one is named.

        It is not repeated where no answer came: the next try is told "already in progress" if it did arrive.
        """
        parameters: Parameters = {} if connection_id is None else {"connectionId": connection_id}
        path = _path("companies", company_id, "data", "queue", data_type)
        return self._read(await self._try("POST", path, parameters), PullOperation)

    async def queue_all(self, company_id: str) -> datetime:
        """Queue every data type that is fetched on first link; Codat's time of doing so. It names no dataset."""
        return self._time(await self._try("POST", _path("companies", company_id, "data", "all")))

    async def sync_settings(self, company_id: str | None = None) -> list[SyncSetting]:
        """Codat's own schedule: that of the account, or of one company."""
        path = "/profile/syncSettings" if company_id is None else _path("companies", company_id, "syncSettings")
        settings = self._read(await self._get(path), SyncSettings).settings
        return [setting for setting in settings if setting is not None]

    async def webhook_consumers(self) -> list[WebhookConsumer]:
        """Every endpoint to which Codat sends webhooks."""
        consumers = self._read(await self._get("/webhooks"), WebhookConsumers).results
        return [consumer for consumer in consumers if consumer is not None]

    async def create_webhook_consumer(self, url: str, event_types: Iterable[str]) -> WebhookConsumer:
        """Have Codat send events of these types to a URL."""
        body = {"url": url, "eventTypes": sorted(event_types)}
        return self._read(await self._try("POST", "/webhooks", body=body), WebhookConsumer)

    async def delete_webhook_consumer(self, consumer_id: str) -> None:
        """Have Codat send nothing more to an endpoint."""
        await self._try("DELETE", _path("webhooks", consumer_id))

    async def _pages(
        self, path: str, form: type[Page[Listed]], parameters: Parameters
    ) -> AsyncIterator[tuple[httpx.Response, Listed]]:
        """What a list holds; what moved to the next page meanwhile, once.

        A page that brings nothing but what the one before did is the last, whatever it says of a next one. Ids of
        earlier pages are not kept: a list may be long.
        """
        before: dict[str, Listed] = {}
        for number in count(1):
            response = await self._get(path, parameters | {"page": number})
            page = self._read(response, form)
            items = {item.id: item for item in page.results if item is not None}
            new = items.keys() - before.keys()
            for item_id, item in items.items():
                if item_id in new:
                    yield response, item
            if not new or page.links.next is None:
                return
            before = items

    async def _get(self, path: str, parameters: Parameters | None = None) -> httpx.Response:
        return await self._try("GET", path, parameters)

    async def _try(
        self, method: str, path: str, parameters: Parameters | None = None, body: object = None
    ) -> httpx.Response:
        """Send a request, and again a few times where Codat did not answer, or refused it for a moment only.

        A POST that was not answered may have been carried out, so it is not sent again.
        """
        now = asyncio.get_running_loop().time
        give_up_at = now() + TRY_AGAIN_WITHIN
        for attempt in range(TRIES - 1):
            try:
                return await self._send(method, path, parameters, body)
            except errors.Temporary:
                if method == "POST" or now() > give_up_at:
                    raise
                await asyncio.sleep(FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            except errors.RateLimited as error:
                # The pace waits until it may be sent again, unless that is too long.
                if self._pace is None or error.status is None or now() > give_up_at:
                    raise
        return await self._send(method, path, parameters, body)

    async def _send(self, method: str, path: str, parameters: Parameters | None, body: object) -> httpx.Response:
        try:
            response = await self._answer(method, path, parameters, body)
        except errors.CodatError as error:
            # Only a missing response says that Codat is down: a 500 may be the fault of one company's data.
            self._unanswered = self._unanswered + 1 if error.status is None else 0
            raise
        self._unanswered = 0
        return response

    async def _answer(self, method: str, path: str, parameters: Parameters | None, body: object) -> httpx.Response:
        async with self._one_of_few(path):
            if self._pace:
                await self._pace.wait()
            response = await self._exchange(method, path, parameters, body)
        self._note_quota(response)
        if response.is_success:
            return response
        error = self._error(response)
        self.key_is_refused = isinstance(error, errors.Unauthorized)
        if self._pace and isinstance(error, errors.RateLimited):
            await self._pace.stop(error.until)
        raise error

    def _one_of_few(self, path: str) -> Semaphore:
        """What lets only a few calls at once go to one company: `/companies/{companyId}/…`."""
        return self._companies.setdefault("/".join(path.split("/")[:3]), Semaphore(AT_ONCE_PER_COMPANY))

    async def _exchange(self, method: str, path: str, parameters: Parameters | None, body: object) -> httpx.Response:
        self.calls += 1
        headers = {"Authorization": self._authorization}
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                response = await self._http.request(method, path, params=parameters, headers=headers, json=body)
            # httpx has a response and its stream hold each other, which keeps both until garbage is looked for.
            response.stream = httpx.ByteStream(b"")
            return response
        except TimeoutError as error:
            raise errors.Temporary(
                f"{method} {path}", f"no answer within {CALL_TIMEOUT:.0f} seconds", at=self._clock()
            ) from error
        except httpx.RequestError as error:
            raise errors.Temporary(
                f"{method} {path}", f"no answer: {type(error).__name__} {error}", at=self._clock()
            ) from error

    def _error(self, response: httpx.Response) -> errors.CodatError:
        try:
            answer = ErrorAnswer.model_validate_json(response.content)
        except ValidationError:
            answer = ErrorAnswer(error=response.text[:200])
        kind = _kind(response, answer.error)
        error = kind(
            _call(response),
            answer.error,
            at=self._time(response),
            status=response.status_code,
            correlation_id=answer.correlation_id,
        )
        if isinstance(error, errors.AlreadyInProgress) and (match := _IN_PROGRESS.search(answer.error)):
            error.dataset_id = match[1]
        if isinstance(error, errors.RateLimited):
            error.until = self._clock() + retry_after(response.headers.get("Retry-After", ""), self._time(response))
        return error

    def _read(self, response: httpx.Response, form: type[Form] | TypeAdapter[Form]) -> Form:
        adapter = form if isinstance(form, TypeAdapter) else TypeAdapter(form)
        try:
            return adapter.validate_json(response.content, context={"by": self._time(response) + LARGEST_SKEW})
        except ValidationError as error:
            message = f"not as Codat describes it: {error.errors()[0]['msg']} at {error.errors()[0]['loc']}"
            raise errors.Unreadable(
                _call(response), message, at=self._time(response), status=response.status_code
            ) from error

    def _time(self, response: httpx.Response) -> datetime:
        now = self._clock()
        try:
            told = in_utc(parsedate_to_datetime(response.headers["Date"]))
        except (KeyError, ValueError, OverflowError):
            return now
        return told if abs(told - now) <= LARGEST_SKEW else now

    def _note_quota(self, response: httpx.Response) -> None:
        limit, remaining = (response.headers.get(f"X-Rate-Limit-{name}", "") for name in ("Limit", "Remaining"))
        if self._pace and limit.isdecimal() and remaining.isdecimal():
            self._pace.told(int(limit), int(remaining), self._time(response))


def _call(response: httpx.Response) -> str:
    return f"{response.request.method} {response.request.url.path}"


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _kind(response: httpx.Response, error: str) -> type[errors.CodatError]:
    status = response.status_code
    if "DatasetAlreadyInProgressException" in error:
        return errors.AlreadyInProgress
    if "not supported by platform" in error:
        return errors.UnsupportedDataType
    if status == httpx.codes.SERVICE_UNAVAILABLE and "Retry-After" in response.headers:
        return errors.RateLimited
    if status == httpx.codes.REQUEST_TIMEOUT or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return errors.Temporary
    kinds: dict[int, type[errors.CodatError]] = {
        httpx.codes.UNAUTHORIZED: errors.Unauthorized,
        httpx.codes.PAYMENT_REQUIRED: errors.AccountLimit,
        httpx.codes.FORBIDDEN: errors.Forbidden,
        httpx.codes.NOT_FOUND: errors.NotFound,
        httpx.codes.TOO_MANY_REQUESTS: errors.RateLimited,
    }
    return kinds.get(status, errors.Refused)


def retry_after(header: str, now: datetime) -> timedelta:
    """How long a `Retry-After` header says to wait, in seconds or by a date; within reason, if it is absurd.

    `now` is by the clock of who sent it.
    """
    try:
        pause = timedelta(seconds=float(header))
    except (ValueError, OverflowError):
        try:
            pause = in_utc(parsedate_to_datetime(header)) - now
        except (ValueError, OverflowError):
            pause = STOP_UNLESS_TOLD
    return min(max(pause, timedelta(seconds=1)), LONGEST_STOP)
