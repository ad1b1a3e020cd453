"""The table of datasets that have ended. While a dataset is in flight, its feed holds what is known of it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from freshness.aws.item_codec import dataset_from, dataset_item
from freshness.aws.table import Table
from freshness.domain.dataset import Dataset


class Datasets:
    """The repository of datasets' records."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, company_id: str, dataset_id: str) -> Dataset | None:
        """Return one record, if it is still kept."""
        item = self._table.get({"company_id": company_id, "dataset_id": dataset_id})
        return None if item is None else dataset_from(item)

    def of_company(self, company_id: str) -> list[Dataset]:
        """Return all records of a company that are still kept."""
        return [dataset_from(item) for item in self._table.partition("company_id", company_id)]

    def scan(self) -> Iterator[Dataset]:
        """Yield every record, for an operator's tools: no function has the permission to scan."""
        return (dataset_from(item) for item in self._table.scan())

    def merge(self, datasets: Iterable[Dataset]) -> None:
        """Write records, each merged with the one that there is. To write those that are new takes one call."""
        by_key: dict[tuple[str, str], Dataset] = {}
        for dataset in datasets:
            key = dataset.company_id, dataset.dataset_id
            by_key[key] = by_key[key].merge(dataset) if key in by_key else dataset
        records = list(by_key.values())
        written = self._table.put_new([dataset_item(replace(record, version=1)) for record in records])
        for record, is_written in zip(records, written, strict=True):
            if not is_written:
                self._merge_known(record)

    def _merge_known(self, dataset: Dataset) -> None:
        known = self.get(dataset.company_id, dataset.dataset_id) or dataset
        self._table.update(known, lambda known: known.merge(dataset), self._put, dataset_from)

    def _put(self, dataset: Dataset) -> Dataset:
        written = replace(dataset, version=dataset.version + 1)
        self._table.put(dataset_item(written), dataset.version)
        return written
