"""The table of datasets: those that run, once their id is known, and those that have ended."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from freshness.aws.dynamodb.item_codec import dataset_from, dataset_item
from freshness.aws.dynamodb.repository import Repository
from freshness.aws.dynamodb.table import Table
from freshness.domain.datasets.dataset import Dataset

_KEY = ("company_id", "dataset_id")


class Datasets(Repository[Dataset]):
    def __init__(self, table: Table) -> None:
        super().__init__(table, dataset_from, dataset_item)

    def find(self, dataset_id: str, company_ids: Iterable[str]) -> Dataset | None:
        """Return the record of a dataset of one of these companies, if it is still kept."""
        keys = ({"company_id": company_id, "dataset_id": dataset_id} for company_id in company_ids)
        return next(map(dataset_from, self._table.get_many(keys)), None)

    def of_company(self, company_id: str) -> list[Dataset]:
        """Return all records of a company that are still kept."""
        return [dataset_from(item) for item in self._table.partition("company_id", company_id)]

    def start(self, datasets: Iterable[Dataset]) -> None:
        """Record running datasets that have no record yet, `STATEMENTS` by one call."""
        records = [replace(dataset, version=1) for dataset in datasets]
        if not records:
            return
        refusals = self._table.put_new([dataset_item(record) for record in records])
        for record, refusal in zip(records, refusals, strict=True):
            if refusal and not refusal.is_of_condition:
                self.update(replace(record, version=0), partial(Dataset.merge, other=record))

    def end(self, datasets: Iterable[Dataset]) -> None:
        """Record how datasets ended, `STATEMENTS` by one call, merged with the ends that are known already."""
        by_key: dict[tuple[str, str], Dataset] = {}
        for dataset in datasets:
            key = dataset.company_id, dataset.dataset_id
            by_key[key] = by_key[key].merge(dataset) if key in by_key else dataset
        records = list(by_key.values())
        refusals = self._table.put_over(
            [dataset_item(replace(record, version=2)) for record in records], _KEY, version=1, without="ended_at"
        )
        for record, refusal in zip(records, refusals, strict=True):
            if refusal:
                known = dataset_from(refusal.current) if refusal.current else record
                self.update(known, partial(Dataset.merge, other=record))
