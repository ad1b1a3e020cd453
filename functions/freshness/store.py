"""The edge towards DynamoDB: rows, companies, datasets, Codat's quota, and the leases of running ticks.

Every change is made the same way: read, work out the new value purely, and write it on the condition that what
was read is still there. A change that changes nothing is not written. A lost race is read and worked out again.

Access patterns are written down beside the tables' definitions in `infra/tables.py`.
"""

import heapq
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from pydantic import TypeAdapter

from freshness.company import Company
from freshness.dataset import Dataset
from freshness.learning import FleetRates
from freshness.quota import Quota
from freshness.row import Row
from freshness.sync_settings import SyncSettings
from freshness.sync_times import SyncTimes
from freshness.times import sortable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SHARDS = ("0", "1", "2", "3")
"""Partitions of each index, so that none takes more writes than one partition bears."""
DATASETS_KEPT = timedelta(days=30)
"""Codat's own history tells of older ones."""
MESSAGES_REMEMBERED = timedelta(days=16)
"""A person may have Codat send a webhook again for 14 days, and that may fail for another 28 hours."""
BATCH = 100
"""The most items that one BatchGetItem takes."""
RACES = 10
"""How often a change is worked out again after losing to another writer."""


Value = TypeVar("Value", Row, Company, Dataset, Quota, SyncSettings, SyncTimes)
Item = dict[str, Any]


class ContentionError(Exception):
    """Other writers kept changing an item while a change to it was worked out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The names of the tables."""

    companies: str
    freshness: str
    datasets: str
    control: str


def shard(company_id: str) -> str:
    """The index partition of a company and its rows."""
    return SHARDS[zlib.crc32(company_id.encode()) % len(SHARDS)]


def feed(data_type: str, connection_id: str) -> str:
    """The sort key of a row."""
    return f"{data_type}#{connection_id}"


