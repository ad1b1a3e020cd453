"""Whether the companies and connections that Codat's list lacks count as deleted.

One list proves nothing: what it lacks counts as deleted if it is still lacking, in a list or as a 404, ten minutes or
more later. If a list lacks so much that Codat is more likely mistaken, nothing is deleted until an operator confirms
it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

ABSENT_AGAIN_AFTER = timedelta(minutes=10)
"""How long after the first absence, in a list or as a 404, a second one counts as a deletion."""
FEW = 5
"""This many companies or connections may be deleted at once, whatever share of all they are."""
SHARE = 0.2
"""A list is doubted if it lacks more than `FEW` known companies or connections, and more than this share of them."""
CONFIRMED_FOR = timedelta(days=1)
"""How long no list is doubted after an operator confirmed the deletions: every company is checked within this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """The number of known companies or connections, and how many of them a list lacks."""

    known: int = 0
    lacking: int = 0

    @property
    def is_much(self) -> bool:
        """Return whether the list lacks more than people usually delete at once."""
        return self.lacking > FEW and self.lacking > SHARE * self.known


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The result of the last complete list: how much it lacked. Times are by our own clock."""

    companies: Lacking = Lacking()
    connections: Lacking = Lacking()
    believed_at: datetime | None = None
    """When the last list that was not doubted was read."""
    confirmed_until: datetime | None = None
    """Until when no list is doubted, since an operator confirmed the deletions."""
    version: int = 0

    @property
    def lacks_much(self) -> bool:
        """Return whether the list lacks so much that Codat is more likely mistaken."""
        return self.companies.is_much or self.connections.is_much

    def followed_by(self, companies: Lacking, connections: Lacking, at: datetime) -> "Listing":
        """Return the listing after the next complete list, which was read at `at`."""
        after = replace(self, companies=companies, connections=connections)
        return after if after.is_doubted(at) else replace(after, believed_at=at)

    def is_doubted(self, now: datetime) -> bool:
        """Return whether the list lacks too much to delete anything, and no operator has confirmed the deletions."""
        return self.lacks_much and not (self.confirmed_until and now < self.confirmed_until)

    def confirmed(self, now: datetime) -> "Listing":
        return replace(self, confirmed_until=now + CONFIRMED_FOR)


def counts_as_deleted(absent_since: datetime, now: datetime, believed_at: datetime | None) -> bool:
    """Return whether something that is still absent now, and has been since `absent_since`, counts as deleted.

    It does after `ABSENT_AGAIN_AFTER`, if a list that was not doubted has lacked it: `believed_at` is not before
    `absent_since`.
    """
    return absent_since + ABSENT_AGAIN_AFTER <= now and believed_at is not None and absent_since <= believed_at
