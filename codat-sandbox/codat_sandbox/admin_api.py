"""The sandbox's own API, under `/sandbox`: inspect its state, change it, and inject failures."""

from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codat_sandbox import responses
from codat_sandbox.codat_api import two_ids
from codat_sandbox.errors import BadRequestError, refusing
from codat_sandbox.model import Company, Connection, ConnectionStatus, DatasetStatus, RequestedBy, Truth
from codat_sandbox.platforms import PLATFORMS, DataType, Platform
from codat_sandbox.responses import Json
from codat_sandbox.sandbox import Sandbox
from codat_sandbox.settings import Settings
from codat_sandbox.stubs import StubResponse
from codat_sandbox.webhooks import Attempt


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class NewCompany(_Body):
    """The request body to add a company; `platforms` are names of platforms."""

    platforms: list[str] = Field(["Xero", "Plaid"], min_length=1)


class NewConnection(_Body):
    """The request body to add a connection; `platform` is the name of a platform."""

    platform: str


class ConnectionChange(_Body):
    """The request body to change a connection."""

    status: ConnectionStatus | None = None
    machine_online: bool | None = None
    platform_works: bool | None = None
    refuses_reads: bool | None = None
    one_time: Literal[True] | None = None


class PortalRefresh(_Body):
    """The request body of a refresh in Codat's portal: of one data type, or of all data if it is None."""

    data_type: DataType | None = None
    connection_id: str | None = None
    ends_in: DatasetStatus | None = Field(None, description="How the read of one data type ends, whatever it meets.")


class BooksChange(_Body):
    """The request body to change records in a company's books: of one data type, or of all if it is None."""

    data_type: DataType | None = None


class ConsumerChange(_Body):
    """The request body to enable or disable a webhook consumer, as Codat's portal can."""

    disabled: bool


_Model = TypeVar("_Model", bound=BaseModel)


