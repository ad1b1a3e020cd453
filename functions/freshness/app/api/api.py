"""The HTTP API: what each route takes, what it answers, and how it refuses.

`answer` turns an event into a response. Powertools finds the route, validates what was sent, and describes the API, all
from the types of the functions below. Errors are raised as `Problem`.
"""

import asyncio
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Header, Path
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.api.description import describe, responses
from freshness.app.api.invalid import invalid, invalid_fields
from freshness.app.api.models import LONGEST_WAIT, CompanyFreshness, EnsureFreshBody, RequestStatus
from freshness.app.api.routes import Route
from freshness.app.ensure.accept import EnsureFresh, Progress, retry_after
from freshness.app.ensure.problems import MEDIA_TYPE, Problem, RelinkNeeded
from freshness.app.services import Services
from freshness.aws.dynamodb.table import ContentionError
from freshness.aws.event_bus import NotPublished
from freshness.domain.audit import Actor
from freshness.domain.companies.company import Company
from freshness.domain.feeds.freshness_request import FeedState, FreshnessRequest

TIME_TO_ANSWER = timedelta(seconds=3)
"""A call stops waiting this long before its timeout."""
THROTTLED = frozenset(
    ("ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException", "Throttling")
)
"""AWS's error codes for too many calls."""
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\d{1,4})(?:$|[,;\s])")

CompanyId = Annotated[str, Path(alias="companyId", description="Codat's id of the company.")]
RequestId = Annotated[str, Path(alias="id", description="The id of the request.")]
Key = Annotated[
    str, Header(alias="Idempotency-Key", description="A key of the caller's own: a repeated call has its effect once.")
]
Prefer = Annotated[str, Header(description=f"`wait=N`: wait up to N seconds, {LONGEST_WAIT.seconds} at most.")]

logger = Logger(service="codat-freshness")


