"""Whether what Codat's list of companies lacks may be taken as deleted.

One list proves nothing: what it lacks must be lacking again, ten minutes or more later, in another one. And where a
list lacks so much that a mistake of Codat's is more likely, nothing is deleted until an operator confirms it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

ABSENT_AGAIN_AFTER = timedelta(minutes=10)
"""How long after a first absence, in a list or as a 404, another one counts as a deletion."""
FEW = 5
"""So many companies or connections may be deleted at once, whatever their share is."""
SHARE = 0.2
"""Where a list lacks more than this share of what is known, it is doubted."""
CONFIRMED_FOR = timedelta(days=1)
"""How long lists are not doubted after an operator confirmed it: a company is checked once a day at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """How many companies or connections are known, and how many of them a list lacks."""

    known: int = 0
    lacking: int = 0

    @property
    def is_much(self) -> bool:
        """Return whether it is more than people delete at once."""
        return self.lacking > FEW and self.lacking > SHARE * self.known


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the last complete list lacked. Times are by Codat's clock, except `confirmed_until`."""

    companies: Lacking = Lacking()
    connections: Lacking = Lacking()
    believed_at: datetime | None = None
    """When Codat sent the last list that was not doubted."""
    confirmed_until: datetime | None = None
    """Until when an operator has it that lists are not doubted."""
    version: int = 0

    @property
    def lacks_much(self) -> bool:
        """Return whether it is more likely to be a mistake than what people deleted."""
        return self.companies.is_much or self.connections.is_much

    def followed_by(self, companies: Lacking, connections: Lacking, at: datetime) -> "Listing":
        """Return what is known after another list."""
        after = replace(self, companies=companies, connections=connections)
        return after if after.is_doubted(at) else replace(after, believed_at=at)

    def is_doubted(self, now: datetime) -> bool:
        """Return whether nothing may be deleted because of what the list lacks."""
        return self.lacks_much and not (self.confirmed_until and now < self.confirmed_until)

    def confirmed(self, now: datetime) -> "Listing":
        """Return it after an operator confirmed that what lists lack was deleted."""
        return replace(self, confirmed_until=now + CONFIRMED_FOR)


def counts_as_deleted(absent_since: datetime, now: datetime, believed_at: datetime | None) -> bool:
    """Return whether something is deleted that is absent now, as it was in a list that was believed."""
    return absent_since + ABSENT_AGAIN_AFTER <= now and believed_at is not None and absent_since <= believed_at
