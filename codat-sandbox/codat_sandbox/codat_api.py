"""Codat's HTTP API. Each route has the operation id of Codat's OpenAPI description as its name."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated
from uuid import NAMESPACE_URL, uuid4, uuid5

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codat_sandbox import query, responses
from codat_sandbox.errors import BadRequestError
from codat_sandbox.model import Company, Connection
from codat_sandbox.platforms import CUSTOM, DataType
from codat_sandbox.responses import Json
from codat_sandbox.sandbox import Sandbox
from codat_sandbox.webhooks import Consumer

_MAX_PAGE_SIZE = 5000
_COMPANY_PROPERTIES = ("id", "name", "lastSync", "created", "description", "createdByUserName")
_CONNECTION_PROPERTIES = ("id", "integrationKey", "sourceType", "platformName", "status", "lastSync", "created")
_DATASET_PROPERTIES = (
    "id",
    "companyId",
    "connectionId",
    "dataType",
    "status",
    "errorMessage",
    "requested",
    "completed",
    "progress",
)


class NewConsumer(BaseModel):
    """The request body of create-webhook-consumer."""

    model_config = ConfigDict(alias_generator=to_camel)

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^/\s]+")]
    event_types: list[str] = []
    company_tags: Annotated[list[Annotated[str, StringConstraints(max_length=128)]], Field(max_length=10)] | None = None
    disabled: bool | None = False


class ProductRefresh(BaseModel):
    """The request body of refresh-product-data."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    data_types: list[str] | None = None