def answer(services: Callable[[], Services], event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one call, in the format of API Gateway's HTTP API. Errors are `application/problem+json`."""
    api.context.update(services=services, aws=context)
    # The body is read as JSON, whatever content type it has.
    headers = {**(event.get("headers") or {}), "content-type": "application/json"}
    return api.resolve({**event, "headers": headers}, context)


def _read_json(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "malformed", f"The body is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise invalid({"": "expected an object"})
    return body


api = APIGatewayHttpResolver(enable_validation=True, json_body_deserializer=_read_json)


def openapi() -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of the API."""
    return describe(api)


def _route(route: Route, described: dict[int, Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the function that answers a route. The API's description has its name and docstring."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        first, *words = function.__name__.split("_")
        rule = route.template.replace("{", "<").replace("}", ">")
        operation = first + "".join(map(str.title, words))
        return api.route(rule, route.method, summary=function.__doc__, operation_id=operation, responses=described)(
            function
        )

    return register


@_route(
    Route.ENSURE_FRESH,
    responses(
        RequestStatus,
        {200: "Everything is fresh, or the request is done.", 202: "The request was accepted."},
        problems=(400, 404, 409, 422, 429, 503),
    ),
)
def ensure_fresh(
    company_id: CompanyId, body: EnsureFreshBody, key: Key = "", prefer: Prefer = ""
) -> Response[RequestStatus]:
    """Ensure that data types of a company are as of a time or later."""
    services = _services()
    ensure = EnsureFresh(services=services)
    company, account = ensure.company(company_id)
    data_types = body.data_types or ensure.types_of_set(body.set_name or "", company)
    ask = body.ask(data_types, services.clock())
    asked = hashlib.sha256(body.model_dump_json(exclude_none=True).encode()).hexdigest()[:16]
    try:
        progress = ensure.accept(company, account, ask, actor=_actor(), key=key, fingerprint=asked)
    except RelinkNeeded as problem:
        raise problem.with_links(_links(services, company, problem.connection_ids)) from None
    with _naming(progress.request):
        try:
            progress = _waited(ensure, progress, prefer)
        finally:
            ensure.answered(progress.request)
    return _status(services, progress, accepted=True)


@_route(Route.GET_REQUEST, responses(RequestStatus, {200: "Its state."}, problems=(404, 503)))
def get_request(company_id: CompanyId, request_id: RequestId, prefer: Prefer = "") -> Response[RequestStatus]:
    """Get the state of a request."""
    services = _services()
    ensure = EnsureFresh(services=services)
    progress = ensure.progress(ensure.load(company_id, request_id))
    try:
        progress = _waited(ensure, progress, prefer)
    except (Problem, ContentionError, NotPublished, BotoCoreError, ClientError) as error:
        # What cannot be done now, ticks do later: the request's state is known all the same.
        logger.info("A request could not be advanced", extra={"reason": str(error)})
    return _status(services, progress, accepted=False)


@_route(Route.GET_FRESHNESS, responses(CompanyFreshness, {200: "Its data types."}, problems=(404, 503)))
def get_freshness(company_id: CompanyId) -> CompanyFreshness:
    """Get how fresh each data type of a company is."""
    # Imported here, as in `_links`: most calls ask for fresh data, and need neither.
    from freshness.app.reading.queries import Queries

    services = _services()
    company, account = EnsureFresh(services=services).company(company_id)
    return CompanyFreshness.of(company, Queries(services=services).company(company, services.clock(), account))


@_route(Route.GET_DESCRIPTION, responses(None, {200: "This description."}))
def get_description() -> dict[str, Any]:
    """Get this description."""
    return openapi()


def _refuse(problem: Problem) -> Response[str]:
    logger.info("A call was refused", extra={"status": problem.status, "kind": problem.kind})
    headers = {"Retry-After": str(problem.retry_after)} if problem.retry_after else {}
    if problem.location:
        headers["Location"] = problem.location
    return Response(problem.status, MEDIA_TYPE, json.dumps(problem.body), headers)


def _refuse_for_now(error: Exception) -> Response[str]:
    return _refuse(_temporary(error))


def _refuse_invalid(error: RequestValidationError) -> Response[str]:
    return _refuse(invalid_fields(error.errors()))


def _refuse_unreadable(_: Exception) -> Response[str]:
    return _refuse(Problem(400, "malformed", "The body is not text in UTF-8."))


def _refuse_unknown(_: Exception) -> Response[str]:
    return _refuse(Problem(404, "unknown-route", "The API has no such path. `GET /openapi.json` describes it."))


api.exception_handler(Problem)(_refuse)
api.exception_handler([ContentionError, NotPublished, BotoCoreError, ClientError])(_refuse_for_now)
api.exception_handler(RequestValidationError)(_refuse_invalid)
api.exception_handler([UnicodeDecodeError, binascii.Error])(_refuse_unreadable)
api.exception_handler(NotFoundError)(_refuse_unknown)


def _services() -> Services:
    services: Services = api.context["services"]()
    return services


def _waited(ensure: EnsureFresh, progress: Progress, prefer: str) -> Progress:
    """Wait for a request as long as the caller prefers and the HTTP API allows. Return its progress."""
    match = _WAIT.search(prefer)
    preferred = min(timedelta(seconds=int(match[1])), LONGEST_WAIT) if match else timedelta(0)
    remaining = timedelta(milliseconds=api.context["aws"].get_remaining_time_in_millis()) - TIME_TO_ANSWER
    return asyncio.run(ensure.wait(progress, preferred, remaining))


def _actor() -> Actor:
    """Return who calls, and from where. A direct invocation, as by the command line, may name anyone."""
    http = (api.current_event.raw_event.get("requestContext") or {}).get("http") or {}
    address = http.get("sourceIp")
    source = f"the API, from {address}" if address else "an invocation of serve_api"
    return Actor(who=_arn() or "someone who may invoke serve_api", source=source)


def _arn() -> str:
    """Return the caller's ARN, empty if the event has none."""
    try:
        return str(api.current_event.raw_event["requestContext"]["authorizer"]["iam"]["userArn"])
    except (KeyError, TypeError):
        return ""


def _links(services: Services, company: Company, connection_ids: Collection[str]) -> dict[str, str]:
    """Return the links of connections as Codat gives them now, by connection id; empty if they cannot be read."""
    from freshness.app.api.links import shared_links

    try:
        return asyncio.run(shared_links(services, company, connection_ids))
    except (ContentionError, BotoCoreError, ClientError) as error:
        logger.warning("Links could not be read", extra={"company_id": company.company_id, "error": str(error)})
        return {}


def _status(services: Services, progress: Progress, *, accepted: bool) -> Response[RequestStatus]:
    """Return the state of a request. The status is 202 if this call accepted it and it is not done."""
    headers, now = {}, services.clock()
    request = progress.request
    blocked = {each.connection_id for each in request.results if each.state is FeedState.NEEDS_PERSON}
    links = _links(services, progress.company, blocked) if blocked else {}
    if location := _location(request):
        headers["Location"] = location
    if not request.is_done:
        headers["Retry-After"] = str(retry_after(progress, now))
    status = 200 if request.is_done or not accepted else 202
    return Response(status, "application/json", RequestStatus.of(progress, links, now), headers)


def _location(request: FreshnessRequest) -> str:
    """Return the path of a request's state, empty if the request is not stored."""
    return Route.GET_REQUEST.path(request.company_id, request.request_id) if request.version else ""


@contextmanager
def _naming(request: FreshnessRequest) -> Iterator[None]:
    """Add the path of an accepted request to the problem that its call ends with."""
    try:
        yield
    except (ContentionError, NotPublished, BotoCoreError, ClientError) as error:
        problem = _temporary(error)
        problem.location = _location(request)
        raise problem from error
    except Problem as problem:
        problem.location = _location(request)
        raise


def _temporary(error: Exception) -> Problem:
    """Return the problem for an error that may pass. Raise an error of AWS that would only come again."""
    if isinstance(error, ClientError) and not _may_end(error):
        raise error
    logger.warning("A call could not be answered", extra={"error": str(error)})
    if isinstance(error, ContentionError):
        return Problem(503, "contended", "Too many callers at once. Repeat the call.", retry_after=1)
    return Problem(503, "aws-unavailable", "A service of AWS does not answer now. Repeat the call.", retry_after=5)


def _may_end(error: ClientError) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or error.response["Error"]["Code"] in THROTTLED
