"""What Codat's last list of companies lacked, in the control table."""

from collections.abc import Callable
from dataclasses import replace

from freshness.aws.dynamodb.control import control_key
from freshness.aws.dynamodb.item_codec import adapter, dump
from freshness.aws.dynamodb.table import Table
from freshness.domain.companies.listing import Listing

_KEY = control_key("listing")


class Listings:
    """The repository of the listing, which is a single item."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def last(self) -> Listing:
        """Return the listing of the last complete list."""
        item = self._table.get(_KEY)
        return Listing() if item is None else adapter(Listing).validate_python(item)

    def update(self, known: Listing, compute: Callable[[Listing], Listing]) -> Listing:
        """Write what `compute` returns for the listing, as `Table.update` does."""
        return self._table.update(known, compute, self._put, adapter(Listing).validate_python)

    def _put(self, listing: Listing) -> Listing:
        written = replace(listing, version=listing.version + 1)
        self._table.put(dump(written) | _KEY, listing.version)
        return written
