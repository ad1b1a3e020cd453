"""The table of companies, with indexes of when each is due for a check, and of those that need a relink."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from freshness.aws.dynamodb.control import Control, DispatchState
from freshness.aws.dynamodb.item_codec import SHARDS, company_from, company_item
from freshness.aws.dynamodb.repository import Repository
from freshness.aws.dynamodb.table import Table
from freshness.domain.companies.company import Company
from freshness.domain.times import sortable

DUE_FOR_CHECK = "due_for_check"
"""The index of companies by `check_at`."""
NEEDS_RELINK = "needs_relink"
"""The index of companies by `needs_relink_at`. That is in the future if a relink is due soon."""


class Companies(Repository[Company]):
    def __init__(self, table: Table) -> None:
        super().__init__(table, company_from, company_item)

    def get(self, company_id: str, *, consistent: bool = False) -> Company | None:
        item = self._table.get({"company_id": company_id}, consistent=consistent)
        return None if item is None else company_from(item)

    def get_with_account(self, company_id: str, control: Control) -> tuple[Company | None, DispatchState]:
        """Return one company, and the dispatch state of the account, by one call.

        Raises:
            ContentionError: they could not be read now.
        """
        account, items = control.account_with(self._table, [{"company_id": company_id}])
        return (company_from(items[0]) if items else None), account

    def get_many(self, company_ids: Iterable[str]) -> dict[str, Company]:
        """Return the companies that exist, by their ids."""
        items = self._table.get_many({"company_id": company_id} for company_id in company_ids)
        companies = map(company_from, items)
        return {company.company_id: company for company in companies}

    def due_for_check(self, now: datetime) -> Iterator[str]:
        """Yield the ids of the companies due for a check, longest due first."""
        return (key["company_id"] for key in self._table.due(DUE_FOR_CHECK, "check_at", now))

    def known_from(self, position: str) -> Iterator[tuple[str, str]]:
        """Yield position and id of each company that was not deleted, from a position in the index on.

        A company that is checked meanwhile moves, and may be left out.
        """
        for shard in SHARDS:
            for key in self._table.of_shard(DUE_FOR_CHECK, shard):
                if (here := f"{shard} {key['check_at']}") >= position:
                    yield here, key["company_id"]

    def first_ids(self, index: str, most: int) -> tuple[list[str], bool]:
        """Return ids of companies in an index, the earliest of each shard first, and whether these are all.

        There are `most` or fewer of each shard. All companies that were not deleted are in `DUE_FOR_CHECK`.
        """
        shards = [self._table.first_keys(index, shard, most) for shard in SHARDS]
        return [item["company_id"] for items, _ in shards for item in items], all(whole for _, whole in shards)

    def relinks(self, most: int, now: datetime) -> tuple[list[str], list[str]]:
        """Return the ids of companies that need a relink now, and of those that will soon, each shard's earliest first.

        The two lists together have at most `most` of each shard.
        """
        items = [item for shard in SHARDS for item in self._table.first_keys(NEEDS_RELINK, shard, most)[0]]
        ids: tuple[list[str], list[str]] = ([], [])
        for item in items:
            ids[item["needs_relink_at"] > sortable(now)].append(item["company_id"])
        return ids

    def count_known(self) -> int:
        """Return how many companies were not deleted, by reading the whole index of them."""
        return sum(1 for shard in SHARDS for _ in self._table.of_shard(DUE_FOR_CHECK, shard))

    def count(self) -> int:
        """Return about how many companies there are."""
        return self._table.item_count()
