"""Lambda function behind the HTTP API: answer callers who need to know, or ensure, how fresh data is.

API Gateway verifies the signature of each call, and that the caller's policy allows the route.
"""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ValidationError

from freshness.app.ensure.accept import EnsureFresh, Progress, retry_after
from freshness.app.ensure.description import openapi
from freshness.app.ensure.models import LONGEST_WAIT, CompanyFreshness, EnsureFreshBody, RequestStatus
from freshness.app.ensure.problems import Problem, RelinkNeeded
from freshness.app.reading.queries import Queries
from freshness.app.services import Services
from freshness.aws.event_bus import NotPublished
from freshness.aws.table import ContentionError
from freshness.codat.client import Codat
from freshness.codat.errors import CodatError
from freshness.domain.company import Company
from freshness.domain.freshness_request import FeedState, FreshnessRequest

TIME_TO_ANSWER = timedelta(seconds=3)
"""How long before its timeout a call stops waiting."""
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\d{1,4})(?:$|[,;\s])")
_ASSUMED_ROLE = re.compile(r"(arn:[^:]*:sts::\d+:assumed-role/[^/]+)/.+")

logger = Logger(service="serve_api")

Event = dict[str, Any]
Response = dict[str, Any]


@logger.inject_lambda_context
def handler(event: Event, context: LambdaContext) -> Response:
    """Answer one call, in the format of API Gateway's HTTP API. Errors are `application/problem+json`."""
    try:
        return _ROUTES[event["routeKey"]](event, context)
    except Problem as problem:
        logger.info("A call was refused", extra={"status": problem.status, "kind": problem.kind})
        return _problem(problem)
    except (ContentionError, NotPublished) as error:
        return _problem(_contended(error))


def _ensure(event: Event, context: LambdaContext) -> Response:
    text = _text(event)
    body = _parsed(text)
    services = Services.deployed()
    ensure = EnsureFresh(services=services)
    company, account = ensure.company(event["pathParameters"]["companyId"])
    data_types = body.data_types or ensure.types_of_set(body.set_name or "", company)
    try:
        progress = ensure.accept(
            company,
            account,
            body.ask(data_types, services.clock()),
            caller=_caller(event),
            key=_header(event, "idempotency-key"),
            fingerprint=hashlib.sha256(json.dumps(json.loads(text), sort_keys=True).encode()).hexdigest()[:16],
        )
    except RelinkNeeded as problem:
        raise problem.with_links(asyncio.run(_links(services, company))) from None
    with _naming(progress.request):
        try:
            progress = asyncio.run(_advanced(ensure, progress, event, context))
        finally:
            ensure.answered(progress.request)
    return _status(services, progress, accepted=True)


def _request(event: Event, context: LambdaContext) -> Response:
    services = Services.deployed()
    ensure = EnsureFresh(services=services)
    progress = ensure.progress(ensure.load(event["pathParameters"]["id"]))
    try:
        progress = asyncio.run(_advanced(ensure, progress, event, context))
    except Problem as problem:
        # What Codat does not accept now, ticks queue later: the request's state is known all the same.
        logger.info("A request could not be advanced", extra={"reason": problem.detail})
    return _status(services, progress, accepted=False)


def _freshness(event: Event, context: LambdaContext) -> Response:  # noqa: ARG001 - every route has both
    services = Services.deployed()
    ensure = EnsureFresh(services=services)
    company, _ = ensure.company(event["pathParameters"]["companyId"])
    queries = Queries(services=services)
    return _model(200, CompanyFreshness.of(company, queries.company(company, services.clock())))


def _description(event: Event, context: LambdaContext) -> Response:  # noqa: ARG001 - every route has both
    return _response(200, json.dumps(openapi()), "application/json")


_ROUTES: dict[str, Callable[[Event, LambdaContext], Response]] = {
    "POST /companies/{companyId}/ensure-fresh": _ensure,
    "GET /ensure-fresh/{id}": _request,
    "GET /companies/{companyId}/freshness": _freshness,
    "GET /openapi.json": _description,
}


async def _advanced(ensure: EnsureFresh, progress: Progress, event: Event, context: LambdaContext) -> Progress:
    """Return the progress of a request after what it needs was queued, and after waiting as the caller prefers."""
    if progress.request.is_done:
        return progress
    services = ensure.services
    now = services.clock()
    known = progress.account.limits if progress.account else None
    ends_at = now + timedelta(milliseconds=context.get_remaining_time_in_millis()) - TIME_TO_ANSWER
    try:
        async with AsyncExitStack() as stack:
            opened: list[Codat] = []
            lock = asyncio.Lock()

            async def codat() -> Codat:
                async with lock:
                    if not opened:
                        opened.append(
                            await stack.enter_async_context(services.codat(ends_at, on_demand=True, known=known))
                        )
                return opened[0]

            client: Callable[[], Awaitable[Codat]] = codat
            try:
                progress = await ensure.wait(progress, min(now + _wait(event), ends_at), client)
            finally:
                services.recorder.write_collected()
                services.emit(services.tally)
                calls = sum(each.calls for each in opened)
                logger.info("Request advanced", extra={"tally": dict(services.tally), "codat_calls": calls})
    except ContentionError as error:
        # Only how many calls were made is not written then: the request goes on.
        logger.warning("The number of calls could not be written", extra={"error": str(error)})
    return progress


