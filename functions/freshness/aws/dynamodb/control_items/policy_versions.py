"""The policies that were deployed and pushed, each a version, in the control table.

One item, read at most once a minute by each process, says which version is in force. The content of each version is in
items of its own, under its hash.
"""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from freshness.aws.dynamodb.control import control_key
from freshness.aws.dynamodb.item_codec import Item, adapter, dump
from freshness.aws.dynamodb.table import Table

_IN_FORCE = control_key("policy")
_PART = 350_000
"""Bytes of each item: DynamoDB accepts 400 KB."""
_LONGEST = 50_000_000
"""Bytes of a policy that is read."""


class PolicyUnreadable(Exception):
    """The stored content of a policy is not what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """A policy that was put in force. `version` counts from 1."""

    version: int = 0
    fingerprint: str
    deployed: str
    """The fingerprint of the policy that was deployed then. Functions deployed with a different one ignore this
    version."""
    at: datetime
    by: str
    """Who put it in force."""
    how: str
    """How it came into force, such as "pushed"."""
    digest: str = ""
    parts: int = 0

    @property
    def is_deployed(self) -> bool:
        return self.fingerprint == self.deployed


class PolicyVersions:
    def __init__(self, table: Table) -> None:
        self._table = table

    def in_force(self, *, consistent: bool = False) -> PolicyVersion | None:
        """Return the latest version, which is in force; `None` before the first tick after the first deployment."""
        item = self._table.get(_IN_FORCE, consistent=consistent)
        return None if item is None else _version_from(item)

    def history(self, latest: PolicyVersion) -> list[PolicyVersion]:
        """Return the latest version and all before it, latest first."""
        items = self._table.get_many(_key(number) for number in range(1, latest.version))
        return [latest, *sorted(map(_version_from, items), key=lambda each: -each.version)]

    def before(self, version: PolicyVersion) -> Iterator[PolicyVersion]:
        """Yield the versions before a version, latest first, each as it is needed."""
        for number in range(version.version - 1, 0, -1):
            if item := self._table.get(_key(number)):
                yield _version_from(item)

    def content(self, version: PolicyVersion) -> str:
        """Return the compiled policy of a version.

        Raises:
            PolicyUnreadable: the stored content is not what was written.
        """
        items = self._table.get_many(_part_key(version.digest, number) for number in range(version.parts))
        packed = b"".join(bytes(item["part"]) for item in sorted(items, key=lambda item: str(item["name"])))
        if hashlib.sha256(packed).hexdigest() != version.digest:
            raise PolicyUnreadable(f"what the table {self._table.name} has of version {version.version} was changed")
        return zlib.decompressobj().decompress(packed, _LONGEST).decode()

    def put(self, version: PolicyVersion, content: str, replaced: PolicyVersion | None) -> PolicyVersion:
        """Put a compiled policy in force in place of the version that was read, and return it as the latest version.

        Raises:
            VersionConflict: another version was put in force since.
        """
        packed = zlib.compress(content.encode())
        parts = [packed[start : start + _PART] for start in range(0, len(packed), _PART)]
        digest = hashlib.sha256(packed).hexdigest()
        for number, part in enumerate(parts):
            self._table.put_always(_part_key(digest, number) | {"part": part})
        if replaced:
            self._table.put_always(dump(replaced) | _key(replaced.version))
        number = replaced.version if replaced else 0
        written = replace(version, version=number + 1, digest=digest, parts=len(parts))
        self._table.put(dump(written) | _IN_FORCE, number)
        return written


def _version_from(item: Item) -> PolicyVersion:
    return adapter(PolicyVersion).validate_python(item)


def _key(version: int) -> Item:
    return control_key(f"policy version {version}")


def _part_key(digest: str, number: int) -> Item:
    return control_key(f"policy content {digest} {number:03}")