class AdminApi:
    """The sandbox's own operations."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        company = "/sandbox/companies/{company_id}"
        connection = f"{company}/connections/{{connection_id}}"
        consumer = "/sandbox/webhooks/{webhook_id}"
        return [
            Route("/sandbox/state", self._state),
            Route("/sandbox/calls", self._calls),
            Route("/sandbox/settings", self._settings),
            Route("/sandbox/settings", self._change_settings, methods=["PATCH"]),
            Route("/sandbox/reset", self._reset, methods=["POST"]),
            Route("/sandbox/stubs", self._add_stub, methods=["POST"]),
            Route("/sandbox/companies", self._add_company, methods=["POST"]),
            Route(f"{company}/refresh", self._refresh, methods=["POST"]),
            Route(f"{company}/books", self._change_books, methods=["POST"]),
            Route(f"{company}/connections", self._add_connection, methods=["POST"]),
            Route(connection, self._change_connection, methods=["PATCH"]),
            Route("/sandbox/webhooks/attempts", self._attempts),
            Route(consumer, self._change_consumer, methods=["PATCH"]),
            Route(f"{consumer}/secrets", self._secrets),
            Route(f"{consumer}/rotate", self._rotate, methods=["POST"]),
        ]

    async def _state(self, _request: Request) -> Response:
        now = self._sandbox.now()
        return JSONResponse(
            {
                "now": responses.time(now),
                "quota": self._sandbox.quota,
                "quotaRemaining": self._sandbox.limits.remaining(self._sandbox.quota, now),
                "feeds": [_feed(truth) for truth in self._sandbox.backend.truth(now)],
            }
        )

    async def _calls(self, _request: Request) -> Response:
        return JSONResponse(dict(self._sandbox.calls))

    async def _settings(self, _request: Request) -> Response:
        return JSONResponse(self._sandbox.settings.model_dump(mode="json"))

    async def _change_settings(self, request: Request) -> Response:
        settings = await self._settings_with(request)
        self._sandbox.do(lambda codat, now: codat.change_settings(settings, now))
        return await self._settings(request)

    async def _reset(self, request: Request) -> Response:
        self._sandbox.reset(await self._settings_with(request))
        return await self._settings(request)

    async def _add_stub(self, request: Request) -> Response:
        stub = await _body(request, StubResponse)
        self._sandbox.stubs.add(stub)
        return JSONResponse(stub.model_dump(mode="json", by_alias=True), status_code=201)

    async def _add_company(self, request: Request) -> Response:
        new = await _body(request, NewCompany)
        platforms = [_platform(name) for name in new.platforms]
        company = self._sandbox.do(lambda codat, now: codat.add_company(platforms, now))
        return JSONResponse(self._company(company), status_code=201)

    async def _refresh(self, request: Request) -> Response:
        refresh = await _body(request, PortalRefresh)
        company_id, data_type = request.path_params["company_id"], refresh.data_type
        if data_type is None:
            self._sandbox.do(lambda codat, now: codat.queue_all(company_id, now, RequestedBy.PORTAL))
        else:
            of_portal = refresh.connection_id, RequestedBy.PORTAL, refresh.ends_in
            self._sandbox.do(lambda codat, now: codat.queue(company_id, data_type, now, *of_portal))
        return Response(status_code=204)

    async def _change_books(self, request: Request) -> Response:
        change = await _body(request, BooksChange)
        self._sandbox.backend.change_books(request.path_params["company_id"], change.data_type)
        return Response(status_code=204)

    async def _add_connection(self, request: Request) -> Response:
        new = await _body(request, NewConnection)
        company_id, platform = request.path_params["company_id"], _platform(new.platform)
        connection = self._sandbox.do(lambda codat, now: codat.add_connection(company_id, platform, now))
        return JSONResponse(self._connection(company_id, connection), status_code=201)

    async def _change_connection(self, request: Request) -> Response:
        change = await _body(request, ConnectionChange)
        status, ids = change.status, two_ids(request)
        changes = change.model_dump(exclude={"status"}, exclude_none=True)
        connection = self._sandbox.do(lambda codat, now: codat.change_connection(*ids, now, **changes))
        if status is not None:
            connection = self._sandbox.do(lambda codat, now: codat.set_connection_status(*ids, status, now))
        return JSONResponse(self._connection(request.path_params["company_id"], connection))

    def _company(self, company: Company) -> Json:
        return responses.company(company, self._sandbox.settings.links)

    def _connection(self, company_id: str, connection: Connection) -> Json:
        return responses.connection(self._sandbox.backend.company(company_id), connection, self._sandbox.settings.links)

    async def _attempts(self, _request: Request) -> Response:
        return JSONResponse([_attempt(attempt) for attempt in self._sandbox.webhooks.attempts])

    async def _change_consumer(self, request: Request) -> Response:
        change = await _body(request, ConsumerChange)
        consumer = self._sandbox.webhooks.consumer(request.path_params["webhook_id"])
        consumer.disabled = change.disabled
        consumer.failing_since = None
        return Response(status_code=204)

    async def _secrets(self, request: Request) -> Response:
        consumer = self._sandbox.webhooks.consumer(request.path_params["webhook_id"])
        return JSONResponse({"secrets": consumer.secrets})

    async def _rotate(self, request: Request) -> Response:
        consumer = self._sandbox.webhooks.rotate_secret(request.path_params["webhook_id"])
        return JSONResponse({"secrets": consumer.secrets})

    async def _settings_with(self, request: Request) -> Settings:
        """Return the current settings with the changes of the request body."""
        changes = await _body(request, RootModel[dict[str, object]])
        with refusing():
            return Settings.model_validate({**self._sandbox.settings.model_dump(), **changes.root})


async def _body(request: Request, model: type[_Model]) -> _Model:
    with refusing():
        return model.model_validate_json(await request.body() or b"{}")


def _platform(name: str) -> Platform:
    try:
        return PLATFORMS[name]
    except KeyError:
        raise BadRequestError(f"Platform {name!r} does not exist. Use one of: {', '.join(PLATFORMS)}") from None


def _feed(truth: Truth) -> Json:
    latest, successful = truth.latest, truth.latest_successful
    return {
        "companyId": truth.company.id,
        "companyName": truth.company.name,
        "connectionId": truth.connection.id,
        "connectionStatus": truth.connection.status,
        "platformName": truth.connection.platform.name,
        "dataType": truth.data_type,
        "lastSuccessfulSync": responses.time_or_null(successful.completed if successful else None),
        "currentStatus": latest.status if latest else None,
        "latestSyncId": latest.id if latest else None,
        "requestedBy": latest.requested_by if latest else None,
        "isRunning": latest is not None and latest.is_running,
        "changesPerDay": truth.changes_per_day,
        "canBecomeFresh": truth.can_become_fresh,
        "obstacle": truth.obstacle,
    }


def _attempt(attempt: Attempt) -> Json:
    return {
        "messageId": attempt.message_id,
        "consumerId": attempt.consumer_id,
        "eventType": attempt.event_type,
        "at": responses.time(attempt.at),
        "number": attempt.number,
        "outcome": attempt.outcome,
        "wasDelivered": attempt.was_delivered,
    }