class Store:
    """The tables, as values of the core. May be used from several threads."""

    def __init__(self, dynamodb: "DynamoDBClient", tables: Tables) -> None:
        self._dynamodb = dynamodb
        self.tables = tables

    def company(self, company_id: str) -> Company | None:
        """One company."""
        item = self._get(self.tables.companies, {"company_id": company_id})
        return None if item is None else _COMPANIES.validate_python(item)

    def companies(self, company_ids: Iterable[str]) -> dict[str, Company]:
        """Those of the companies that are known, by their ids."""
        keys = [{"company_id": company_id} for company_id in dict.fromkeys(company_ids)]
        found = (_COMPANIES.validate_python(item) for item in self._get_all(self.tables.companies, keys))
        return {company.company_id: company for company in found}

    def every_company(self) -> Iterator[Company]:
        """The whole table of companies, for a person's tools: no function is allowed to scan."""
        return (_COMPANIES.validate_python(item) for item in self._scan(self.tables.companies))

    def companies_due_for_check(self, now: datetime) -> Iterator[str]:
        """The ids of the companies due for a check, longest due first within each shard."""
        for shard in SHARDS:
            for key in self._due(self.tables.companies, "due_for_check", "check_at", now, shard):
                yield key["company_id"]

    def change_company(self, company: Company, change: Callable[[Company], Company]) -> Company:
        """Make a change to a company as it was read, or to an empty one; what is returned is what now stands."""
        return self._change(self.tables.companies, _COMPANIES, company, {"company_id": company.company_id}, change)

    def row(self, company_id: str, data_type: str, connection_id: str) -> Row:
        """One row; an empty one if it is not known yet."""
        key = {"company_id": company_id, "feed": feed(data_type, connection_id)}
        item = self._get(self.tables.freshness, key)
        if item is None:
            return Row(company_id=company_id, data_type=data_type, connection_id=connection_id)
        return _row(item)

    def rows(self, company_id: str) -> list[Row]:
        """All rows of a company."""
        items = self._query(
            TableName=self.tables.freshness,
            KeyConditionExpression="company_id = :company_id",
            ExpressionAttributeValues=_marshal({":company_id": company_id}),
        )
        return [_row(item) for item in items]

    def every_row(self) -> Iterator[Row]:
        """The whole table of rows, for a person's tools: no function is allowed to scan."""
        return (_row(item) for item in self._scan(self.tables.freshness))

    def rows_due(self, now: datetime, limit: int, shards: Iterable[str] = SHARDS) -> list[Row]:
        """The rows of some shards that a tick must look at: those longest due, at most `limit` of them."""
        of_shards = (self._due(self.tables.freshness, "due", "due_at", now, shard) for shard in shards)
        # Whatever piles up in one shard must not keep the others from their turn.
        longest_due = islice(heapq.merge(*of_shards, key=lambda key: str(key["due_at"])), limit)
        keys = [{"company_id": key["company_id"], "feed": key["feed"]} for key in longest_due]
        return [_row(item) for item in self._get_all(self.tables.freshness, keys)]

    def change_row(self, row: Row, change: Callable[[Row], Row]) -> Row:
        """Make a change to a row as it was read, or to an empty one; what is returned is what now stands."""
        key = {"company_id": row.company_id, "feed": feed(row.data_type, row.connection_id)}
        return self._change(self.tables.freshness, _ROWS, row, key, change)

    def delete_row(self, row: Row) -> None:
        """Forget a row."""
        key = {"company_id": row.company_id, "feed": feed(row.data_type, row.connection_id)}
        self._dynamodb.delete_item(TableName=self.tables.freshness, Key=_marshal(key))

    def forget(self, company: Company, at: datetime) -> Company:
        """Stop watching a company that was deleted, as was known at `at`; what is returned is what is left of it."""
        deleted = self.change_company(company, lambda company: company.deleted(at))
        for row in self.rows(company.company_id):
            self.delete_row(row)
        return deleted

    def dataset(self, company_id: str, dataset_id: str) -> Dataset | None:
        """One dataset, if it is still kept."""
        item = self._get(self.tables.datasets, {"company_id": company_id, "dataset_id": dataset_id})
        return None if item is None else _DATASETS.validate_python(item)

    def datasets(self, company_id: str) -> list[Dataset]:
        """All datasets of a company that are still kept."""
        items = self._query(
            TableName=self.tables.datasets,
            KeyConditionExpression="company_id = :company_id",
            ExpressionAttributeValues=_marshal({":company_id": company_id}),
        )
        return [_DATASETS.validate_python(item) for item in items]

    def every_dataset(self) -> Iterator[Dataset]:
        """The whole table of datasets, for a person's tools: no function is allowed to scan."""
        return (_DATASETS.validate_python(item) for item in self._scan(self.tables.datasets))

    def merge_dataset(self, dataset: Dataset) -> Dataset:
        """Add what is known of a dataset to what the table tells of it."""
        key = {"company_id": dataset.company_id, "dataset_id": dataset.dataset_id}
        item = self._get(self.tables.datasets, key)
        known = dataset if item is None else _DATASETS.validate_python(item)
        return self._change(self.tables.datasets, _DATASETS, known, key, lambda known: known.merge(dataset))

    def quota(self) -> Quota:
        """What Codat allows, as far as any function knows."""
        item = self._get(self.tables.control, _QUOTA_KEY)
        return Quota() if item is None else _QUOTA.validate_python(item)

    def change_quota(self, quota: Quota, change: Callable[[Quota], Quota]) -> Quota:
        """Make a change to the quota as it was read, or to an empty one; what is returned is what now stands."""
        return self._change(self.tables.control, _QUOTA, quota, _QUOTA_KEY, change)

    def fleet_rates(self) -> FleetRates:
        """What has been learned of how often rows of each platform and data type change."""
        item = self._get(self.tables.control, _FLEET_RATES_KEY)
        return FleetRates() if item is None else _FLEET_RATES.validate_json(item["rates"])

    def put_fleet_rates(self, rates: FleetRates) -> None:
        """Keep what was learned. Of what two ticks learn at once, the last stands: all are means of many."""
        text = _FLEET_RATES.dump_json(rates).decode()
        self._dynamodb.put_item(TableName=self.tables.control, Item=_marshal(_FLEET_RATES_KEY | {"rates": text}))

    def sync_settings(self) -> SyncSettings:
        """Codat's own schedule, as it was last read."""
        item = self._get(self.tables.control, _SYNC_SETTINGS_KEY)
        return SyncSettings() if item is None else _SYNC_SETTINGS.validate_python(item)

    def change_sync_settings(
        self, settings: SyncSettings, change: Callable[[SyncSettings], SyncSettings]
    ) -> SyncSettings:
        """Make a change to the settings as they were read; what is returned is what now stands."""
        return self._change(self.tables.control, _SYNC_SETTINGS, settings, _SYNC_SETTINGS_KEY, change)

    def sync_times(self) -> SyncTimes:
        """How long syncs usually take."""
        item = self._get(self.tables.control, _SYNC_TIMES_KEY)
        return SyncTimes() if item is None else _SYNC_TIMES.validate_python(item)

    def change_sync_times(self, times: SyncTimes, change: Callable[[SyncTimes], SyncTimes]) -> SyncTimes:
        """Make a change to the times as they were read; what is returned is what now stands."""
        return self._change(self.tables.control, _SYNC_TIMES, times, _SYNC_TIMES_KEY, change)

    def is_paused(self) -> bool:
        """Whether a person wants nothing at all to be refreshed for now."""
        return self._get(self.tables.control, _PAUSED) is not None

    def pause(self) -> None:
        """Have nothing refreshed until `resume`."""
        self._dynamodb.put_item(TableName=self.tables.control, Item=_marshal(_PAUSED))

    def resume(self) -> None:
        """Take `pause` back."""
        self._dynamodb.delete_item(TableName=self.tables.control, Key=_marshal(_PAUSED))

    def was_applied(self, message_id: str) -> bool:
        """Whether a webhook was applied to its end before."""
        return self._get(self.tables.control, _message_key(message_id)) is not None

    def note_applied(self, message_id: str, now: datetime) -> None:
        """Remember that a webhook was applied to its end, for as long as it may come again."""
        item = _message_key(message_id) | {"expires_at": int((now + MESSAGES_REMEMBERED).timestamp())}
        self._dynamodb.put_item(TableName=self.tables.control, Item=_marshal(item))

    def note_webhook_heard(self, at: datetime) -> None:
        """Remember when a webhook last came."""
        self._dynamodb.put_item(TableName=self.tables.control, Item=_marshal(_WEBHOOK_HEARD_KEY | {"at": sortable(at)}))

    def webhook_heard_at(self) -> datetime | None:
        """When a webhook last came, give or take a few minutes."""
        item = self._get(self.tables.control, _WEBHOOK_HEARD_KEY)
        return None if item is None else datetime.fromisoformat(item["at"])

    def acquire(self, lease: str, owner: str, until: datetime, now: datetime) -> bool:
        """Take a lease that no one else holds; it ends by itself at `until`."""
        try:
            self._dynamodb.put_item(
                TableName=self.tables.control,
                Item=_marshal({"name": lease, "owner": owner, "until": sortable(until)}),
                ConditionExpression="attribute_not_exists(#name) OR #until < :now OR #owner = :owner",
                ExpressionAttributeNames={"#name": "name", "#until": "until", "#owner": "owner"},
                ExpressionAttributeValues=_marshal({":now": sortable(now), ":owner": owner}),
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def release(self, lease: str, owner: str) -> None:
        """Give a lease back, unless someone else has it by now."""
        try:
            self._dynamodb.delete_item(
                TableName=self.tables.control,
                Key=_marshal({"name": lease}),
                ConditionExpression="#owner = :owner",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues=_marshal({":owner": owner}),
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return

    def _change(
        self,
        table: str,
        adapter: TypeAdapter[Value],
        known: Value,
        key: Item,
        change: Callable[[Value], Value],
    ) -> Value:
        for _ in range(RACES):
            changed = change(known)
            if changed == known and known.version:
                return known
            changed = replace(changed, version=known.version + 1)
            item = _marshal(_item(adapter, changed) | key)
            try:
                self._dynamodb.put_item(TableName=table, Item=item, **_still_as(known.version))
            except self._dynamodb.exceptions.ConditionalCheckFailedException as failed:
                standing: Any = failed.response.get("Item")
                if standing is None:
                    return known
                known = _value(adapter, _unmarshal(standing))
            else:
                return changed
        raise ContentionError(f"{table} {key}: changed by others {RACES} times in a row; try again later")

    def _get(self, table: str, key: Item) -> Item | None:
        # Eventually consistent, at half the price: a change to a value read too early fails its condition.
        answer = self._dynamodb.get_item(TableName=table, Key=_marshal(key))
        return _unmarshal(answer["Item"]) if "Item" in answer else None

    def _get_all(self, table: str, keys: list[Item]) -> Iterator[Item]:
        for start in range(0, len(keys), BATCH):
            wanted: Any = {table: {"Keys": [_marshal(key) for key in keys[start : start + BATCH]]}}
            while wanted:
                answer = self._dynamodb.batch_get_item(RequestItems=wanted)
                yield from (_unmarshal(item) for item in answer["Responses"].get(table, []))
                wanted = answer["UnprocessedKeys"]

    def _due(self, table: str, index: str, time: str, now: datetime, shard: str) -> Iterator[Item]:
        return self._query(
            TableName=table,
            IndexName=index,
            KeyConditionExpression=f"#shard = :shard AND {time} <= :now",
            ExpressionAttributeNames={"#shard": "shard"},
            ExpressionAttributeValues=_marshal({":shard": shard, ":now": sortable(now)}),
        )

    def _scan(self, table: str) -> Iterator[Item]:
        for page in self._dynamodb.get_paginator("scan").paginate(TableName=table):
            yield from (_unmarshal(item) for item in page["Items"])

    def _query(self, **query: Any) -> Iterator[Item]:
        for page in self._dynamodb.get_paginator("query").paginate(**query):
            yield from (_unmarshal(item) for item in page["Items"])


def _still_as(version: int) -> Any:
    """The condition that an item has not been written since it was read; if it has, DynamoDB shows it."""
    condition: Item = {"ConditionExpression": "attribute_not_exists(version)"}
    if version:
        condition["ConditionExpression"] = "version = :version"
        condition["ExpressionAttributeValues"] = _marshal({":version": version})
    return condition | {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


_COMPANIES = TypeAdapter(Company)
_ROWS = TypeAdapter(Row)
_DATASETS = TypeAdapter(Dataset)
_QUOTA = TypeAdapter(Quota)
_QUOTA_KEY = {"name": "quota"}
_SYNC_SETTINGS = TypeAdapter(SyncSettings)
_SYNC_SETTINGS_KEY = {"name": "sync_settings"}
_SYNC_TIMES = TypeAdapter(SyncTimes)
_SYNC_TIMES_KEY = {"name": "sync_times"}
_WEBHOOK_HEARD_KEY = {"name": "webhook heard"}
_PAUSED = {"name": "paused"}
_FLEET_RATES = TypeAdapter(FleetRates)
_FLEET_RATES_KEY = {"name": "fleet rates"}
_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def _marshal(item: Item) -> Item:
    return {name: _serialize(value) for name, value in item.items()}


def _unmarshal(item: Item) -> Item:
    return {name: _deserialize(value) for name, value in item.items()}


def _item(adapter: TypeAdapter[Value], value: Value) -> Item:
    item: Item = adapter.dump_python(value, mode="json", exclude={"syncs"}, exclude_none=True, exclude_defaults=True)
    match value:
        case Row(due_at=datetime() as due_at):
            item |= {"shard": shard(value.company_id), "due_at": sortable(due_at)}
        case Company(check_at=datetime() as check_at):
            item |= {"shard": shard(value.company_id), "check_at": sortable(check_at)}
        case Dataset():
            item["expires_at"] = int((value.requested_at + DATASETS_KEPT).timestamp())
    return _row_item(value, item) if isinstance(value, Row) else item


def _row_item(row: Row, item: Item) -> Item:
    """The item of a row, kept below the 1 KB that one write unit pays for, however full the row (`bench/`)."""
    # Its sort key says both.
    del item["data_type"], item["connection_id"]
    if row.syncs:
        item["syncs"] = row.syncs.packed
    if row.changes_per_day:
        # DynamoDB's client takes no binary fractions.
        item["changes_per_day"] = Decimal(str(row.changes_per_day))
    return item


def _value(adapter: TypeAdapter[Value], item: Item) -> Value:
    if "feed" in item:
        item["data_type"], _, item["connection_id"] = item["feed"].partition("#")
    if isinstance(item.get("syncs"), Binary):
        item["syncs"] = {"packed": bytes(item["syncs"])}
    return adapter.validate_python(item)


def _row(item: Item) -> Row:
    return _value(_ROWS, item)


def _message_key(message_id: str) -> Item:
    return {"name": f"webhook {message_id}"}
