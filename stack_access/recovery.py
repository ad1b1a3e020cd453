"""Restoring tables to how they were at a time: point-in-time recovery to new tables, whose items are copied back.

Companies and feeds become what they were. Missing datasets and control items are added. Whatever was added since then
stays. Checks bring everything up to date. Each item gets a version above its old and its present one, so that a
function that read it before the copy does not write over it.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from freshness.aws.dynamodb.item_codec import Item
from freshness.aws.dynamodb.table import BATCH, Table, VersionConflict
from freshness.aws.dynamodb.tables import TableNames
from stack_access.errors import StackError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

POLL_EVERY, POLLS = 20, 1_000
"""Seconds between two looks at a new table, and how many there are at most: a recovery takes an hour or more."""
WRITERS = 16


def new_table(name: str) -> str:
    """Return the name of the new table that a table is restored to."""
    return f"{name}-restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The recovery of a stack's tables to a time. Each step may be carried out again."""

    dynamodb: "DynamoDBClient"
    names: TableNames
    to: datetime

    def begin(self) -> None:
        """Let AWS restore each table to a new one, unless that has begun.

        Raises:
            StackError: the new table is from a recovery to another time.
            botocore.exceptions.ClientError: AWS cannot restore to that time.
        """
        for name in self._names():
            try:
                self.dynamodb.restore_table_to_point_in_time(
                    SourceTableName=name, TargetTableName=new_table(name), RestoreDateTime=self.to
                )
            except ClientError as error:
                if error.response["Error"]["Code"] != "TableAlreadyExistsException":
                    raise
                self._require_same_time(new_table(name))

    def wait(self) -> None:
        """Wait until the new tables have all of their items."""
        waiter = self.dynamodb.get_waiter("table_exists")
        for name in self._names():
            waiter.wait(TableName=new_table(name), WaiterConfig={"Delay": POLL_EVERY, "MaxAttempts": POLLS})

    def copy(self) -> dict[str, int]:
        """Copy the items back. Return how many were written to each table."""
        return {name: self._copy(name) for name in self._names()}

    def _names(self) -> tuple[str, ...]:
        return astuple(self.names)

    def _require_same_time(self, name: str) -> None:
        restored = self.dynamodb.describe_table(TableName=name)["Table"].get("RestoreSummary")
        if restored and restored["RestoreDateTime"] != self.to.replace(microsecond=0):
            at = f"{restored['RestoreDateTime']:%Y-%m-%d %H:%M:%S %Z}"
            raise StackError(f"{name} is of a recovery to {at}: delete it first, or use that time.")

    def _copy(self, name: str) -> int:
        target, described = Table(self.dynamodb, name), self.dynamodb.describe_table(TableName=name)["Table"]
        key = [each["AttributeName"] for each in described["KeySchema"]]
        replaces = name in (self.names.companies, self.names.feeds)
        written = 0
        with ThreadPoolExecutor(WRITERS) as pool:
            for batch in _batches(Table(self.dynamodb, new_table(name)).scan()):
                keys = [{each: item[each] for each in key} for item in batch]
                found = {_text(each, key): each for each in target.get_many(keys, consistent=True)}
                known = [found.get(_text(item, key)) for item in batch]
                written += sum(pool.map(lambda item, now: _put(target, item, now, replaces), batch, known))
        return written


def _batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    """Yield batches of as many items as one call reads. Leases are left out, because their holders are gone."""
    kept = (item for item in items if "owner" not in item)
    while batch := list(islice(kept, BATCH)):
        yield batch


def _text(item: Item, key: list[str]) -> tuple[str, ...]:
    return tuple(item[name] for name in key)


def _put(target: Table, item: Item, known: Item | None, replaces: bool) -> bool:
    """Put an item if it is missing, or if it replaces a different one. Return whether it was written."""
    for _ in target.races():
        # The audit and attainment, which functions only add to, have no version.
        is_kept = not replaces or "version" not in item
        if known and (is_kept or known | {"version": 0} == item | {"version": 0}):
            return False
        version = int(known.get("version", 0)) if known else 0
        versions = {"version": max(version, int(item["version"])) + 1} if "version" in item else {}
        try:
            target.put(item | versions, version)
        except VersionConflict as conflict:
            known = conflict.current
        else:
            return True
    return False
