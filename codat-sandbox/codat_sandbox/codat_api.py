"""Codat's HTTP API. Each route has the operation id of Codat's OpenAPI description as its name."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Annotated, Literal, NoReturn, TypeVar
from uuid import NAMESPACE_URL, uuid4, uuid5

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codat_sandbox import query, responses
from codat_sandbox.backend import CodatBackend
from codat_sandbox.companies import CompanyDetails
from codat_sandbox.errors import BadRequestError, NotFoundError, NotModelledError, refusing
from codat_sandbox.model import Company, Connection, ConnectionStatus
from codat_sandbox.not_modelled import NOT_MODELLED
from codat_sandbox.platforms import CUSTOM, PLATFORMS, PLATFORMS_BY_KEY, DataType
from codat_sandbox.responses import Json
from codat_sandbox.sandbox import Sandbox
from codat_sandbox.webhooks import Consumer

Endpoint = Callable[[Request], Awaitable[Response]]

_MAX_PAGE_SIZE = 5000
_COMPANY_PROPERTIES = ("id", "name", "lastSync", "created", "description", "createdByUserName")
_CONNECTION_PROPERTIES = ("id", "integrationKey", "sourceType", "platformName", "status", "lastSync", "created")
_INTEGRATION_PROPERTIES = ("key", "name", "enabled", "sourceId", "sourceType", "integrationId", "isOfflineConnector")
_DATASET_PROPERTIES = (
    *("id", "companyId", "connectionId", "dataType", "status"),
    *("errorMessage", "requested", "completed", "progress"),
)


class NewConsumer(BaseModel):
    """The request body of create-webhook-consumer."""

    model_config = ConfigDict(alias_generator=to_camel)

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^/\s]+")]
    event_types: list[str] = []
    company_tags: Annotated[list[Annotated[str, StringConstraints(max_length=128)]], Field(max_length=10)] | None = None
    disabled: bool | None = False


class NewConnection(BaseModel):
    """The request body of create-connection."""

    model_config = ConfigDict(alias_generator=to_camel)

    platform_key: str


_NEW_CONNECTION: TypeAdapter[NewConnection | str] = TypeAdapter(NewConnection | str)
"""Codat's description has an object; its guide and its older clients send only the key."""


class StatusChange(BaseModel):
    """The request body of unlink-connection."""

    status: Literal[ConnectionStatus.UNLINKED]


