"""Decides what a tick does about each feed that is due, and why.

Pure and deterministic: the same feeds, policy, budget and time give the same decisions. `make simulate` and the
benchmarks run this very code.

A decision is stored only if its feed is written because of it: a write for each feed and tick would be expensive. To
know what applies now, call `decide` again.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from freshness.domain.companies.company import Company, Connection
from freshness.domain.companies.pause import in_force
from freshness.domain.datasets.dataset import Trigger
from freshness.domain.feeds import schedule
from freshness.domain.feeds.feed import DAY, Feed, FeedKey
from freshness.domain.feeds.schedule import assumed_rate
from freshness.domain.learned.change_rate import value_of_first_read, value_of_refreshing
from freshness.domain.promises import windows
from freshness.domain.promises.promise import Promise
from freshness.planning.allocation import ConnectionQuotas, allocated, units_of
from freshness.planning.decision import Action, Candidate, Decision, Reason, rescheduled
from freshness.policy.policy import Policy

SOON = 0.1
"""A feed is due soon if it is due within this share of its `fresh_within`."""


def decide(
    feeds: Iterable[Feed],
    companies: Mapping[str, Company],
    policy: Policy,
    now: datetime,
    *,
    paused: bool = False,
    call_budget: float = math.inf,
    on_demand_call_budget: float = math.inf,
    spend_left: Mapping[str, float] = MappingProxyType({}),
) -> list[Decision]:
    """Return a decision about every feed: those to be queued come last, the most urgent of them first.

    All feeds of a company must be given if `needs_all_feeds` is true for one of them. `call_budget` is how many
    refreshes may be queued now, `on_demand_call_budget` how many that callers wait for, and `spend_left` how many of
    each platform with a cap on spending. While everything is `paused`, none is queued.
    """
    given = list(feeds)
    decisions: list[Decision] = []
    candidates: list[Candidate] = []
    for feed in given:
        company = companies.get(feed.company_id) or Company(company_id=feed.company_id)
        decided = _decide_alone(feed, company, policy, now)
        if isinstance(decided, Decision):
            decisions.append(decided)
        else:
            candidates.append(decided)
    if paused:
        return [*decisions, *(candidate.waits(Reason.PAUSED) for candidate in candidates)]
    units, others = units_of(candidates, policy, now)
    queued, left = allocated(
        units, ConnectionQuotas(policy, given, spend_left, now), call_budget, on_demand_call_budget
    )
    not_yet = [candidate.rescheduled(Reason.NOT_YET, candidate.due_at) for candidate in others]
    return decisions + not_yet + left + queued


def needs_all_feeds(feed: Feed, company: Company, policy: Policy) -> bool:
    """Return whether the decision about a feed depends on other feeds: of its set, or of its connection's quota."""
    connection = company.connections.get(feed.connection_id)
    if connection is None:
        return False
    return bool(policy.set_of(feed.data_type, company) or policy.refreshes_a_day(connection))


def due_soon(
    company: Company, feeds: Iterable[Feed], due: Collection[FeedKey], policy: Policy, now: datetime
) -> dict[FeedKey, Decision]:
    """Return the decisions to queue a company's feeds that are due soon, without those that are due already.

    Feeds that depend on others, by a set or by their connection's quota, are left out. So are those that their windows
    or `at_most_every` forbid now, those that hours or a deadline would make due again soon, and those of platforms
    with a cap on spending, where it costs more to refresh early.
    """
    companies = {company.company_id: company}
    soon: dict[FeedKey, Decision] = {}
    for feed in feeds:
        connection = company.connections.get(feed.connection_id)
        if feed.key in due or feed.due_at is None or connection is None or needs_all_feeds(feed, company, policy):
            continue
        if policy.capped_as(connection):
            continue
        promise = policy.promise(feed.data_type, company, connection)
        in_force, age = promise.at(now), feed.age(now)
        if age and in_force.confidence and age < in_force.at_most_every:
            continue
        later = now + SOON * in_force.fresh_within
        if feed.due_at > later or not windows.allowed(promise.windows, now):
            continue
        if promise.time_of_day and _is_due_again_soon(feed, feed.due_at, promise, connection, now):
            continue
        decisions = decide([feed], companies, policy, later)
        soon |= {each.feed.key: each for each in decisions if each.action is Action.QUEUE}
    return soon


def _is_due_again_soon(feed: Feed, due_at: datetime, promise: Promise, connection: Connection, now: datetime) -> bool:
    """Return whether a feed that is refreshed now, before `due_at`, is due again within half of its bound after that.

    Example: a copy may be half an hour old at 09:00. One made at 08:10, in place of 08:50, is refreshed again at 08:50.
    """
    again_at = schedule.due_at(replace(feed, succeeded_at=now), promise, connection)
    return again_at is not None and again_at < due_at + promise.at(due_at).fresh_within / 2


