"""Whose turn it is while a promise is broken, why, and what to do next."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from freshness.app.reading.views import FeedView
from freshness.domain.api_limits import ApiLimits
from freshness.domain.company import Company
from freshness.domain.dataset import DatasetState
from freshness.domain.feed import Feed
from freshness.domain.feed_values import State
from freshness.planning.decision import Reason

UNANSWERED_FOR = timedelta(minutes=2)
"""For how long calls may go without a response before Codat counts as down: a tick repeats a call a few times."""
NO_CALL_FOR = timedelta(minutes=30)
"""For how long no call may be made, although refreshes are due, before the ticks count as stopped."""
WEBHOOKS_NEXT_ACTION = "Run ./freshness doctor, which checks the webhook at Codat. Until then checks find what ended."
NO_ANSWER_NEXT_ACTION = (
    "See Codat's status page, and wait. If it reports nothing, ./freshness doctor shows how calls fail."
)
_AT_PLATFORM = (DatasetState.FETCH_ERROR, DatasetState.RATE_LIMIT_ERROR)


class Turn(StrEnum):
    """Who must do something before a promise can be kept again."""

    US = "us"
    """Whoever runs this system."""
    CODAT = "Codat"
    PLATFORM = "platform"
    CUSTOMER = "customer"


@dataclass(frozen=True, slots=True)
class Step:
    """Whose turn it is, why, and what to do next."""

    turn: Turn
    why: str
    next_action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What holds for all feeds at once."""

    at: datetime
    limits: ApiLimits
    paused: bool

    @property
    def stopped_until(self) -> datetime | None:
        """Return until when Codat accepts no calls; `None` if it accepts them."""
        return self.limits.stopped_before(self.at)

    @property
    def is_spent(self) -> bool:
        """Return whether nothing is left of today's quota."""
        return self.limits.share_left(self.at) == 0

    @property
    def unanswered_since(self) -> datetime | None:
        """Return since when Codat has answered no call; `None` if it answers, or never reported a quota."""
        answered_at, called_at = self.limits.reported_at, self.limits.called_at
        if answered_at is None or called_at is None or self.stopped_until:
            return None
        return answered_at if called_at - answered_at > UNANSWERED_FOR else None

    @property
    def no_call_since(self) -> datetime | None:
        """Return since when no call was made at all, if that is so long that no tick can have run."""
        called_at = self.limits.called_at
        return called_at if called_at and self.at - called_at > NO_CALL_FOR else None


def of_everything(conditions: Conditions, webhooks_silent_since: datetime | None) -> list[Step]:
    """Return whose turn it is whether or not a promise is broken yet."""
    steps = [Step(Turn.US, "everything is paused", "Run ./freshness resume.")] if conditions.paused else []
    if not conditions.paused and (stopped := _of_calls(conditions)):
        steps.append(stopped)
    if webhooks_silent_since:
        why = f"no webhook has arrived since {webhooks_silent_since:%H:%M} UTC"
        steps.append(Step(Turn.US, why, WEBHOOKS_NEXT_ACTION))
    return steps


def step(view: FeedView, feed: Feed, company: Company, conditions: Conditions) -> Step:
    """Return whose turn it is for a feed that is blocked, whose promise is broken, or that will miss a deadline."""
    if view.state is State.BLOCKED:
        return _of_customer(view, feed)
    if view.state is State.REFRESHING and view.obstacle:
        return Step(Turn.CUSTOMER, view.obstacle, "Ask the customer to switch the machine on.")
    if conditions.paused or company.paused:
        name = "" if conditions.paused else f" {company.company_id}"
        paused = "everything is paused" if conditions.paused else "the company is paused"
        return Step(Turn.US, paused, f"Run ./freshness resume{name}.")
    return _of_calls(conditions) or _no_tick(conditions) or _of_feed(view, feed)


def _of_customer(view: FeedView, feed: Feed) -> Step:
    if feed.end and feed.end.state == DatasetState.PERMISSIONS_ERROR:
        why = f"{view.platform} refuses it for lack of permissions"
        return Step(Turn.CUSTOMER, why, "Ask the customer to authorise it again as someone with full access.")
    why = f"the link to {view.platform} has lapsed"
    return Step(Turn.CUSTOMER, why, "Send the customer the link, which is under Needs a person.")


def _of_calls(conditions: Conditions) -> Step | None:
    """Return whose turn it is for all feeds alike, if something keeps every call from being made or answered."""
    if conditions.is_spent:
        next_action = (
            "Wait until 00:00 UTC. If it recurs, promise less in freshness.toml, or buy more calls from Codat."
        )
        return Step(Turn.US, "today's quota of calls is spent", next_action)
    if until := conditions.stopped_until:
        return Step(Turn.CODAT, f"Codat accepts no calls until {until:%H:%M} UTC", "Wait until then.")
    if since := conditions.unanswered_since:
        why = f"Codat has answered no call since {since:%H:%M} UTC"
        return Step(Turn.CODAT, why, NO_ANSWER_NEXT_ACTION)
    return None


def _no_tick(conditions: Conditions) -> Step | None:
    if since := conditions.no_call_since:
        why = f"no tick has called Codat since {since:%H:%M} UTC"
        return Step(Turn.US, why, "Run ./freshness doctor, and read the log of queue_refreshes.")
    return None


def _of_feed(view: FeedView, feed: Feed) -> Step:
    if view.state is State.REFRESHING:
        return Step(Turn.CODAT, "Codat is reading it", "Wait: a check follows if it takes unusually long.")
    if view.state is State.FAILING:
        support = "Wait: it is tried again. If it keeps failing, give Codat's support the dataset id."
        if feed.failed_calls:
            return Step(Turn.CODAT, "Codat refused the request, or did not answer it", "Wait: it is tried again.")
        state = feed.end.state if feed.end else ""
        if state == DatasetState.AUTH_ERROR:
            wait = "Wait: it is tried again. If that is refused too, the customer must relink."
            return Step(Turn.PLATFORM, f"{view.platform} refused one read ({state})", wait)
        if state in _AT_PLATFORM:
            what = "has reached its own limit" if state == DatasetState.RATE_LIMIT_ERROR else "answered with an error"
            return Step(Turn.PLATFORM, f"{view.platform} {what} ({state})", support)
        return Step(Turn.CODAT, f"Codat could not process it ({state})", support)
    return _own_step(view)


def _own_step(view: FeedView) -> Step:
    match view.next_reason:
        case Reason.OVER_BUDGET:
            why, next_action = "over the budget of calls", "Wait, or raise share_of_quota in freshness.toml."
        case Reason.OVER_SHARE:
            why = "over its connection's share of the day"
            next_action = "Wait until 00:00 UTC, or raise refreshes_per_connection in freshness.toml."
        case Reason.OVER_SPENDING:
            why = f"over the cap on spending for {view.platform}"
            next_action = "Wait: more may be spent each day. Or raise budget.spending in freshness.toml."
        case Reason.OUTSIDE_WINDOW:
            why, next_action = (
                "outside the policy's window",
                "Wait until the window opens, or change it in freshness.toml.",
            )
        case _ if view.misses_at:
            why = f"it is expected to miss the deadline at {view.misses_at:%H:%M} UTC"
            next_action = (
                "Resume what is paused, or raise share_of_quota, calls_per_minute or the deadline's fresh_within."
            )
        case _:
            why, next_action = "due to be queued", "Nothing: a tick queues it within minutes."
    return Step(Turn.US, why, next_action)