class CodatApi:
    """Codat's operations, performed on a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes of all operations."""
        company = "/companies/{company_id}"
        return [
            Route("/companies", self._list_companies, name="list-companies"),
            Route(company, self._get_company, name="get-company"),
            Route(f"{company}/connections", self._list_connections, name="list-connections"),
            Route(f"{company}/connections/{{connection_id}}", self._get_connection, name="get-connection"),
            Route(f"{company}/data/all", self._refresh_company, methods=["POST"], name="refresh-company-data"),
            Route(
                f"{company}/data/queue/{{data_type}}",
                self._refresh_data_type,
                methods=["POST"],
                name="refresh-data-type",
            ),
            Route(
                f"{company}/connections/{{connection_id}}/data/queue/custom/{{identifier}}",
                self._refresh_custom_data_type,
                methods=["POST"],
                name="refresh-custom-data-type",
            ),
            Route(
                f"{company}/products/{{product}}/refresh",
                self._refresh_product,
                methods=["POST"],
                name="refresh-product-data",
            ),
            Route(f"{company}/products/{{product}}", self._add_product, methods=["PUT"], name="add-product"),
            Route(f"{company}/products/{{product}}", self._remove_product, methods=["DELETE"], name="remove-product"),
            Route(f"{company}/dataStatus", self._data_status, name="get-company-data-status"),
            Route(f"{company}/data/history", self._list_pull_operations, name="list-pull-operations"),
            Route(f"{company}/data/history/{{dataset_id}}", self._get_pull_operation, name="get-pull-operation"),
            Route("/webhooks", self._list_consumers, name="list-webhook-consumers"),
            Route("/webhooks", self._create_consumer, methods=["POST"], name="create-webhook-consumer"),
            Route("/webhooks/{webhook_id}", self._delete_consumer, methods=["DELETE"], name="delete-webhook-consumer"),
            Route("/profile", self._profile, name="get-profile"),
            Route("/profile/syncSettings", self._profile_sync_settings, name="get-profile-syncSettings"),
            Route(f"{company}/syncSettings", self._company_sync_settings, name="get-company-syncSettings"),
        ]

    async def _list_companies(self, request: Request) -> Response:
        companies = [self._company(company) for company in self._sandbox.backend.companies()]
        tags = request.query_params.get("tags")
        if tags:
            has_tags = query.parse(tags, "Tags")
            companies = [company for company in companies if has_tags(_tags(company))]
        return _page(request, companies, "Company", _COMPANY_PROPERTIES)

    async def _get_company(self, request: Request) -> Response:
        return JSONResponse(self._company(self._sandbox.backend.company(request.path_params["company_id"])))

    async def _list_connections(self, request: Request) -> Response:
        company = self._sandbox.backend.company(request.path_params["company_id"])
        connections = [self._connection(company, connection) for connection in company.connections]
        return _page(request, connections, "DataConnection", _CONNECTION_PROPERTIES)

    async def _get_connection(self, request: Request) -> Response:
        company = self._sandbox.backend.company(request.path_params["company_id"])
        connection = self._sandbox.backend.connection(company.id, request.path_params["connection_id"])
        return JSONResponse(self._connection(company, connection))

    def _company(self, company: Company) -> Json:
        connections = [self._connection(company, connection) for connection in company.connections]
        return responses.company(company) | {"dataConnections": connections}

    def _connection(self, company: Company, connection: Connection) -> Json:
        body = responses.connection(company, connection)
        if self._sandbox.settings.one_time_links:
            body["linkUrl"] = f"{body['linkUrl']}?otp={uuid4().hex}"
        return body

    async def _refresh_company(self, request: Request) -> Response:
        self._sandbox.backend.queue_all(request.path_params["company_id"], self._sandbox.now())
        self._sandbox.changed()
        return Response(status_code=204)

    async def _refresh_data_type(self, request: Request) -> Response:
        dataset = self._sandbox.backend.queue(
            request.path_params["company_id"],
            _data_type(request.path_params["data_type"]),
            self._sandbox.now(),
            connection_id=request.query_params.get("connectionId"),
        )
        self._sandbox.changed()
        return JSONResponse(responses.pull_operation(dataset))

    async def _refresh_custom_data_type(self, request: Request) -> Response:
        dataset = self._sandbox.backend.queue(
            request.path_params["company_id"],
            f"{CUSTOM}{request.path_params['identifier']}",
            self._sandbox.now(),
            connection_id=request.path_params["connection_id"],
        )
        self._sandbox.changed()
        return JSONResponse(responses.pull_operation(dataset))

    async def _refresh_product(self, request: Request) -> Response:
        try:
            body = ProductRefresh.model_validate_json(await request.body() or b"{}")
        except ValidationError as error:
            raise BadRequestError(f"The request body is not valid: {error}") from error
        self._sandbox.backend.refresh_product(
            request.path_params["company_id"], request.path_params["product"], body.data_types, self._sandbox.now()
        )
        self._sandbox.changed()
        return Response(status_code=202)

    async def _add_product(self, request: Request) -> Response:
        company_id, product = request.path_params["company_id"], request.path_params["product"]
        self._sandbox.backend.add_product(company_id, product, self._sandbox.now())
        self._sandbox.changed()
        return Response(status_code=204)

    async def _remove_product(self, request: Request) -> Response:
        company_id, product = request.path_params["company_id"], request.path_params["product"]
        self._sandbox.backend.remove_product(company_id, product, self._sandbox.now())
        self._sandbox.changed()
        return Response(status_code=204)

    async def _data_status(self, request: Request) -> Response:
        statuses = self._sandbox.backend.data_status(request.path_params["company_id"], self._sandbox.now())
        return JSONResponse(responses.data_statuses(statuses))

    async def _list_pull_operations(self, request: Request) -> Response:
        datasets = self._sandbox.backend.history(request.path_params["company_id"], self._sandbox.now())
        operations = [responses.pull_operation(dataset) for dataset in datasets]
        return _page(request, operations, "Dataset", _DATASET_PROPERTIES)

    async def _get_pull_operation(self, request: Request) -> Response:
        dataset = self._sandbox.backend.dataset(
            request.path_params["company_id"], request.path_params["dataset_id"], self._sandbox.now()
        )
        return JSONResponse(responses.pull_operation(dataset))

    async def _list_consumers(self, _request: Request) -> Response:
        return JSONResponse({"results": [_consumer(consumer) for consumer in self._sandbox.webhooks.consumers()]})

    async def _create_consumer(self, request: Request) -> Response:
        try:
            new = NewConsumer.model_validate_json(await request.body())
        except ValidationError as error:
            raise BadRequestError(f"The request body is not valid: {error}") from error
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
        company = self._sandbox.backend.company(request.path_params["company_id"])
        return JSONResponse({"companyId": company.id, **self._sync_settings(overrides_defaults=False)})

    def _sync_settings(self, *, overrides_defaults: bool) -> Json:
        settings = responses.sync_settings(self._sandbox.settings.sync_schedule)
        return {"settings": settings, "overridesDefaults": overrides_defaults}


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
