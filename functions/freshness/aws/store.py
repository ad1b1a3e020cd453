"""The edge towards DynamoDB: feeds, companies, datasets, Codat's quota, and the leases of running ticks.

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

from freshness.domain.api_limits import ApiLimits
from freshness.domain.change_rate import FleetRates
from freshness.domain.codat_schedule import SyncSettings
from freshness.domain.company import Company
from freshness.domain.dataset import Dataset
from freshness.domain.feed import Feed
from freshness.domain.times import sortable
from freshness.planning.sync_durations import SyncDurations

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


Value = TypeVar("Value", Feed, Company, Dataset, ApiLimits, SyncSettings, SyncDurations)
Item = dict[str, Any]


class ContentionError(Exception):
    """Other writers kept changing an item while a change to it was worked out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The names of the tables."""

    companies: str
    feeds: str
    datasets: str
    control: str


def shard(company_id: str) -> str:
    """The index partition of a company and its feeds."""
    return SHARDS[zlib.crc32(company_id.encode()) % len(SHARDS)]


def sort_key(data_type: str, connection_id: str) -> str:
    """The sort key of a feed."""
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

    def feed(self, company_id: str, data_type: str, connection_id: str) -> Feed:
        """One feed; an empty one if it is not known yet."""
        key = {"company_id": company_id, "feed": sort_key(data_type, connection_id)}
        item = self._get(self.tables.feeds, key)
        if item is None:
            return Feed(company_id=company_id, data_type=data_type, connection_id=connection_id)
        return _feed(item)

    def feeds(self, company_id: str) -> list[Feed]:
        """All feeds of a company."""
        items = self._query(
            TableName=self.tables.feeds,
            KeyConditionExpression="company_id = :company_id",
            ExpressionAttributeValues=_marshal({":company_id": company_id}),
        )
        return [_feed(item) for item in items]

    def every_feed(self) -> Iterator[Feed]:
        """The whole table of feeds, for a person's tools: no function is allowed to scan."""
        return (_feed(item) for item in self._scan(self.tables.feeds))

    def feeds_due(self, now: datetime, limit: int, shards: Iterable[str] = SHARDS) -> list[Feed]:
        """The feeds of some shards that a tick must look at: those longest due, at most `limit` of them."""
        of_shards = (self._due(self.tables.feeds, "due", "due_at", now, shard) for shard in shards)
        # Whatever piles up in one shard must not keep the others from their turn.
        longest_due = islice(heapq.merge(*of_shards, key=lambda key: str(key["due_at"])), limit)
        keys = [{"company_id": key["company_id"], "feed": key["feed"]} for key in longest_due]
        return [_feed(item) for item in self._get_all(self.tables.feeds, keys)]

    def change_feed(self, feed: Feed, change: Callable[[Feed], Feed]) -> Feed:
        """Make a change to a feed as it was read, or to an empty one; what is returned is what now stands."""
        key = {"company_id": feed.company_id, "feed": sort_key(feed.data_type, feed.connection_id)}
        return self._change(self.tables.feeds, _FEEDS, feed, key, change)

    def delete_feed(self, feed: Feed) -> None:
        """Forget a feed."""
        key = {"company_id": feed.company_id, "feed": sort_key(feed.data_type, feed.connection_id)}
        self._dynamodb.delete_item(TableName=self.tables.feeds, Key=_marshal(key))

    def forget(self, company: Company, at: datetime) -> Company:
        """Stop watching a company that was deleted, as was known at `at`; what is returned is what is left of it."""
        deleted = self.change_company(company, lambda company: company.deleted(at))
        for feed in self.feeds(company.company_id):
            self.delete_feed(feed)
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

    def quota(self) -> ApiLimits:
        """What Codat allows, as far as any function knows."""
        item = self._get(self.tables.control, _QUOTA_KEY)
        return ApiLimits() if item is None else _QUOTA.validate_python(item)

    def change_quota(self, quota: ApiLimits, change: Callable[[ApiLimits], ApiLimits]) -> ApiLimits:
        """Make a change to the quota as it was read, or to an empty one; what is returned is what now stands."""
        return self._change(self.tables.control, _QUOTA, quota, _QUOTA_KEY, change)

    def fleet_rates(self) -> FleetRates:
        """What has been learned of how often feeds of each platform and data type change."""
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

    def sync_durations(self) -> SyncDurations:
        """How long syncs usually take."""
        item = self._get(self.tables.control, _SYNC_TIMES_KEY)
        return SyncDurations() if item is None else _SYNC_TIMES.validate_python(item)

    def change_sync_times(
        self, times: SyncDurations, change: Callable[[SyncDurations], SyncDurations]
    ) -> SyncDurations:
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
        raise ContentionError(f"{table} {key}: changed by others {RACES} times in a feed; try again later")

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
_FEEDS = TypeAdapter(Feed)
_DATASETS = TypeAdapter(Dataset)
_QUOTA = TypeAdapter(ApiLimits)
_QUOTA_KEY = {"name": "quota"}
_SYNC_SETTINGS = TypeAdapter(SyncSettings)
_SYNC_SETTINGS_KEY = {"name": "sync_settings"}
_SYNC_TIMES = TypeAdapter(SyncDurations)
_SYNC_TIMES_KEY = {"name": "sync_durations"}
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
        case Feed(due_at=datetime() as due_at):
            item |= {"shard": shard(value.company_id), "due_at": sortable(due_at)}
        case Company(check_at=datetime() as check_at):
            item |= {"shard": shard(value.company_id), "check_at": sortable(check_at)}
        case Dataset():
            item["expires_at"] = int((value.requested_at + DATASETS_KEPT).timestamp())
    return _feed_item(value, item) if isinstance(value, Feed) else item


def _feed_item(feed: Feed, item: Item) -> Item:
    """The item of a feed, kept below the 1 KB that one write unit pays for, however full the feed (`bench/`)."""
    # Its sort key says both.
    del item["data_type"], item["connection_id"]
    if feed.syncs:
        item["syncs"] = feed.syncs.packed
    if feed.changes_per_day:
        # DynamoDB's client takes no binary fractions.
        item["changes_per_day"] = Decimal(str(feed.changes_per_day))
    return item


def _value(adapter: TypeAdapter[Value], item: Item) -> Value:
    if "feed" in item:
        item["data_type"], _, item["connection_id"] = item["feed"].partition("#")
    if isinstance(item.get("syncs"), Binary):
        item["syncs"] = {"packed": bytes(item["syncs"])}
    return adapter.validate_python(item)


def _feed(item: Item) -> Feed:
    return _value(_FEEDS, item)


def _message_key(message_id: str) -> Item:
    return {"name": f"webhook {message_id}"}
