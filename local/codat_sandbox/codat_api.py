"""Codat's operations over HTTP. Each route is named as the operation is in Codat's description."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated
from uuid import NAMESPACE_URL, uuid5

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.codat_sandbox import answers, query
from local.codat_sandbox.answers import Json
from local.codat_sandbox.errors import BadRequestError
from local.codat_sandbox.platforms import DataType
from local.codat_sandbox.sandbox import Sandbox
from local.codat_sandbox.webhooks import Consumer

_MOST_A_PAGE = 5000
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
    """The body of create-webhook-consumer."""

    model_config = ConfigDict(alias_generator=to_camel)

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^/\s]+")]
    event_types: list[str] = []
    company_tags: Annotated[list[Annotated[str, StringConstraints(max_length=128)]], Field(max_length=10)] | None = None
    disabled: bool | None = False


class CodatApi:
    """Codat's operations on a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Where each operation is."""
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
            Route(f"{company}/dataStatus", self._data_status, name="get-company-data-status"),
            Route(f"{company}/data/history", self._list_pull_operations, name="list-pull-operations"),
            Route(f"{company}/data/history/{{dataset_id}}", self._get_pull_operation, name="get-pull-operation"),
            Route("/webhooks", self._list_consumers, name="list-webhook-consumers"),
            Route("/webhooks", self._create_consumer, methods=["POST"], name="create-webhook-consumer"),
            Route("/webhooks/{webhook_id}", self._delete_consumer, methods=["DELETE"], name="delete-webhook-consumer"),
            Route("/profile/syncSettings", self._profile_sync_settings, name="get-profile-syncSettings"),
            Route(f"{company}/syncSettings", self._company_sync_settings, name="get-company-syncSettings"),
        ]

    async def _list_companies(self, request: Request) -> Response:
        companies = [answers.company(company) for company in self._sandbox.world.companies()]
        tags = request.query_params.get("tags")
        if tags:
            has_tags = query.parse(tags, "Tags")
            companies = [company for company in companies if has_tags(_tags(company))]
        return _page(request, companies, "Company", _COMPANY_PROPERTIES)

    async def _get_company(self, request: Request) -> Response:
        return JSONResponse(answers.company(self._sandbox.world.company(request.path_params["company_id"])))

    async def _list_connections(self, request: Request) -> Response:
        company = self._sandbox.world.company(request.path_params["company_id"])
        connections = [answers.connection(company, connection) for connection in company.connections]
        return _page(request, connections, "DataConnection", _CONNECTION_PROPERTIES)

    async def _get_connection(self, request: Request) -> Response:
        company = self._sandbox.world.company(request.path_params["company_id"])
        connection = self._sandbox.world.connection(company.id, request.path_params["connection_id"])
        return JSONResponse(answers.connection(company, connection))

    async def _refresh_company(self, request: Request) -> Response:
        self._sandbox.world.queue_all(request.path_params["company_id"], self._sandbox.now())
        self._sandbox.changed()
        return Response(status_code=204)

    async def _refresh_data_type(self, request: Request) -> Response:
        dataset = self._sandbox.world.queue(
            request.path_params["company_id"],
            _data_type(request.path_params["data_type"]),
            self._sandbox.now(),
            connection_id=request.query_params.get("connectionId"),
        )
        self._sandbox.changed()
        return JSONResponse(answers.pull_operation(dataset))

    async def _data_status(self, request: Request) -> Response:
        statuses = self._sandbox.world.data_status(request.path_params["company_id"], self._sandbox.now())
        return JSONResponse(answers.data_statuses(statuses))

    async def _list_pull_operations(self, request: Request) -> Response:
        datasets = self._sandbox.world.history(request.path_params["company_id"], self._sandbox.now())
        operations = [answers.pull_operation(dataset) for dataset in datasets]
        return _page(request, operations, "Dataset", _DATASET_PROPERTIES)

    async def _get_pull_operation(self, request: Request) -> Response:
        dataset = self._sandbox.world.dataset(
            request.path_params["company_id"], request.path_params["dataset_id"], self._sandbox.now()
        )
        return JSONResponse(answers.pull_operation(dataset))

    async def _list_consumers(self, _request: Request) -> Response:
        return JSONResponse({"results": [_consumer(consumer) for consumer in self._sandbox.webhooks.consumers()]})

    async def _create_consumer(self, request: Request) -> Response:
        try:
            new = NewConsumer.model_validate_json(await request.body())
        except ValidationError as error:
            raise BadRequestError(f"The request made is not valid: {error}") from error
        consumer = self._sandbox.webhooks.add_consumer(
            new.url, new.event_types, new.company_tags or [], disabled=bool(new.disabled)
        )
        return JSONResponse(_consumer(consumer), status_code=201)

    async def _delete_consumer(self, request: Request) -> Response:
        self._sandbox.webhooks.delete_consumer(request.path_params["webhook_id"])
        return Response(status_code=204)

    async def _profile_sync_settings(self, _request: Request) -> Response:
        client_id = str(uuid5(NAMESPACE_URL, f"client-{self._sandbox.settings.seed}"))
        return JSONResponse({"clientId": client_id, **self._sync_settings(overrides_defaults=True)})

    async def _company_sync_settings(self, request: Request) -> Response:
        company = self._sandbox.world.company(request.path_params["company_id"])
        return JSONResponse({"companyId": company.id, **self._sync_settings(overrides_defaults=False)})

    def _sync_settings(self, *, overrides_defaults: bool) -> Json:
        settings = answers.sync_settings(self._sandbox.world.sync_settings())
        return {"settings": settings, "overridesDefaults": overrides_defaults}


def _data_type(key: str) -> DataType:
    try:
        return DataType(key)
    except ValueError:
        raise BadRequestError(f"Data type [{key}] is not one of Codat's") from None


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
    """The page that `request` asks for of `items`, filtered and ordered as it asks."""
    parameters = request.query_params
    if parameters.get("query"):
        matches = query.parse(parameters["query"], kind, properties)
        items = [item for item in items if matches(item)]
    if parameters.get("orderBy"):
        items = query.order(items, parameters["orderBy"], kind, properties)
    kept = {name: parameters[name] for name in ("query", "orderBy", "tags") if parameters.get(name)}
    return JSONResponse(
        answers.page(
            request.url.path,
            items,
            _positive(request, "page", default=1),
            _positive(request, "pageSize", default=100, most=_MOST_A_PAGE),
            kept,
        )
    )


def _positive(request: Request, name: str, *, default: int, most: int | None = None) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or int(text) < 1 or (most is not None and int(text) > most):
        limit = "1 or more" if most is None else f"from 1 to {most}"
        raise BadRequestError(f"{name} must be a whole number, {limit}: it is {text!r}")
    return int(text)
