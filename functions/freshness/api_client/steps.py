"""Which calls ensure fresh data, one after another. The clients make them, with or without asyncio."""

import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote
from uuid import uuid4

import boto3
import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from freshness.api_client.errors import KINDS, FreshnessError, Refused, RelinkNeeded, Unavailable, Unreachable

WAIT = "wait=20"
"""The header `Prefer` of a call: the API waits up to 20 seconds for the request to end."""
BETWEEN_CALLS = timedelta(seconds=2)
"""The pause between two calls. It is needed because a call returns at once if too many callers wait already."""
SOON = timedelta(seconds=1)
"""When to repeat a call that may succeed, if the API does not say."""
KEEP_TRYING = timedelta(minutes=1)
"""How long a failed call is repeated, and how long after its deadline a request is still asked for."""
_REGION = re.compile(r"\.execute-api\.([a-z0-9-]+)\.amazonaws\.com")

OnLate = Literal["stale", "fail"]


def asked_for(
    data_types: Sequence[str],
    max_age: str | timedelta,
    within: str | timedelta,
    on_late: OnLate,
    override_windows: bool,
) -> dict[str, Any]:
    """Return the body of the call that asks for data, as JSON values. A duration may be text such as "1h"."""
    return {
        "dataTypes": list(data_types),
        "maxAge": _seconds(max_age),
        "within": _seconds(within),
        "onLate": on_late,
        "overrideWindows": override_windows,
    }


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the API."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    key: str = ""

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Return the call as a request of an httpx client."""
        headers = {"Prefer": WAIT} | ({"Idempotency-Key": self.key} if self.key else {})
        return http.build_request(self.method, self.path, json=self.body, headers=headers)


Response = httpx.Response | httpx.TransportError
Steps = Generator[Call | timedelta, Response | None, dict[str, Any]]
"""Yields calls to make and times to wait, is sent the response to each call, and returns the last body."""


def run(steps: Steps, send: Callable[[Call], Response]) -> dict[str, Any]:
    """Make the calls, one after another, and wait between them. Return the last body."""
    response: Response | None = None
    while True:
        try:
            step = steps.send(response)
        except StopIteration as end:
            return dict(end.value)
        response = send(step) if isinstance(step, Call) else None
        if isinstance(step, timedelta):
            time.sleep(step.total_seconds())


def ensured(
    company_id: str, asked: Mapping[str, Any], key: str | None = None, patience: timedelta | None = None
) -> Steps:
    """Ask for fresh data, then for the state of the request until it is done.

    The call that asks is repeated for up to `patience`, by default `KEEP_TRYING`.
    """
    path = f"/companies/{quote(company_id, safe='')}/ensure-fresh"
    status = yield from _answered(Call("POST", path, asked, key or uuid4().hex), patience or KEEP_TRYING)
    while not status["done"]:
        yield BETWEEN_CALLS
        deadline = datetime.fromisoformat(status["deadline"])
        left = max(deadline - datetime.now(deadline.tzinfo), timedelta(0))
        status = yield from _answered(Call("GET", f"{path}/{status['id']}"), left + KEEP_TRYING)
    return status


def freshness(company_id: str) -> Steps:
    """Ask how fresh the data of a company is."""
    return _answered(Call("GET", f"/companies/{quote(company_id, safe='')}/freshness"), KEEP_TRYING)


def _answered(call: Call, patience: timedelta) -> Steps:
    """Make a call, repeat it for up to `patience` while it may succeed, and return the body."""
    give_up = time.monotonic() + patience.total_seconds()
    while True:
        response = yield call
        if isinstance(response, httpx.Response) and response.is_success:
            return dict(response.json())
        error, after = _failed(response)
        if call.method == "POST" and isinstance(response, httpx.Response) and "Location" in response.headers:
            # The request was accepted, and goes on whatever happened since.
            call, after = Call("GET", response.headers["Location"]), BETWEEN_CALLS
        if after is None or time.monotonic() + after.total_seconds() > give_up:
            raise error from (response if isinstance(response, httpx.TransportError) else None)
        yield after


def _failed(response: Response | None) -> tuple[FreshnessError, timedelta | None]:
    """Return the error of a response, and in how long the same call may succeed; `None` if it cannot."""
    if not isinstance(response, httpx.Response):
        return Unreachable(f"{type(response).__name__}: {response}"), SOON
    try:
        members = response.json()
    except ValueError:
        members = {}
    kind: type[Refused] = Unavailable if response.status_code >= 500 else KINDS.get(response.status_code, Refused)
    members = members if isinstance(members, dict) else {}
    if str(members.get("type", "")).endswith(":relink-needed"):
        kind = RelinkNeeded
    given = response.headers.get("Retry-After", "")
    may_end = response.status_code >= 500 or ("type" not in members and response.status_code == 429)
    after = timedelta(seconds=int(given)) if given.isdigit() else SOON if may_end else None
    return kind(response.status_code, members, after), after


def _seconds(duration: str | timedelta) -> str | float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


class SigV4(httpx.Auth):
    """Authentication with AWS Signature Version 4, for the service `execute-api`."""

    requires_request_body = True

    def __init__(self, api_url: str, session: boto3.Session | None) -> None:
        self._session = session or boto3.Session()
        match = _REGION.search(api_url)
        self._region = match[1] if match else self._session.region_name

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign a request with the session's credentials."""
        credentials = self._session.get_credentials()
        if credentials is None:
            raise FreshnessError("No AWS credentials: log in, or set AWS_PROFILE.")
        signed = AWSRequest(request.method, str(request.url), data=request.content)
        SigV4Auth(credentials.get_frozen_credentials(), "execute-api", self._region).add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request
