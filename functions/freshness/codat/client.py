"""The operations of Codat's HTTP API that this project uses."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING
from uuid import UUID

from freshness.codat.errors import NotFound, UnsupportedDataType
from freshness.codat.http import HttpClient, Parameters
from freshness.codat.models import (
    CompanyListing,
    DataStatus,
    Listed,
    Page,
    Profile,
    PullOperation,
    SyncSetting,
    SyncSettings,
    WebhookConsumer,
    WebhookConsumers,
)
from freshness.codat.response_model import Readable
from freshness.codat.responses import path_of
from freshness.domain.data_types import custom_identifier

if TYPE_CHECKING:
    import httpx

PAGE_SIZE = 1000
HISTORY_PAGE_SIZE = 100
EMPTY_PAGES = 10
"""A list counts as ended after this many pages without an item, even if each links to a next one."""


class Codat(HttpClient):
    """A client for one API key. Every call raises `freshness.codat.errors.CodatError` if it fails."""

    async def companies(self, tags: str = "") -> AsyncGenerator[tuple[datetime, CompanyListing], None]:
        """Yield every company, or those with `tags` (`region=uk && team=x`), with the time at which Codat listed it.

        Pages are read as they are needed.
        """
        parameters: Parameters = {"pageSize": PAGE_SIZE, "orderBy": "created"}
        if tags:
            parameters["tags"] = tags
        async for response, company in self._pages("/companies", Page[CompanyListing], parameters):
            yield self._time(response), company

    async def company(self, company_id: str) -> tuple[datetime, CompanyListing]:
        """Return a company, and the time at which Codat returned it."""
        response = await self._get(path_of("companies", company_id))
        return self._time(response), self._read(response, CompanyListing)

    async def data_status(self, company_id: str) -> tuple[datetime, dict[str, DataStatus]]:
        """Return the data status of a company by data type, and the time at which Codat returned it.

        Data types that were never synced may be missing.
        """
        response = await self._get(path_of("companies", company_id, "dataStatus"))
        statuses = self._read(response, dict[str, Readable[DataStatus]])
        return self._time(response), {data_type: status for data_type, status in statuses.items() if status is not None}

    async def history(self, company_id: str) -> AsyncIterator[PullOperation]:
        """Yield the datasets of a company, newest first. Pages are read as they are needed."""
        parameters: Parameters = {"pageSize": HISTORY_PAGE_SIZE, "orderBy": "-requested"}
        path = path_of("companies", company_id, "data", "history")
        async for _, operation in self._pages(path, Page[PullOperation], parameters):
            yield operation

    async def dataset(self, company_id: str, dataset_id: str) -> PullOperation:
        """Return one dataset."""
        path = path_of("companies", company_id, "data", "history", dataset_id)
        return self._read(await self._get(path), PullOperation)

    async def queue(
        self, company_id: str, data_type: str, connection_id: str, key: UUID | None = None, *, on_demand: bool = False
    ) -> PullOperation:
        """Queue a refresh of a data type from one connection, and return the dataset, which names its connection.

        `key` is the idempotency key, and `on_demand` whether callers wait, as in `HttpClient._post`.
        """
        if identifier := custom_identifier(data_type):
            return await self._queue_custom(company_id, identifier, connection_id, key, on_demand=on_demand)
        parameters: Parameters = {"connectionId": connection_id}
        path = path_of("companies", company_id, "data", "queue", data_type)
        return self._read(await self._post(path, parameters, key=key, on_demand=on_demand), PullOperation)

    async def _queue_custom(
        self, company_id: str, identifier: str, connection_id: str, key: UUID | None, *, on_demand: bool
    ) -> PullOperation:
        """Queue a refresh of a custom data type. A 404 is raised as `UnsupportedDataType`: the connection lacks it."""
        path = path_of("companies", company_id, "connections", connection_id, "data", "queue", "custom", identifier)
        try:
            response = await self._post(path, key=key, on_demand=on_demand)
        except NotFound as error:
            raise UnsupportedDataType(
                error.call, error.message, at=error.at, status=error.status, correlation_id=error.correlation_id
            ) from error
        return self._read(response, PullOperation)

    async def queue_all(self, company_id: str, key: UUID | None = None) -> datetime:
        """Queue every data type that is fetched on first link, and return when, by Codat's clock."""
        return self._time(await self._post(path_of("companies", company_id, "data", "all"), key=key))

    async def refresh_product(
        self, company_id: str, product: str, data_types: Iterable[str], key: UUID | None = None
    ) -> datetime:
        """Queue data types of a custom product, and return when, by Codat's clock.

        Raises:
            freshness.codat.errors.AlreadyInProgress: a sync of the product runs already. The error names no dataset.
        """
        path = path_of("companies", company_id, "products", product, "refresh")
        body = {"dataTypes": sorted(data_types)}
        return self._time(await self._post(path, body=body, key=key))

    async def account(self) -> str:
        """Return the name of the account that the API key belongs to."""
        return self._read(await self._get("/profile"), Profile).name

    async def sync_settings(self) -> list[SyncSetting]:
        """Return the account's sync settings: Codat's own schedule."""
        settings = self._read(await self._get("/profile/syncSettings"), SyncSettings).settings
        return [setting for setting in settings if setting is not None]

    async def webhook_consumers(self) -> list[WebhookConsumer]:
        """Return every endpoint to which Codat sends webhooks."""
        consumers = self._read(await self._get("/webhooks"), WebhookConsumers).results
        return [consumer for consumer in consumers if consumer is not None]

    async def create_webhook_consumer(self, url: str, event_types: Iterable[str]) -> WebhookConsumer:
        """Create and return an endpoint: Codat sends events of these types to its URL."""
        body = {"url": url, "eventTypes": sorted(event_types)}
        return self._read(await self._post("/webhooks", body=body), WebhookConsumer)

    async def _pages(
        self, path: str, form: type[Page[Listed]], parameters: "Parameters"
    ) -> AsyncIterator[tuple["httpx.Response", Listed]]:
        """Yield the items of a list, each with the response it is from. An item that moves to the next page comes once.

        The list ends with a page that links to no next one, a page without new items, or `EMPTY_PAGES` empty pages in a
        row. A page has no new items if all are on the page before, or if it equals an earlier page. Only a hash is kept
        of each earlier page, because a list may be long.
        """
        before: dict[str, Listed] = {}
        seen: set[int] = set()
        empty = 0
        for number in count(1):
            response = await self._get(path, parameters | {"page": number})
            page = self._read(response, form)
            items = {item.id: item for item in page.results if item is not None}
            content = hash(tuple(items))
            new = items.keys() - before.keys() if content not in seen else set()
            for item_id, item in items.items():
                if item_id in new:
                    yield response, item
            empty = 0 if items else empty + 1
            if page.links.next is None or empty == EMPTY_PAGES or (items and not new):
                return
            if items:
                before = items
                seen.add(content)
