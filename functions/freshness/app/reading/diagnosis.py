"""Why a feed is not fresh, whose turn it is, and what to do next. The page, the API and the command line use it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.company import Company, Connection, ReadOnce
from freshness.domain.companies.pause import Pause, in_force
from freshness.domain.datasets.dataset import DatasetState
from freshness.domain.feeds.feed import MIN_LATE_AFTER, Feed
from freshness.domain.feeds.feed_values import State
from freshness.domain.promises import windows
from freshness.domain.promises.promise import Promise
from freshness.planning.decision import Reason

WAITS_AFTER = timedelta(minutes=15)
"""A read from a customer's machine counts as waiting for the machine after this time at the latest.

It does earlier if its syncs are usually much quicker. Codat documents several states for such a read, such as `Queued`
and `Fetching`, so only the time tells.
"""
OFFLINE_AFTER = timedelta(days=1)
"""How long a read waits before the machine counts as offline: many machines are on at night only."""
UNANSWERED_FOR = timedelta(minutes=2)
"""How long calls may get no response before Codat counts as down: a tick repeats a call a few times."""
NO_CALL_FOR = timedelta(minutes=30)
"""How long no call may be made, although promises are broken, before the ticks count as stopped."""
NO_PROMISE = "Nothing is promised of it, so nobody has to act."
SEND_LINK = "Send the customer the link (on the page under Needs a person, or by ./freshness status COMPANY)."
_AT_PLATFORM = (DatasetState.FETCH_ERROR, DatasetState.RATE_LIMIT_ERROR)


class Turn(StrEnum):
    """Who must do something before a promise can be kept again."""

    US = "us"
    """Whoever runs this system."""
    CODAT = "Codat"
    PLATFORM = "platform"
    CUSTOMER = "customer"
    NOBODY = "nobody"
    """Nothing is promised, or nothing can be done."""

    @property
    def waited_for(self) -> str:
        """Return the party that a feed waits for, in words."""
        return {Turn.PLATFORM: "a platform", Turn.CUSTOMER: "a customer"}.get(self, str(self))


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Whose turn it is, why, and what to do next."""

    turn: Turn
    why: str
    next_action: str
    is_obstacle: bool = False
    """Whether no refresh can succeed until that is done."""
    platform: str = ""
    """The platform whose turn it is; empty if it is not a platform's."""

    @property
    def waited_for(self) -> str:
        """Return the party that a feed waits for, in words: a platform by its name."""
        return self.platform or self.turn.waited_for


GOES_ON = Diagnosis(Turn.NOBODY, "", "Nothing is late, and it goes on by itself.")
"""The diagnosis of a feed with nothing wrong."""


class Party(NamedTuple):
    """One party that feeds wait for, and how many feeds do."""

    turn: Turn
    name: str
    """In words. For several platforms: the one that most feeds wait for, and the number of the others."""
    feeds: int

    def __str__(self) -> str:
        """Return how many feeds wait for the party, in words."""
        return f"{self.feeds:,} {'waits' if self.feeds == 1 else 'wait'} for {self.name}"


