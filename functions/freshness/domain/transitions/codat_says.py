"""Why a feed is not fresh, in Codat's own words."""

from freshness.domain.clean_text import shown
from freshness.domain.companies.company import Connection
from freshness.domain.datasets.dataset import LONGEST_REASON
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import State


def codat_says(feed: Feed, connection: Connection, state: State) -> str:
    """Return why a feed is in a state, in Codat's own words; empty if it gives no reason.

    The words are about the dataset that runs or ended last, or else about the connection. A lapsed connection comes
    first. They are cleaned and shortened, to be shown.
    """
    of_end = feed.end.reason if feed.end else ""
    match state:
        case State.REFRESHING:
            said = feed.running_description or (connection.reason if connection.is_on_premise else "")
        case State.BLOCKED if connection.lapsed_at:
            said = connection.reason or of_end
        case State.BLOCKED | State.FAILING | State.UNSUPPORTED:
            said = of_end or connection.reason
        case _:
            said = ""
    return shown(said, LONGEST_REASON)