async def _links(services: Services, company: Company) -> dict[str, str]:
    """Return the links by which the customer authorises a company's connections again, read from Codat now.

    There are none if Codat cannot be called: those that it reported before may have expired.
    """
    try:
        async with services.codat(services.clock() + LONGEST_WAIT, on_demand=True) as codat:
            _, listed = await codat.company(company.company_id)
    except CodatError as error:
        logger.warning("Links could not be read", extra={"company_id": company.company_id, "error": str(error)})
        return {}
    return {each.id: each.link_url for each in listed.connections if each.link_url}


def _text(event: Event) -> str:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body)
    try:
        return base64.b64decode(body).decode()
    except ValueError:
        raise Problem(400, "malformed", "The body is not text in UTF-8.") from None


def _parsed(text: str) -> EnsureFreshBody:
    try:
        return EnsureFreshBody.model_validate_json(text)
    except ValidationError as error:
        reasons = error.errors(include_url=False, include_context=False, include_input=False)
        if any(reason["type"] == "json_invalid" for reason in reasons):
            raise Problem(400, "malformed", f"The body is not JSON: {reasons[0]['msg']}.") from None
        errors = [{"pointer": "/" + "/".join(map(str, reason["loc"])), "detail": reason["msg"]} for reason in reasons]
        detail = "; ".join(f"{each['pointer']}: {each['detail']}" for each in errors)
        raise Problem(422, "invalid", detail, extra={"errors": errors}) from None


def _header(event: Event, name: str) -> str:
    """Return a header, empty if it is missing. API Gateway passes names in lower case."""
    return str((event.get("headers") or {}).get(name, ""))


def _wait(event: Event) -> timedelta:
    """Return how long the caller prefers to wait, within what the HTTP API allows."""
    match = _WAIT.search(_header(event, "prefer"))
    return min(timedelta(seconds=int(match[1])), LONGEST_WAIT) if match else timedelta(0)


def _caller(event: Event) -> str:
    """Return who calls: the ARN of a user, or of a role without the name of its session, which differs by call."""
    try:
        arn = str(event["requestContext"]["authorizer"]["iam"]["userArn"])
    except (KeyError, TypeError):
        return ""
    match = _ASSUMED_ROLE.fullmatch(arn)
    return match[1] if match else arn


def _status(services: Services, progress: Progress, *, accepted: bool) -> Response:
    """Return the state of a request: with status 202 if it was accepted now and is not done."""
    headers, now = {}, services.clock()
    request = progress.request
    needs_person = any(result.state is FeedState.NEEDS_PERSON for result in request.results)
    links = asyncio.run(_links(services, progress.company)) if needs_person else {}
    if location := _location(request):
        headers["Location"] = location
    if not request.is_done:
        headers["Retry-After"] = str(retry_after(progress, now))
    return _model(200 if request.is_done or not accepted else 202, RequestStatus.of(progress, links, now), headers)


def _location(request: FreshnessRequest) -> str:
    """Return where a request is found, empty if it is not stored."""
    return f"/ensure-fresh/{request.request_id}" if request.version else ""


@contextmanager
def _naming(request: FreshnessRequest) -> Iterator[None]:
    """Name a request that was accepted in the problem with which its call ends."""
    try:
        yield
    except (ContentionError, NotPublished) as error:
        problem = _contended(error)
        problem.location = _location(request)
        raise problem from error
    except Problem as problem:
        problem.location = _location(request)
        raise


def _contended(error: Exception) -> Problem:
    logger.warning("A call could not be answered", extra={"error": str(error)})
    return Problem(503, "contended", "Too many callers at once. Repeat the call.", retry_after=1)


def _model(status: int, model: BaseModel, headers: dict[str, str] | None = None) -> Response:
    return _response(status, model.model_dump_json(by_alias=True), "application/json", headers)


def _problem(problem: Problem) -> Response:
    headers = {"Retry-After": str(problem.retry_after)} if problem.retry_after else {}
    if problem.location:
        headers["Location"] = problem.location
    return _response(problem.status, json.dumps(problem.body), "application/problem+json", headers)


def _response(status: int, body: str, media_type: str, headers: dict[str, str] | None = None) -> Response:
    return {"statusCode": status, "headers": {"Content-Type": media_type} | (headers or {}), "body": body}
