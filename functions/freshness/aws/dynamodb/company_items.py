"""The items of one company in all tables, and the tombstones of companies that were erased."""

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256

from freshness.aws.dynamodb.control import control_key
from freshness.aws.dynamodb.item_codec import Item, deleted_partition, readable
from freshness.aws.dynamodb.table import Table
from freshness.domain.times import sortable


class CompanyItems:
    """The items of companies in all tables. Only an operator's tools delete them: that scans a table."""

    def __init__(self, companies: Table, feeds: Table, datasets: Table, control: Table) -> None:
        self._companies = companies
        self._feeds = feeds
        self._datasets = datasets
        self._control = control

    def is_erased(self, company_id: str) -> bool:
        return self._control.get(_tombstone(company_id), consistent=True) is not None

    def put_tombstone(self, company_id: str, now: datetime) -> None:
        """Record that a company was erased, by a hash of its id, so that nothing is recorded of it again."""
        self._control.put_always(_tombstone(company_id) | {"at": sortable(now)})

    def read(self, company_id: str) -> dict[str, list[Item]]:
        """Return all items of a company, by the kind of table."""
        found: dict[str, list[Item]] = {}
        for kind, _, _, item in self._items(company_id):
            found.setdefault(kind, []).append(readable(item))
        return found

    def delete(self, company_id: str) -> int:
        """Delete all items of a company, and return how many there were."""
        deleted = 0
        for _, table, key, item in self._items(company_id):
            table.delete({name: item[name] for name in key})
            deleted += 1
        return deleted

    def _items(self, company_id: str) -> Iterator[tuple[str, Table, tuple[str, ...], Item]]:
        """Yield each item with the kind of its table, the table, and the names of its key."""
        if item := self._companies.get({"company_id": company_id}, consistent=True):
            yield "company", self._companies, ("company_id",), item
        for partition in (company_id, deleted_partition(company_id)):
            for item in list(self._feeds.partition("company_id", partition, consistent=True)):
                yield "feeds", self._feeds, ("company_id", "feed"), item
        for item in list(self._datasets.partition("company_id", company_id, consistent=True)):
            yield "datasets", self._datasets, ("company_id", "dataset_id"), item
        # Requests are about a company; leases have its id in their name.
        for item in list(self._control.scan()):
            if item.get("company_id") == company_id or company_id in item["name"]:
                yield "control", self._control, ("name",), item


def _tombstone(company_id: str) -> Item:
    return control_key(f"erased {sha256(company_id.encode()).hexdigest()}")
