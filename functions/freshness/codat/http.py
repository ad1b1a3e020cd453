"""HTTP calls to Codat: authentication, concurrency, retries, and responses as values or errors."""

import asyncio
import base64
import logging
import random
import re
import sys
from asyncio import Semaphore
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.util import find_spec
from ssl import SSLContext
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode
from uuid import UUID, uuid4
from weakref import WeakValueDictionary

from aws_lambda_powertools import Logger
from pydantic import ValidationError

from freshness.codat import errors
from freshness.codat.models import ErrorBody
from freshness.codat.rate_limiter import RateLimiter
from freshness.codat.reachability import Reachability
from freshness.codat.response_model import Skipped
from freshness.codat.responses import (
    call_of,
    company_id_of,
    correlation_id_of,
    kind_of,
    mistake_of,
    reported_quota,
    response_date,
    retry_after,
    validate,
)
from freshness.domain.times import CLOCKS_DIFFER

if TYPE_CHECKING:
    import httpx

if find_spec("sniffio") is None:
    # httpcore tries to import it for each connection and call, and Python would search for it each time.
    sys.modules["sniffio"] = None  # type: ignore[assignment]

Form = TypeVar("Form")
Parameters = dict[str, str | int]

CALL_TIMEOUT = 10.0
"""Seconds within which Codat must respond to a call, to the last byte."""
TRIES = 3
TRY_AGAIN_WITHIN = 5.0
"""Seconds after the first try within which a further one may start: all of them end within a minute."""
FIRST_PAUSE = 0.5
"""Seconds before the second try; each further pause is twice as long."""
AT_ONCE_PER_COMPANY = 4
"""The most concurrent calls for one company. Codat accepts ten, which both ticks and the command line share."""

SKIPPED = "Items of a response cannot be read and are skipped"
"""The message of the log record about skipped items. Its attributes name the call, the company, the items and why."""
LISTED, LONGEST_ID = 10, 50
"""The most skipped items that the record names, and the most characters of their ids."""

logger = Logger(service="codat-freshness")
# At INFO, httpx logs every call with the ids of companies: most of the log.
logging.getLogger("httpx").setLevel(logging.WARNING)