def asks_first(feed: Feed, company: Company, policy: Policy, now: datetime) -> bool:
    """Return whether to ask Codat about a feed's dataset in flight before anything is published or decided.

    That is so if the dataset is late, or if only Codat knows whether the promise broke.
    """
    connection = company.connections.get(feed.connection_id)
    if connection is None or feed.in_flight is None or feed.late_at is None or not feed.in_flight.dataset_id:
        return False
    if feed.late_at <= now:
        return True
    at = schedule.breaks_at(feed, policy.promise(feed.data_type, company, connection), connection)
    return at is not None and at != feed.broken_at and at <= now and schedule.is_break_unknown(feed, at, now)


def _decide_alone(feed: Feed, company: Company, policy: Policy, now: datetime) -> Decision | Candidate:
    """Return the decision about a feed, as far as it depends on no other feed; a candidate if it may be queued."""
    connection = company.connections.get(feed.connection_id)
    if connection is None:
        return Decision(feed=feed, company=company, action=Action.CHECK, reason=Reason.NO_CONNECTION)
    promise = policy.promise(feed.data_type, company, connection)
    due = schedule.due_at(feed, promise, connection)
    too_old_at = schedule.breaks_at(feed, promise, connection)
    # If the promise broke by now, this tick has published it.
    breaks_at = too_old_at if too_old_at and too_old_at > now else None
    if due is None:
        return rescheduled(feed, company, _why_never(feed, promise, connection), None, breaks_at)
    if feed.in_flight and feed.late_at:
        late = feed.late_at <= now
        action, reason = (Action.CHECK, Reason.LATE) if late else (Action.WAIT, Reason.IN_FLIGHT)
        return Decision(feed=feed, company=company, action=action, reason=reason, until=feed.late_at)
    is_due, is_blocked = due <= now, feed.is_blocked(connection)
    if not is_due and feed.is_unsupported:
        return rescheduled(feed, company, Reason.UNSUPPORTED, due, breaks_at)
    if not is_due and (is_blocked or feed.is_failing or policy.set_of(feed.data_type, company) is None):
        return rescheduled(feed, company, Reason.BLOCKED if is_blocked else Reason.NOT_YET, due, breaks_at)
    if pause := in_force(company.pause, now):
        until = min(filter(None, (pause.until, breaks_at)), default=None)
        return Decision(feed=feed, company=company, action=Action.HIDE, reason=Reason.PAUSED, until=until)
    is_requested = feed.refresh_requested_at and feed.refresh_requested_by is not Trigger.KEEP_ALIVE
    ignores_windows = is_requested or (feed.wanted and feed.wanted.at_any_time)
    is_open = windows.allowed(promise.windows, now)
    if not ignores_windows and not is_open:
        if not is_due:
            return rescheduled(feed, company, Reason.NOT_YET, due, breaks_at)
        return rescheduled(feed, company, Reason.OUTSIDE_WINDOW, windows.next_allowed(promise.windows, now), breaks_at)
    due_anyway = schedule.due_at(replace(feed, wanted=None), promise, connection) if feed.wanted and is_open else None
    is_promised = not feed.wanted or (due_anyway is not None and due_anyway <= now)
    return Candidate(
        feed,
        company,
        connection,
        due,
        is_due,
        breaks_at,
        _rank(feed, promise, too_old_at, now, policy.relative_price(connection)),
        is_promised,
    )


def _why_never(feed: Feed, promise: Promise, connection: Connection) -> Reason:
    """Return why a feed is never due. If nothing else is the cause, its windows never open (`windows.planned`)."""
    if promise.off or connection.suffices(feed.succeeded_at):
        return Reason.OFF
    if feed.is_unsupported:
        return Reason.UNSUPPORTED
    return Reason.BLOCKED if feed.is_blocked(connection) else Reason.OUTSIDE_WINDOW


def _rank(
    feed: Feed, promise: Promise, too_old_at: datetime | None, now: datetime, price: float
) -> tuple[int, float, str, str, str]:
    """Return the sort key of a candidate: requested or wanted, then never read, then due by age, then the others.

    Requests are ordered by their time, and wanted feeds by their deadline. Those due by age are ordered by their age
    relative to that at which the promise breaks, times their weight. The others, due by confidence alone, are ordered
    by the value of a refresh now for its price. So are those never read.
    """
    age, in_force = feed.age(now), promise.at(now)
    if feed.refresh_requested_at:
        kind, urgency = 0, -feed.refresh_requested_at.timestamp()
    elif feed.wanted:
        kind, urgency = 0, -feed.wanted.deadline.timestamp()
    elif age is None or feed.succeeded_at is None or too_old_at is None:
        kind, urgency = 1, value_of_first_read(in_force.weight, assumed_rate(feed, promise)) / price
    elif schedule.is_due_by_age(feed, promise, now):
        kind, urgency = 2, in_force.weight * (age / (too_old_at - feed.succeeded_at))
    else:
        kind, urgency = 3, value_of_refreshing(in_force.weight, assumed_rate(feed, promise), age / DAY) / price
    return kind, -urgency, *feed.key
