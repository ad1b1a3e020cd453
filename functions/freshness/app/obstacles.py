"""Why a feed cannot be fresh now, in words."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from freshness.domain import usual_hours, windows
from freshness.domain.company import Connection
from freshness.domain.dataset import DatasetState
from freshness.domain.feed import Feed
from freshness.domain.feed_values import State
from freshness.domain.promise import Promise

ON_PREMISE = ("QuickBooks Desktop", "Sage 50")
"""Platforms that Codat reads only while the customer's own machine is online."""
OFFLINE_AFTER = timedelta(hours=2)
"""How long a dataset waits in the usual hours of a machine before the machine counts as offline.

It is longer than clocks are changed by, since the hours are learned in UTC.
"""
OFFLINE_AFTER_IF_UNKNOWN = timedelta(days=1)
"""The same where these hours are not known."""


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
            return "the policy turns it off"
        case State.UNSUPPORTED:
            return f"{connection.platform} does not have this data type"
        case State.BLOCKED if not connection.is_linked:
            return f"the customer must relink {connection.platform}"
        case State.BLOCKED:
            end = feed.end.state if feed.end else ""
            return f"the customer must restore the permissions of {connection.platform} ({end})"
        case _:
            return ""


def waiting_for_machine(
    state: State, connection: Connection, feed: Feed, of_connection: Iterable[Feed], now: datetime
) -> str:
    """Return that a dataset in flight waits for the customer's own machine, whose feeds are `of_connection`."""
    request = feed.in_flight
    if state is not State.REFRESHING or not connection.platform.startswith(ON_PREMISE):
        return ""
    if request is None or not _is_queued(feed):
        return ""
    usual = usual_hours.learn(sync.ended_at for each in of_connection for sync in each.history if sync.succeeded)
    waited = usual.time_online(request.at, now) if usual.is_known else now - request.at
    if waited >= (OFFLINE_AFTER if usual.is_known else OFFLINE_AFTER_IF_UNKNOWN):
        return f"the customer's machine with {connection.platform} is offline"
    hours = f", usually {usual}" if usual.is_known else ""
    return f"it waits until the customer's machine with {connection.platform} is online{hours}"


def _is_queued(feed: Feed) -> bool:
    """Return whether the dataset in flight was not started yet."""
    return feed.in_flight is not None and feed.running_state == DatasetState.QUEUED