def parties(waiting: Iterable[tuple[Diagnosis, int]]) -> tuple[Party, ...]:
    """Return the parties that feeds wait for, most feeds first. `waiting` has the number of feeds by diagnosis."""
    feeds, platforms = Counter[Turn](), Counter[str]()
    for diagnosis, number in waiting:
        feeds[diagnosis.turn] += number
        platforms[diagnosis.platform] += number
    del platforms[""]
    names = [name for name, _ in platforms.most_common()]
    others = f" and {len(names) - 1} other platform{'s' if len(names) > 2 else ''}" if len(names) > 1 else ""
    named = {Turn.PLATFORM: f"{names[0]}{others}"} if names else {}
    return tuple(
        Party(turn, named.get(turn, turn.waited_for), number) for turn, number in feeds.most_common() if number
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The limits and the pause that hold for all feeds at once."""

    at: datetime
    limits: ApiLimits
    pause: Pause | None
    """The pause of all refreshes, if there is one now."""

    @property
    def stopped_until(self) -> datetime | None:
        """Return until when Codat accepts no calls; `None` if it accepts them."""
        return self.limits.stopped_before(self.at)

    @property
    def unanswered_since(self) -> datetime | None:
        """Return since when Codat has answered no call; `None` if it answers, or never reported a quota."""
        answered_at, called_at = self.limits.reported_at, self.limits.called_at
        if answered_at is None or called_at is None or self.stopped_until:
            return None
        return answered_at if called_at - answered_at > UNANSWERED_FOR else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a diagnosis is about: a feed, with what is promised of it and what a tick would do about it."""

    feed: Feed
    company: Company
    connection: Connection
    promise: Promise
    state: State
    is_broken: bool
    misses_at: datetime | None
    """The next deadline that the feed is expected to miss, if any."""
    reason: Reason


def of_everything(conditions: Conditions, webhooks_silent_since: datetime | None) -> list[Diagnosis]:
    """Return the diagnoses that concern all feeds, whether or not a promise is broken yet."""
    found = [_paused("everything", conditions.pause)] if conditions.pause else []
    if not conditions.pause and (stopped := _of_calls(conditions)):
        found.append(stopped)
    if webhooks_silent_since:
        found.append(silent_webhooks(webhooks_silent_since))
    return found


def diagnose(subject: Subject, conditions: Conditions) -> Diagnosis | None:
    """Return why a feed is not fresh, or will miss a deadline; `None` if it is as promised."""
    return _obstacle(subject, conditions.at) or (
        _of_late(subject, conditions) if subject.is_broken or subject.misses_at else None
    )


def ending_consent(connection: Connection, ends_at: datetime) -> Diagnosis:
    """Return the diagnosis that a customer's consent to a connection ends at a time."""
    why = f"consent to {connection.platform} ends on {ends_at:%d %b %Y}"
    return Diagnosis(Turn.CUSTOMER, why, "Send the customer the link before then.")


def silent_webhooks(since: datetime) -> Diagnosis:
    """Return the diagnosis that no webhook has arrived since a time, although reads end."""
    next_action = "Run ./freshness doctor, which checks the webhook at Codat. Until then checks find what ended."
    return Diagnosis(Turn.US, f"no webhook has arrived since {since:%H:%M} UTC", next_action)


def _obstacle(subject: Subject, now: datetime) -> Diagnosis | None:
    """Return what a person must do before a feed can be fresh, or why it never will be."""
    platform = subject.connection.platform
    match subject.state:
        case State.OFF:
            return Diagnosis(Turn.NOBODY, _why_off(subject.connection, subject.feed), NO_PROMISE, is_obstacle=True)
        case State.UNSUPPORTED:
            return Diagnosis(Turn.NOBODY, f"{platform} does not have this data type", NO_PROMISE, is_obstacle=True)
        case State.BLOCKED if subject.connection.is_linked and not subject.connection.is_refused:
            end = subject.feed.end.state if subject.feed.end else ""
            why = f"{platform} refuses it for lack of permissions ({end})"
            next_action = "Ask the customer to authorise it again as someone with full access."
            return Diagnosis(Turn.CUSTOMER, why, next_action, is_obstacle=True)
        case State.BLOCKED if subject.connection.read_once is ReadOnce.UNDECIDED:
            why = f"the link to {platform} has lapsed, and perhaps it was for one read"
            return Diagnosis(Turn.US, why, "Nothing: a check finds that out within minutes.", is_obstacle=True)
        case State.BLOCKED:
            return Diagnosis(Turn.CUSTOMER, f"the link to {platform} has lapsed", SEND_LINK, is_obstacle=True)
        case State.REFRESHING:
            return _waiting_for_machine(subject, now)
        case State.STALE:
            return _closed_window(subject.promise, now)
        case _:
            return None


def _why_off(connection: Connection, feed: Feed) -> str:
    if connection.is_unlinked:
        return "you unlinked it at Codat"
    if connection.is_over and connection.read_once is ReadOnce.INFERRED:
        return f"it was read once: {connection.platform} was disconnected within an hour, as one-time links are"
    if connection.is_over or connection.suffices(feed.succeeded_at):
        return "it was read once, as the policy says"
    return "the policy turns it off"


def _waiting_for_machine(subject: Subject, now: datetime) -> Diagnosis | None:
    """Return the diagnosis that a dataset in flight waits for the customer's machine, if it does."""
    feed, request, platform = subject.feed, subject.feed.in_flight, subject.connection.platform
    if request is None or not subject.connection.is_on_premise or _platform_pauses_until(feed, now):
        return None
    waited = now - request.at
    if waited < min(max(2 * feed.usual_sync_time, MIN_LATE_AFTER), WAITS_AFTER):
        return None
    why = f"it waits until the customer's machine with {platform} is online"
    if waited >= OFFLINE_AFTER:
        why = f"the customer's machine with {platform} is offline"
    return Diagnosis(Turn.CUSTOMER, why, "Ask the customer to switch the machine on.", is_obstacle=True)


def _platform_pauses_until(feed: Feed, now: datetime) -> datetime | None:
    """Return until when the platform pauses a read in flight, as Codat says; `None` if it does not."""
    return feed.paused_until if feed.paused_until and feed.paused_until > now else None


def _closed_window(promise: Promise, now: datetime) -> Diagnosis | None:
    if windows.allowed(promise.windows, now):
        return None
    opens_at = windows.next_allowed(promise.windows, now)
    why = f"the policy's window opens at {opens_at:%H:%M} UTC" if opens_at else "the policy's windows never open"
    next_action = "Wait until the window opens, or change it in freshness.toml."
    return Diagnosis(Turn.US, why, next_action, is_obstacle=True)


def _of_late(subject: Subject, conditions: Conditions) -> Diagnosis:
    """Return why a feed whose promise is broken, or that will miss a deadline, was not refreshed in time."""
    if conditions.pause:
        return _paused("everything", conditions.pause)
    if pause := in_force(subject.company.pause, conditions.at):
        return _paused("the company", pause, subject.company.company_id)
    return _of_calls(conditions) or no_tick(conditions) or _of_feed(subject, conditions.at)


RESUME = "Run ./freshness plan to see what would be queued, and ./freshness resume to queue it."


def _paused(what: str, pause: Pause, company_id: str = "") -> Diagnosis:
    resume = f"Run ./freshness resume {company_id}." if company_id else RESUME
    return Diagnosis(Turn.US, f"{what} is {pause}", f"Wait until then, or r{resume[1:]}" if pause.until else resume)


def _of_calls(conditions: Conditions) -> Diagnosis | None:
    """Return the diagnosis for all feeds if no call can be made, or none is answered."""
    if conditions.limits.share_left(conditions.at) == 0:
        next_action = (
            "Wait until 00:00 UTC, when Codat grants new calls. "
            "If it recurs, promise less in freshness.toml, or buy more calls from Codat."
        )
        return Diagnosis(Turn.US, "today's quota of calls to Codat is spent until 00:00 UTC", next_action)
    if until := conditions.stopped_until:
        return Diagnosis(Turn.CODAT, f"Codat accepts no calls until {until:%H:%M} UTC", "Wait until then.")
    if since := conditions.unanswered_since:
        next_action = (
            "See Codat's status page, and wait. If it reports nothing, ./freshness doctor shows how calls fail."
        )
        return Diagnosis(Turn.CODAT, f"Codat has answered no call since {since:%H:%M} UTC", next_action)
    return None


def no_tick(conditions: Conditions) -> Diagnosis | None:
    """Return the diagnosis that the ticks have stopped, if none has called Codat for `NO_CALL_FOR`."""
    since = conditions.limits.called_at
    if since and conditions.at - since > NO_CALL_FOR:
        why = f"no tick has called Codat since {since:%H:%M} UTC"
        return Diagnosis(Turn.US, why, "Run ./freshness doctor, and read the log of queue_refreshes.")
    return None


def _of_feed(subject: Subject, now: datetime) -> Diagnosis:
    if subject.state is State.REFRESHING:
        if until := _platform_pauses_until(subject.feed, now):
            why = f"{subject.connection.platform} has its read paused until {until:%d %b %H:%M} UTC"
            return _at(subject.connection.platform, why, "Wait: Codat goes on with it by itself.")
        return Diagnosis(Turn.CODAT, "Codat is reading it", "Wait: a check follows if it takes unusually long.")
    if subject.state is State.FAILING:
        return _of_failure(subject.feed, subject.connection.platform)
    return _of_decision(subject)


def _at(platform: str, why: str, next_action: str) -> Diagnosis:
    return Diagnosis(Turn.PLATFORM, why, next_action, platform=platform)


def _of_failure(feed: Feed, platform: str) -> Diagnosis:
    if feed.failed_calls:
        return Diagnosis(Turn.CODAT, "Codat refused the request, or did not answer it", "Wait: it is tried again.")
    state = feed.end.state if feed.end else ""
    if state == DatasetState.AUTH_ERROR:
        wait = "Wait: it is tried again. If that is refused too, the customer must relink."
        return _at(platform, f"{platform} refused one read ({state})", wait)
    support = "Wait: it is tried again. If it keeps failing, give Codat's support the dataset id."
    if state in _AT_PLATFORM:
        what = "has reached its own limit" if state == DatasetState.RATE_LIMIT_ERROR else "answered with an error"
        return _at(platform, f"{platform} {what} ({state})", support)
    return Diagnosis(Turn.CODAT, f"Codat could not process it ({state})", support)


def _of_decision(subject: Subject) -> Diagnosis:
    match subject.reason:
        case Reason.OVER_BUDGET:
            why, next_action = "over the budget of calls", "Wait, or raise share_of_quota in freshness.toml."
        case Reason.OVER_QUOTA:
            why = "over its connection's quota of the day"
            next_action = "Wait until 00:00 UTC, or raise refreshes_per_connection in freshness.toml."
        case Reason.OVER_SPENDING:
            why = f"over the cap on spending for {subject.connection.platform}"
            next_action = "Wait: more may be spent each day. Or raise budget.spending in freshness.toml."
        case _ if subject.misses_at:
            why = f"it is expected to miss the deadline at {subject.misses_at:%H:%M} UTC"
            next_action = (
                "Resume what is paused, or raise share_of_quota, calls_per_minute or the deadline's fresh_within."
            )
        case _:
            why, next_action = "due to be queued", "Nothing: a tick queues it within minutes."
    return Diagnosis(Turn.US, why, next_action)