class ProductRefresh(BaseModel):
    """The request body of refresh-product-data."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    data_types: list[str] | None = None


_Model = TypeVar("_Model", bound=BaseModel)


class CodatApi:
    """Codat's operations, performed on a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    @property
    def _backend(self) -> CodatBackend:
        return self._sandbox.backend

    def routes(self) -> list[Route]:
        company = "/companies/{company_id}"
        connection = f"{company}/connections/{{connection_id}}"
        product = f"{company}/products/{{product}}"
        return [
            _route("list-companies", "GET /companies", self._list_companies),
            _route("create-company", "POST /companies", self._create_company),
            _route("get-company", f"GET {company}", self._get_company),
            _route("update-company", f"PATCH {company}", self._update_company),
            _route("delete-company", f"DELETE {company}", self._delete_company),
            _route("list-connections", f"GET {company}/connections", self._list_connections),
            _route("create-connection", f"POST {company}/connections", self._create_connection),
            _route("get-connection", f"GET {connection}", self._get_connection),
            _route("unlink-connection", f"PATCH {connection}", self._unlink_connection),
            _route("delete-connection", f"DELETE {connection}", self._delete_connection),
            _route("refresh-company-data", f"POST {company}/data/all", self._refresh_company),
            _route("refresh-data-type", f"POST {company}/data/queue/{{data_type}}", self._refresh_data_type),
            _route(
                "refresh-custom-data-type",
                f"POST {connection}/data/queue/custom/{{identifier}}",
                self._refresh_custom_data_type,
            ),
            _route("refresh-product-data", f"POST {product}/refresh", self._refresh_product),
            _route("add-product", f"PUT {product}", self._add_product),
            _route("remove-product", f"DELETE {product}", self._remove_product),
            _route("get-company-data-status", f"GET {company}/dataStatus", self._data_status),
            _route("list-pull-operations", f"GET {company}/data/history", self._list_pull_operations),
            _route("get-pull-operation", f"GET {company}/data/history/{{dataset_id}}", self._get_pull_operation),
            _route("get-read-validation-results", f"GET {company}/sync/{{dataset_id}}/validation", self._validation),
            _route("list-webhook-consumers", "GET /webhooks", self._list_consumers),
            _route("create-webhook-consumer", "POST /webhooks", self._create_consumer),
            _route("delete-webhook-consumer", "DELETE /webhooks/{webhook_id}", self._delete_consumer),
            _route("list-integrations", "GET /integrations", self._list_integrations),
            _route("get-integration", "GET /integrations/{key}", self._get_integration),
            _route("get-profile", "GET /profile", self._profile),
            _route("get-profile-syncSettings", "GET /profile/syncSettings", self._profile_sync_settings),
            _route("get-company-syncSettings", f"GET {company}/syncSettings", self._company_sync_settings),
        ]

    def other_routes(self) -> list[Route]:
        """Return the routes of Codat's other operations, which answer that the sandbox does not model them."""
        return [_route(name, call, _refusal(name, call)) for name, call in NOT_MODELLED.items()]

    async def _list_companies(self, request: Request) -> Response:
        companies = [self._listed(company) for company in self._backend.companies()]
        tags = request.query_params.get("tags")
        if tags:
            has_tags = query.parse(tags, "Tags")
            companies = [company for company in companies if has_tags(_tags(company))]
        return _page(request, companies, "Company", _COMPANY_PROPERTIES)

    async def _get_company(self, request: Request) -> Response:
        return JSONResponse(self._company(self._backend.company(request.path_params["company_id"])))

    async def _create_company(self, request: Request) -> Response:
        details = await _body(request, CompanyDetails)
        if details.name is None:
            raise BadRequestError("The request body is not valid: it has no name")
        return JSONResponse(self._company(self._sandbox.do(lambda codat, now: codat.create_company(details, now))))

    async def _update_company(self, request: Request) -> Response:
        details = await _body(request, CompanyDetails)
        return JSONResponse(self._company(self._backend.update_company(request.path_params["company_id"], details)))

    async def _delete_company(self, request: Request) -> Response:
        self._sandbox.do(lambda codat, now: codat.delete_company(request.path_params["company_id"], now))
        return Response(status_code=204)

    async def _list_connections(self, request: Request) -> Response:
        company = self._backend.company(request.path_params["company_id"])
        connections = [self._connection(company, connection) for connection in company.connections]
        return _page(request, connections, "DataConnection", _CONNECTION_PROPERTIES)

    async def _get_connection(self, request: Request) -> Response:
        company_id, connection_id = two_ids(request)
        connection = self._backend.connection(company_id, connection_id)
        return JSONResponse(self._connection(self._backend.company(company_id), connection))

    async def _create_connection(self, request: Request) -> Response:
        company_id = request.path_params["company_id"]
        with refusing():
            new: NewConnection | str = _NEW_CONNECTION.validate_json(await request.body())
        key = new if isinstance(new, str) else new.platform_key
        platform = PLATFORMS_BY_KEY.get(key)
        if platform is None:
            raise BadRequestError(f"Integration {key} does not exist")
        connection = self._sandbox.do(lambda codat, now: codat.add_connection(company_id, platform, now))
        return JSONResponse(self._connection(self._backend.company(company_id), connection))

    async def _unlink_connection(self, request: Request) -> Response:
        change = await _body(request, StatusChange)
        ids = company_id, _ = two_ids(request)
        connection = self._sandbox.do(lambda codat, now: codat.set_connection_status(*ids, change.status, now))
        return JSONResponse(self._connection(self._backend.company(company_id), connection))

    async def _delete_connection(self, request: Request) -> Response:
        self._sandbox.do(lambda codat, now: codat.delete_connection(*two_ids(request), now))
        return Response(status_code=200)

    def _company(self, company: Company) -> Json:
        connections = [self._connection(company, connection) for connection in company.connections]
        return responses.company(company, self._sandbox.settings.links) | {"dataConnections": connections}

    def _listed(self, company: Company) -> Json:
        body, listed = self._company(company), self._sandbox.settings.listed_connections
        if listed == "missing":
            del body["dataConnections"]
        elif listed != "all":
            body["dataConnections"] = [] if listed == "empty" else None
        return body

    def _connection(self, company: Company, connection: Connection) -> Json:
        body = responses.connection(company, connection, self._sandbox.settings.links)
        if self._sandbox.settings.one_time_links:
            body["linkUrl"] = f"{body['linkUrl']}?otp={uuid4().hex}"
        return body

    async def _refresh_company(self, request: Request) -> Response:
        self._sandbox.do(lambda codat, now: codat.queue_all(request.path_params["company_id"], now))
        return Response(status_code=204)

    async def _refresh_data_type(self, request: Request) -> Response:
        company_id, data_type = request.path_params["company_id"], _data_type(request.path_params["data_type"])
        connection_id = request.query_params.get("connectionId")
        dataset = self._sandbox.do(lambda codat, now: codat.queue(company_id, data_type, now, connection_id))
        return JSONResponse(responses.pull_operation(dataset))

    async def _refresh_custom_data_type(self, request: Request) -> Response:
        company_id, connection_id, identifier = request.path_params.values()
        data_type = f"{CUSTOM}{identifier}"
        dataset = self._sandbox.do(lambda codat, now: codat.queue(company_id, data_type, now, connection_id))
        return JSONResponse(responses.pull_operation(dataset))

    async def _refresh_product(self, request: Request) -> Response:
        with refusing():
            body = ProductRefresh.model_validate_json(await request.body() or b"{}")
        ids = two_ids(request)
        self._sandbox.do(lambda codat, now: codat.refresh_product(*ids, body.data_types, now))
        return Response(status_code=202)

    async def _add_product(self, request: Request) -> Response:
        self._sandbox.do(lambda codat, now: codat.add_product(*two_ids(request), now))
        return Response(status_code=204)

    async def _remove_product(self, request: Request) -> Response:
        self._sandbox.do(lambda codat, now: codat.remove_product(*two_ids(request), now))
        return Response(status_code=204)

    async def _data_status(self, request: Request) -> Response:
        statuses = self._backend.data_status(request.path_params["company_id"], self._sandbox.now())
        return JSONResponse(responses.data_statuses(statuses))

    async def _list_pull_operations(self, request: Request) -> Response:
        datasets = self._backend.history(request.path_params["company_id"], self._sandbox.now())
        operations = [responses.pull_operation(dataset) for dataset in datasets]
        return _page(request, operations, "Dataset", _DATASET_PROPERTIES)

    async def _get_pull_operation(self, request: Request) -> Response:
        dataset = self._backend.dataset(*two_ids(request), self._sandbox.now())
        return JSONResponse(responses.pull_operation(dataset))

    async def _validation(self, request: Request) -> Response:
        dataset = self._backend.dataset(*two_ids(request), self._sandbox.now())
        return JSONResponse(responses.validation(dataset))

    async def _list_integrations(self, request: Request) -> Response:
        integrations = [responses.integration(platform) for platform in PLATFORMS.values()]
        return _page(request, integrations, "Integration", _INTEGRATION_PROPERTIES)

    async def _get_integration(self, request: Request) -> Response:
        key = request.path_params["key"]
        if key not in PLATFORMS_BY_KEY:
            raise NotFoundError("Integration", key)
        return JSONResponse(responses.integration(PLATFORMS_BY_KEY[key]))

    async def _list_consumers(self, _request: Request) -> Response:
        return JSONResponse({"results": [_consumer(consumer) for consumer in self._sandbox.webhooks.consumers()]})

    async def _create_consumer(self, request: Request) -> Response:
        new = await _body(request, NewConsumer)
        consumer = self._sandbox.webhooks.add_consumer(
            new.url, new.event_types, new.company_tags or [], disabled=bool(new.disabled)
        )
        return JSONResponse(_consumer(consumer), status_code=201)

    async def _delete_consumer(self, request: Request) -> Response:
        self._sandbox.webhooks.delete_consumer(request.path_params["webhook_id"])
        return Response(status_code=204)

    async def _profile(self, _request: Request) -> Response:
        return JSONResponse({"name": "Codat sandbox", "redirectUrl": "https://example.com"})

    async def _profile_sync_settings(self, _request: Request) -> Response:
        client_id = str(uuid5(NAMESPACE_URL, f"client-{self._sandbox.settings.seed}"))
        return JSONResponse({"clientId": client_id, **self._sync_settings(overrides_defaults=True)})

    async def _company_sync_settings(self, request: Request) -> Response:
        company = self._backend.company(request.path_params["company_id"])
        return JSONResponse({"companyId": company.id, **self._sync_settings(overrides_defaults=False)})

    def _sync_settings(self, *, overrides_defaults: bool) -> Json:
        settings = responses.sync_settings(self._sandbox.settings.sync_schedule)
        return {"settings": settings, "overridesDefaults": overrides_defaults}


