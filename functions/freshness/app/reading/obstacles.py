"""Why a feed cannot be fresh now, in words."""

from datetime import datetime, timedelta

from freshness.domain import windows
from freshness.domain.company import Connection
from freshness.domain.feed import MIN_LATE_AFTER, Feed
from freshness.domain.feed_values import State
from freshness.domain.promise import Promise

WAITS_AFTER = timedelta(minutes=15)
"""How long a read from a customer's machine takes at most before it counts as waiting for the machine.

It counts so earlier where its syncs are usually much quicker. Codat documents several states for it, such as `Queued`
and `Fetching`, so only the time tells.
"""
OFFLINE_AFTER = timedelta(days=1)
"""How long it waits before the machine counts as offline: many are on at night only."""


def closed_window(state: State, promise: Promise, now: datetime) -> str:
    """Return when the window of a stale feed opens; empty if none is closed."""
    if state is not State.STALE or windows.allowed(promise.windows, now):
        return ""
    opens_at = windows.next_allowed(promise.windows, now)
    return f"the policy's window opens at {opens_at:%H:%M} UTC" if opens_at else "the policy's windows never open"


def obstacle(state: State, connection: Connection, feed: Feed) -> str:
    """Return what a person must do before a feed can be fresh, or why it never will be; empty otherwise."""
    match state:
        case State.OFF:
            return "you unlinked it at Codat" if connection.is_unlinked else "the policy turns it off"
        case State.UNSUPPORTED:
            return f"{connection.platform} does not have this data type"
        case State.BLOCKED if connection.is_linked and not connection.is_refused:
            end = feed.end.state if feed.end else ""
            return f"the customer must restore the permissions of {connection.platform} ({end})"
        case State.BLOCKED:
            return f"the customer must relink {connection.platform}"
        case _:
            return ""


def waiting_for_machine(state: State, connection: Connection, feed: Feed, now: datetime) -> str:
    """Return that a dataset in flight waits for the customer's own machine; empty otherwise."""
    request = feed.in_flight
    if state is not State.REFRESHING or request is None or not connection.is_on_premise:
        return ""
    waited = now - request.at
    if waited < min(max(2 * feed.usual_sync_time, MIN_LATE_AFTER), WAITS_AFTER):
        return ""
    if waited >= OFFLINE_AFTER:
        return f"the customer's machine with {connection.platform} is offline"
    return f"it waits until the customer's machine with {connection.platform} is online"