_IN_PROGRESS = re.compile(r"DatasetAlreadyInProgressException.*previous sync (\S+) is still in progress", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, with the idempotency key of a POST."""

    method: str
    path: str
    parameters: Parameters | None = None
    body: object = None
    key: UUID | None = None
    on_demand: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class HttpClient:
    """The calls of one API key. Every call raises `freshness.codat.errors.CodatError` if it fails.

    `clock` is used where a response has no `Date`; without a `limiter`, calls are sent at once. `was_down` is whether
    Codat was down when it was last called.

    `calls` is how many calls were sent, and `items_skipped` how many items of responses could not be read.
    `reachability` is what the calls showed of companies, and of Codat as a whole.
    `key_is_refused` is whether the last failed call failed because Codat refused the key.
    """

    def __init__(
        self,
        http: "httpx.AsyncClient",
        api_key: str,
        *,
        clock: Callable[[], datetime],
        limiter: RateLimiter | None = None,
        was_down: bool = False,
    ) -> None:
        self._http = http
        self._base_url = str(http.base_url).rstrip("/")
        self._authorization = "Basic " + base64.b64encode(api_key.encode()).decode()
        self._clock = clock
        self._limiter = limiter
        self._companies: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()
        self.calls = 0
        self.items_skipped = 0
        self.key_is_refused = False
        self._ahead: timedelta | None = None
        self._refusal: errors.CodatError | None = None
        self.reachability = Reachability(was_down=was_down)

    @property
    def ahead(self) -> timedelta | None:
        """Return how far Codat's clock is ahead of ours at least; `None` if the last response does not show it."""
        return self._ahead

    @property
    def is_down(self) -> bool:
        """Return whether so many calls failed that no further one is worthwhile now."""
        return self.reachability.is_down or isinstance(self._refusal, errors.Temporary)

    @property
    def may_be_down(self) -> bool:
        """Return whether Codat is down, or was when it was last called and has not responded since."""
        return self.is_down or self.reachability.may_be_down

    def refuse_calls(self, error: errors.CodatError) -> None:
        """Make no further calls: raise `error` in place of each."""
        self._refusal = error
        self.key_is_refused = isinstance(error, errors.Unauthorized)

    async def _get(self, path: str, parameters: Parameters | None = None) -> "httpx.Response":
        """Send a GET. Repeat it a few times if no response came, or if Codat refused it only for now."""
        return await self._try(_Call("GET", path, parameters))

    async def _post(
        self,
        path: str,
        parameters: Parameters | None = None,
        body: object = None,
        *,
        key: UUID | None = None,
        on_demand: bool = False,
    ) -> "httpx.Response":
        """Send a POST with an idempotency key. Repeat it at once with the same key if no response came.

        Codat answers a repeat within 90 minutes with its first response: the repeat has no second effect. Until a
        response was recorded, the same request must be sent with the same `key`. Without `key`, a random one is used.
        `on_demand` is whether the call is made for callers who wait.
        """
        return await self._try(_Call("POST", path, parameters, body, key or uuid4(), on_demand))

    async def _try(self, call: _Call) -> "httpx.Response":
        now = asyncio.get_running_loop().time
        give_up_at = now() + TRY_AGAIN_WITHIN
        for attempt in range(TRIES - 1):
            try:
                return await self._send(call, is_repeat=attempt > 0)
            except errors.Temporary as error:
                is_at_once = call.method == "POST" and attempt == 0
                if call.method == "POST" and error.status and not isinstance(error, errors.StillProcessing):
                    raise
                if now() > give_up_at and not is_at_once:
                    raise
                if not is_at_once:
                    await asyncio.sleep(FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            except errors.RateLimited as error:
                # The limiter waits until it may be sent again, unless that is too long.
                if self._limiter is None or error.status is None or now() > give_up_at:
                    raise
        return await self._send(call, is_repeat=True)

    async def _send(self, call: _Call, *, is_repeat: bool) -> "httpx.Response":
        if self._refusal:
            raise self._refusal
        company = company_id_of(call.path) or call.path
        async with self._semaphore(company):
            if self._limiter:
                await self._limiter.wait(on_demand=call.on_demand)
            begun = self.reachability.begin()
            try:
                response = await self._respond(call, is_repeat=is_repeat)
            except errors.CodatError as error:
                self.reachability.end(company, begun, error)
                raise
            self.reachability.end(company, begun, None)
            return response

    async def _respond(self, call: _Call, *, is_repeat: bool) -> "httpx.Response":
        response = await self._exchange(call)
        date = response_date(response.headers)
        self._ahead = date - self._clock() if date else None
        self._report_quota(response)
        if response.is_success:
            return response
        error = self._error(response, is_repeat=is_repeat)
        self.key_is_refused = isinstance(error, errors.Unauthorized)
        if self._limiter and isinstance(error, errors.RateLimited):
            await self._limiter.stop(error.until, error.at)
        raise error

    def _semaphore(self, company: str) -> Semaphore:
        """Return the semaphore that limits concurrent calls for one company."""
        return self._companies.setdefault(company, Semaphore(AT_ONCE_PER_COMPANY))

    async def _exchange(self, call: _Call) -> "httpx.Response":
        import httpx

        self.calls += 1
        headers = {"Authorization": self._authorization}
        if call.key:
            headers["Idempotency-Key"] = str(call.key)
        # The client would parse a relative URL four times, which takes longer than all else of a request.
        url = httpx.URL(f"{self._base_url}{call.path}" + (f"?{urlencode(call.parameters)}" if call.parameters else ""))
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                response = await self._http.request(call.method, url, headers=headers, json=call.body)
            # A response and its stream refer to each other, which keeps both in memory until garbage is collected.
            response.stream = httpx.ByteStream(b"")
            return response
        except TimeoutError as error:
            raise errors.Temporary(
                str(call), f"no response within {CALL_TIMEOUT:.0f} seconds", at=self._clock()
            ) from error
        except httpx.RequestError as error:
            raise errors.Temporary(
                str(call), f"no response: {type(error).__name__} {error}", at=self._clock()
            ) from error

    def _error(self, response: "httpx.Response", *, is_repeat: bool) -> errors.CodatError:
        try:
            answer = validate(ErrorBody, response.content, {})
        except ValidationError:
            # Not `text`: the response chooses its decoder, and some decoders fail.
            answer = ErrorBody(error=response.content[:200].decode("utf-8", "replace"))
        kind = kind_of(response, answer.error, is_repeat=is_repeat)
        error = kind(
            call_of(response),
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

    def _read(self, response: "httpx.Response", form: type[Form]) -> Form:
        """Return the content of a response, without the items of a list that cannot be read.

        Raises:
            Unreadable: the response is not as Codat describes it.
        """
        skipped: list[Skipped] = []
        context = {"by": self._time(response) + CLOCKS_DIFFER, "skipped": skipped}
        try:
            content = validate(form, response.content, context)
        except ValidationError as error:
            message = f"the response is not as Codat describes it: {mistake_of(error)}"
            raise errors.Unreadable(
                call_of(response),
                message,
                at=self._time(response),
                status=response.status_code,
                correlation_id=correlation_id_of(response),
            ) from error
        if skipped:
            self._log_skipped(response, skipped)
        return content

    def _log_skipped(self, response: "httpx.Response", skipped: list[Skipped]) -> None:
        """Write one log record for all items of a response that cannot be read: a list may have thousands."""
        self.items_skipped += len(skipped)
        logger.warning(
            SKIPPED,
            extra={
                "call": call_of(response),
                "correlation_id": correlation_id_of(response),
                "company_id": company_id_of(response.request.url.path),
                "skipped": len(skipped),
                "items": ", ".join(ascii(each.item[:LONGEST_ID])[1:-1] for each in skipped[:LISTED] if each.item),
                "first_reason": mistake_of(skipped[0].error),
            },
        )

    def _time(self, response: "httpx.Response") -> datetime:
        """Return the time of a response by Codat's clock, or by ours if that differs by more than `CLOCKS_DIFFER`."""
        now = self._clock()
        date = response_date(response.headers)
        return date if date and abs(date - now) <= CLOCKS_DIFFER else now

    def _report_quota(self, response: "httpx.Response") -> None:
        quota = reported_quota(response.headers)
        if self._limiter and quota:
            self._limiter.report(*quota, self._time(response))


def connection_to(base_url: str, transport: "httpx.AsyncBaseTransport | None" = None) -> "httpx.AsyncClient":
    """Return a connection to Codat for a client. `transport` replaces the network."""
    # Imported here, because httpx takes a tenth of a cold start, and not every run calls Codat.
    import httpx

    verify = _ssl_context() if transport is None else False
    return httpx.AsyncClient(base_url=base_url, timeout=CALL_TIMEOUT, verify=verify, transport=transport)


@cache
def _ssl_context() -> SSLContext:
    """Return the TLS settings for Codat. They are kept, because loading the certificates takes longer than a call."""
    import httpx

    return httpx.create_ssl_context()