def _route(name: str, call: str, endpoint: Endpoint) -> Route:
    method, path = call.split(" ")
    return Route(path, endpoint, methods=[method], name=name)


def _refusal(name: str, call: str) -> Endpoint:
    """Return an endpoint that refuses calls of an operation that the sandbox does not model."""

    async def refuse(_request: Request) -> NoReturn:
        raise NotModelledError(name, call)

    return refuse


def two_ids(request: Request) -> tuple[str, str]:
    """Return the two ids in the path of a request, such as those of a company and its connection."""
    first, second = request.path_params.values()
    return first, second


async def _body(request: Request, model: type[_Model]) -> _Model:
    with refusing():
        return model.model_validate_json(await request.body())


def _data_type(key: str) -> DataType:
    try:
        return DataType(key)
    except ValueError:
        raise BadRequestError(f"Data type [{key}] does not exist") from None


def _tags(company: Json) -> Mapping[str, object]:
    tags = company["tags"]
    return tags if isinstance(tags, dict) else {}


def _consumer(consumer: Consumer) -> Json:
    return {
        "id": consumer.id,
        "url": consumer.url,
        "disabled": consumer.disabled,
        "eventTypes": consumer.event_types,
        "companyTags": consumer.company_tags,
    }


def _page(request: Request, items: Sequence[Json], kind: str, properties: Collection[str]) -> Response:
    """Return the requested page of `items`, filtered and ordered by the query parameters of `request`."""
    parameters = request.query_params
    if parameters.get("query"):
        matches = query.parse(parameters["query"], kind, properties)
        items = [item for item in items if matches(item)]
    if parameters.get("orderBy"):
        items = query.order(items, parameters["orderBy"], kind, properties)
    kept = {name: parameters[name] for name in ("query", "orderBy", "tags") if parameters.get(name)}
    return JSONResponse(
        responses.page(
            request.url.path,
            items,
            _positive(request, "page", default=1),
            _positive(request, "pageSize", default=100, maximum=_MAX_PAGE_SIZE),
            kept,
        )
    )


def _positive(request: Request, name: str, *, default: int, maximum: int | None = None) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or int(text) < 1 or (maximum is not None and int(text) > maximum):
        limit = "1 or more" if maximum is None else f"from 1 to {maximum}"
        raise BadRequestError(f"{name} must be an integer, {limit}; got {text!r}")
    return int(text)
