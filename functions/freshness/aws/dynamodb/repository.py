"""The base of repositories: each item of the table is a value with a version, which rises with each write."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from freshness.aws.dynamodb.item_codec import Item
from freshness.aws.dynamodb.table import Table, VersionConflict


class Versioned(Protocol):
    """A dataclass with the version at which it was read: 0 if it was never written."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def version(self) -> int:
        """Return the version."""


Value = TypeVar("Value", bound=Versioned)


class Repository(Generic[Value]):
    """Values in a table. `decode` returns the value of an item, and `encode` the item of a value."""

    def __init__(self, table: Table, decode: Callable[[Item], Value], encode: Callable[[Value], Item]) -> None:
        self._table = table
        self._decode = decode
        self._encode = encode

    def scan(self) -> Iterator[Value]:
        """Yield every value, for an operator's tools: no function has the permission to scan."""
        return map(self._decode, self._table.scan())

    def put(self, value: Value) -> Value:
        """Write a value if nobody has written it since it was read, and return it as written.

        Raises:
            VersionConflict: another writer came first.
        """
        written = replace(value, version=value.version + 1)
        self._table.put(self._encode(written), value.version)
        return written

    def races(self) -> Iterator[None]:
        """Yield once for each attempt to write, as `Table.races` does."""
        return self._table.races()

    def update(self, value: Value, compute: Callable[[Value], Value]) -> Value:
        """Compute a new value from the one that was read, write it, and return it as written.

        If another writer came first, the new value is computed again from what that writer wrote. A value that does not
        change is not written. An item that was deleted in the meantime stays deleted.

        Raises:
            ContentionError: others came first `RACES` times.
        """
        for _ in self.races():
            new = compute(value)
            if new == value and value.version:
                break
            try:
                value = self.put(replace(new, version=value.version))
                break
            except VersionConflict as conflict:
                if conflict.current is None:
                    break
                value = self._decode(conflict.current)
        return value
