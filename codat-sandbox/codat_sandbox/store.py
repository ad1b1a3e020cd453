"""The sandbox's in-memory store of companies, connections, feeds and datasets."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from codat_sandbox.companies import NewCompany
from codat_sandbox.errors import NotFoundError
from codat_sandbox.feeds import Feed
from codat_sandbox.model import Company, Connection
from codat_sandbox.syncs import Sync


class Store:
    """Companies with their connections, feeds and syncs.

    Companies and connections are immutable and are replaced on a change. Feeds and syncs are changed in place. What
    takes an id raises `NotFoundError` if nothing has it.
    """

    def __init__(self) -> None:
        self.companies_added = 0
        """How many companies were ever added, deleted ones included."""
        self._companies: dict[str, Company] = {}
        self._feeds: dict[str, list[Feed]] = {}
        self._history: dict[str, list[Sync]] = {}
        self._syncs: dict[str, Sync] = {}
        self.active_companies = 0
        """How many companies have a linked connection."""

    def __contains__(self, company_id: str) -> bool:
        return company_id in self._companies

    def companies(self) -> Sequence[Company]:
        return list(self._companies.values())

    def company(self, company_id: str) -> Company:
        try:
            return self._companies[company_id]
        except KeyError:
            raise NotFoundError("Company", company_id) from None

    def connection(self, company_id: str, connection_id: str) -> Connection:
        for connection in self.company(company_id).connections:
            if connection.id == connection_id:
                return connection
        raise NotFoundError("Data connection", connection_id)

    def feeds(self, company_id: str, connection_id: str | None = None) -> Sequence[Feed]:
        self.company(company_id)
        feeds = self._feeds[company_id]
        return [feed for feed in feeds if connection_id is None or feed.connection_id == connection_id]

    def all_feeds(self) -> Iterator[Feed]:
        for feeds in self._feeds.values():
            yield from feeds

    def history(self, company_id: str) -> Sequence[Sync]:
        """Return the syncs of a company in the order in which they were requested."""
        self.company(company_id)
        return self._history[company_id]

    def sync(self, company_id: str, dataset_id: str) -> Sync:
        self.company(company_id)
        sync = self._syncs.get(dataset_id)
        if sync is None or sync.as_requested.company_id != company_id:
            raise NotFoundError("Dataset", dataset_id)
        return sync

    def add_company(self, new: NewCompany) -> None:
        company = new.company
        self.companies_added += 1
        self._companies[company.id] = company
        self.active_companies += company.is_active
        self._feeds[company.id] = list(new.feeds)
        self._history[company.id] = list(new.past)
        self._syncs.update((sync.as_requested.id, sync) for sync in new.past)

    def delete_company(self, company_id: str) -> Company:
        """Delete a company with its feeds and syncs, and return it as it was."""
        company = self.company(company_id)
        self.active_companies -= company.is_active
        del self._companies[company_id], self._feeds[company_id]
        for sync in self._history.pop(company_id):
            del self._syncs[sync.as_requested.id]
        return company

    def put(self, company: Company) -> Company:
        """Replace the company of the same id, and return it."""
        self.active_companies += company.is_active - self._companies[company.id].is_active
        self._companies[company.id] = company
        return company

    def add_connection(self, company_id: str, connection: Connection, feeds: Sequence[Feed]) -> None:
        """Add a connection with its feeds to a company."""
        company = self.company(company_id)
        self.put(replace(company, connections=(*company.connections, connection)))
        self._feeds[company_id] += feeds

    def put_connection(self, company_id: str, connection: Connection) -> None:
        """Replace the connection of the same id."""
        company = self.company(company_id)
        connections = tuple(connection if each.id == connection.id else each for each in company.connections)
        self.put(replace(company, connections=connections))

    def delete_connection(self, company_id: str, connection_id: str) -> None:
        """Delete a connection with its feeds; its datasets stay in the history."""
        company = self.company(company_id)
        self.put(replace(company, connections=tuple(each for each in company.connections if each.id != connection_id)))
        self._feeds[company_id] = [feed for feed in self._feeds[company_id] if feed.connection_id != connection_id]

    def add_sync(self, sync: Sync) -> None:
        dataset = sync.as_requested
        self._syncs[dataset.id] = sync
        self._history[dataset.company_id].append(sync)
