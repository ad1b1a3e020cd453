"""What a tick does about each feed, and why."""

import math
from collections import Counter
from dataclasses import replace
from datetime import datetime, time, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from freshness.domain.companies.company import Company, Connection, ConnectionStatus
from freshness.domain.companies.pause import Pause
from freshness.domain.datasets.dataset import DatasetState, Trigger
from freshness.domain.feeds.facts import PromiseReviewed
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.feed_values import End, Request, Wanted
from freshness.domain.feeds.schedule import due_at, reschedule
from freshness.domain.learned.learned_rates import FeedSample, LearnedRates, kind_of
from freshness.domain.promises.promise import Promise
from freshness.domain.promises.windows import Window, allowed, next_allowed
from freshness.domain.transitions.transition import transitions
from freshness.planning.decision import Action, Decision, Reason
from freshness.planning.in_flight import KEPT, InFlight
from freshness.planning.planner import asks_first, decide, due_soon, needs_all_feeds
from freshness.policy.policy import Policy
from tests.builders import DAY, HOUR, MINUTE, NOON, SECOND, a_connection, a_policy

TYPES = ("invoices", "bills", "payments", "balanceSheet", "profitAndLoss")


def connection(platform: str = "Xero", status: ConnectionStatus = ConnectionStatus.LINKED) -> Connection:
    return a_connection(platform, NOON - timedelta(days=300), platform=platform, status=status)


def company(company_id: str = "company", *platforms: str) -> Company:
    connections = [connection(platform) for platform in platforms or ("Xero",)]
    return Company(company_id=company_id, connections={each.connection_id: each for each in connections})


def feed(
    age: timedelta | None, data_type: str = "invoices", company_id: str = "company", platform: str = "Xero"
) -> Feed:
    new = Feed(company_id=company_id, data_type=data_type, connection_id=platform)
    return new if age is None else new.ended(End(at=NOON - age, state=DatasetState.COMPLETE))


def wanted(feed: Feed, within: timedelta = HOUR, *, at_any_time: bool = False) -> Feed:
    return feed.with_wanted(Wanted(not_before=NOON, deadline=NOON + within, at_any_time=at_any_time))


def decided(feeds: list[Feed], policy: Policy, companies: list[Company] | None = None, **how: Any) -> list[Decision]:
    known = {each.company_id: each for each in companies or [company()]}
    return decide(feeds, known, policy, NOON, **how)


def reasons(decisions: list[Decision]) -> dict[str, Reason]:
    return {decision.feed.data_type: decision.reason for decision in decisions}


def queued(decisions: list[Decision]) -> list[str]:
    return [decision.feed.data_type for decision in decisions if decision.action is Action.QUEUE]


SHUT: dict[str, Any] = {"windows": [{"name": "noon", "never": "11:00 to 14:00"}]}
TOGETHER: dict[str, Any] = {
    "sets": [{"name": "s", "data_types": ["balanceSheet", "profitAndLoss"], "within": "1 hour"}]
}


OFF = a_policy(data_types={"invoices": {"off": True}})
PAUSED, PAUSE_OVER = (replace(company(), pause=Pause(until=until)) for until in (NOON + HOUR, NOON))


def ended(state: str) -> Feed:
    return feed(DAY).ended(End(at=NOON, state=state))


def asked(ago: timedelta, feed: Feed) -> Feed:
    return feed.requested(Request(at=NOON - ago, trigger=Trigger.PROMISE, dataset_id="d"))


@pytest.mark.parametrize(
    ("feed", "policy", "company", "reason", "action"),
    [
        (feed(2 * DAY), a_policy(), company(), Reason.DUE, Action.QUEUE),
        (feed(None), a_policy(), company(), Reason.DUE, Action.QUEUE),
        (feed(HOUR), a_policy(), company(), Reason.NOT_YET, Action.RESCHEDULE),
        (feed(2 * DAY), a_policy(**SHUT), company(), Reason.OUTSIDE_WINDOW, Action.RESCHEDULE),
        (feed(2 * DAY).with_refresh_requested(NOON), a_policy(**SHUT), company(), Reason.REQUESTED, Action.QUEUE),
        (wanted(feed(HOUR)), a_policy(), company(), Reason.ON_DEMAND, Action.QUEUE),
        (wanted(feed(HOUR)), a_policy(**SHUT), company(), Reason.OUTSIDE_WINDOW, Action.RESCHEDULE),
        (wanted(feed(HOUR), at_any_time=True), a_policy(**SHUT), company(), Reason.ON_DEMAND, Action.QUEUE),
        (wanted(feed(HOUR)), a_policy(), PAUSED, Reason.PAUSED, Action.HIDE),
        (feed(2 * DAY), a_policy(), PAUSED, Reason.PAUSED, Action.HIDE),
        (feed(2 * DAY), a_policy(), PAUSE_OVER, Reason.DUE, Action.QUEUE),
        (asked(HOUR, feed(DAY)), a_policy(), PAUSED, Reason.LATE, Action.CHECK),
        (feed(2 * DAY), a_policy(), Company(company_id="company"), Reason.NO_CONNECTION, Action.CHECK),
        (feed(2 * DAY), OFF, company(), Reason.OFF, Action.WAIT),
        (replace(feed(2 * DAY), written_at=NOON - HOUR), OFF, company(), Reason.OFF, Action.WAIT),
        (ended(DatasetState.NOT_SUPPORTED), a_policy(), company(), Reason.UNSUPPORTED, Action.WAIT),
        (ended(DatasetState.PERMISSIONS_ERROR), a_policy(), company(), Reason.BLOCKED, Action.RESCHEDULE),
        (asked(5 * SECOND, feed(DAY)), a_policy(), company(), Reason.IN_FLIGHT, Action.WAIT),
        (asked(HOUR, feed(DAY)), a_policy(), company(), Reason.LATE, Action.CHECK),
    ],
    ids=lambda value: str(value) if isinstance(value, Reason) else "",
)
def test_each_decision_has_its_reason(
    feed: Feed, policy: Policy, company: Company, reason: Reason, action: Action
) -> None:
    (decision,) = decided([feed], policy, [company])
    assert (decision.reason, decision.action) == (reason, action)


def test_while_all_is_paused_what_is_due_stays_in_the_index_and_what_is_late_is_checked() -> None:
    late, due = decided([feed(2 * DAY), asked(HOUR, feed(DAY, "bills"))], a_policy(), paused=True)
    assert (due.reason, due.action, late.action) == (Reason.PAUSED, Action.WAIT, Action.CHECK)


@pytest.mark.parametrize(
    ("hours", "policy", "are_soon"),
    [
        (2, a_policy(), True),
        (3, a_policy(), False),
        (2, a_policy(**SHUT), False),
        (2, a_policy(default={"fresh_within": "1 day", "confidence": 0.9, "at_most_every": "21 hours"}), True),
        (2, a_policy(default={"fresh_within": "1 day", "confidence": 0.9, "at_most_every": "23 hours"}), False),
        (2, a_policy(sets=[{"name": "s", "data_types": ["invoices", "bills"], "within": "1 hour"}]), False),
        (2, a_policy(deadlines=[{"name": "d", "by": "15:00", "fresh_within": "1 hour"}]), False),
        (2, a_policy(deadlines=[{"name": "d", "by": "09:00", "fresh_within": "1 hour"}]), True),
    ],
    ids=[
        "within a tenth of a day",
        "later",
        "outside its windows now",
        "by confidence",
        "at most every",
        "of a set",
        "due again for a deadline",
        "a deadline long after",
    ],
)
def test_what_is_due_soon_may_be_queued_early_unless_windows_or_other_feeds_decide(
    hours: int, policy: Policy, are_soon: bool
) -> None:
    early = replace(feed(DAY - 2 * HOUR), due_at=NOON + hours * HOUR)

    assert bool(due_soon(company(), [early], (), policy, NOON)) is are_soon


def test_what_waits_for_a_window_comes_into_sight_when_it_opens() -> None:
    (decision,) = decided([feed(2 * DAY)], a_policy(**SHUT))
    assert decision.until == NOON + 2 * HOUR


def test_over_budget_the_furthest_past_its_promise_by_weight_comes_first() -> None:
    feeds = [feed(30 * HOUR, "invoices"), feed(40 * HOUR, "bills"), feed(35 * HOUR, "payments")]
    weighty = a_policy(data_types={"payments": {"weight": 2}})
    assert queued(decided(feeds, weighty, call_budget=2)) == ["payments", "bills"]
    assert reasons(decided(feeds, weighty, call_budget=2))["invoices"] is Reason.OVER_BUDGET


def test_over_budget_what_is_within_its_promise_comes_by_what_a_refresh_is_worth() -> None:
    confident = a_policy(default={"fresh_within": "4 weeks", "confidence": 0.999})
    often, seldom, too_often = (
        replace(feed(DAY, data_type), changes_per_day=rate)
        for data_type, rate in [("invoices", 1.5), ("bills", 0.01), ("payments", 500.0)]
    )
    broken = feed(30 * DAY, "balanceSheet")

    decisions = decided([often, seldom, too_often, broken], confident)

    assert queued(decisions) == ["balanceSheet", "invoices", "bills", "payments"]


def test_a_set_is_queued_together_when_one_of_it_is_due() -> None:
    feeds = [feed(2 * DAY, "balanceSheet"), feed(2 * HOUR, "profitAndLoss"), feed(2 * HOUR, "invoices")]
    assert reasons(decided(feeds, a_policy(**TOGETHER))) == {
        "balanceSheet": Reason.DUE,
        "profitAndLoss": Reason.DUE_WITH_SET,
        "invoices": Reason.NOT_YET,
    }


def test_what_was_synced_lately_enough_for_its_set_is_not_refreshed_again() -> None:
    feeds = [feed(2 * DAY, "balanceSheet"), feed(30 * MINUTE, "profitAndLoss")]
    assert queued(decided(feeds, a_policy(**TOGETHER))) == ["balanceSheet"]


def test_a_set_that_the_budget_has_no_room_for_waits_whole_and_nothing_passes_it() -> None:
    feeds = [feed(3 * DAY, "balanceSheet"), feed(2 * HOUR, "profitAndLoss"), feed(2 * DAY, "invoices")]
    assert reasons(decided(feeds, a_policy(**TOGETHER), call_budget=1)) == {
        "balanceSheet": Reason.WAITING_FOR_SET,
        "profitAndLoss": Reason.WAITING_FOR_SET,
        "invoices": Reason.OVER_BUDGET,
    }


def test_a_connection_gets_no_more_than_its_share_of_the_day() -> None:
    shared = a_policy(budget={"refreshes_per_connection": {"Xero": 2}})
    done = asked(2 * HOUR, feed(2 * DAY)).ended(End(at=NOON - HOUR, state=DatasetState.COMPLETE))
    feeds = [done, feed(3 * DAY, "bills"), feed(2 * DAY, "payments"), feed(2 * DAY, "payments", platform="Sage 50")]

    decisions = decided(feeds, shared, [company("company", "Xero", "Sage 50")])

    assert Counter(d.feed.connection_id for d in decisions if d.action is Action.QUEUE) == {"Xero": 1, "Sage 50": 1}
    (over,) = [decision for decision in decisions if decision.reason is Reason.OVER_QUOTA]
    assert (over.feed.data_type, over.until) == ("payments", NOON + 12 * HOUR)


def test_all_feeds_of_a_company_are_needed_where_a_set_or_a_share_is_concerned() -> None:
    assert needs_all_feeds(feed(DAY, "balanceSheet"), company(), a_policy(**TOGETHER))
    assert not needs_all_feeds(feed(DAY), company(), a_policy(**TOGETHER))
    assert needs_all_feeds(feed(DAY), company(), a_policy(budget={"refreshes_per_connection": {"Xero": 2}}))


@pytest.mark.parametrize(("confidence", "days"), [(None, 28.0), (0.9, -math.log(0.9) / 0.2)])
def test_only_confidence_makes_a_feed_due_once_a_change_is_probable_enough(
    confidence: float | None, days: float
) -> None:
    often = replace(feed(4 * HOUR), changes_per_day=0.2)
    due = due_at(often, Promise(fresh_within=28 * DAY, confidence=confidence), connection())
    assert due is not None
    assert abs(due - (NOON - 4 * HOUR + days * DAY)) < 10 * MINUTE


WINDOWS = st.lists(
    st.builds(
        Window,
        name=st.just("w"),
        allows=st.booleans(),
        start=st.builds(time, st.integers(0, 11), st.sampled_from([0, 30])),
        end=st.builds(time, st.integers(12, 23), st.sampled_from([0, 30])),
        days=st.frozensets(st.integers(0, 6), min_size=1),
        zone=st.sampled_from([ZoneInfo("UTC"), ZoneInfo("Europe/London"), ZoneInfo("Australia/Sydney")]),
    ),
    max_size=3,
).map(tuple)
AGES = st.one_of(st.none(), st.integers(0, 20 * 24 * 60).map(lambda minutes: minutes * MINUTE))
PLATFORMS = ("Xero", "Sage 50")


@st.composite
def fleets(draw: st.DrawFn) -> list[Feed]:
    names = draw(
        st.sets(st.tuples(st.sampled_from("abc"), st.sampled_from(TYPES), st.sampled_from(PLATFORMS)), max_size=20)
    )
    feeds = []
    for company_id, data_type, platform in sorted(names):
        drawn = feed(draw(AGES), data_type, company_id, platform)
        ran = draw(st.none() | st.integers(0, 20 * 60))
        if ran is not None:
            state = draw(st.sampled_from(list(DatasetState)[9:]))
            drawn = asked(ran * MINUTE, drawn).ended(End(at=NOON - ran * MINUTE + MINUTE, state=state))
        feeds.append(replace(drawn, changes_per_day=draw(st.none() | st.floats(0.01, 100))))
    return feeds


POLICIES = st.fixed_dictionaries(
    {
        "default": st.fixed_dictionaries(
            {"fresh_within": st.sampled_from(["1 hour", "1 day", "1 week"])},
            optional={"confidence": st.floats(0.1, 0.99)},
        ),
        "windows": st.sampled_from(
            [
                [],
                [{"name": "a", "platforms": ["Xero"], "never": "11:00 to 13:00"}],
                [{"name": "a", "data_types": ["bills"], "only": "22:00 to 04:00"}],
            ]
        ),
        "sets": st.sampled_from([[], TOGETHER["sets"]]),
        "budget": st.sampled_from([{}, {"refreshes_per_connection": {"Xero": 3, "Sage 50": 1}}]),
    }
)


@given(feeds=fleets(), tables=POLICIES, call_budget=st.integers(0, 20), seed=st.integers())
def test_no_decision_breaks_a_window_a_share_the_budget_or_a_set_in_whatever_order_feeds_are(
    feeds: list[Feed], tables: dict[str, Any], call_budget: int, seed: int
) -> None:
    rules = Policy.model_validate(tables)
    companies = {name: company(name, *PLATFORMS) for name in "abc"}

    decisions, other = (
        decide(given, companies, rules, NOON, call_budget=call_budget)
        for given in (feeds, Random(seed).sample(feeds, len(feeds)))
    )

    to_queue = [decision for decision in decisions if decision.action is Action.QUEUE]
    assert Counter(decision.feed for decision in decisions) == Counter(feeds)
    assert Counter(map(_comparable, decisions)) == Counter(map(_comparable, other))
    assert [d.feed for d in to_queue] == [d.feed for d in other if d.action is Action.QUEUE]
    assert len(to_queue) <= call_budget
    spent = Counter({(r.company_id, r.connection_id): 0 for r in feeds})
    for each in feeds:
        spent[each.company_id, each.connection_id] += each.requests_on(NOON.date())
    for decision in to_queue:
        platform = decision.company.connections[decision.feed.connection_id]
        promise = rules.promise(decision.feed.data_type, decision.company, platform)
        assert allowed(promise.windows, NOON)
        spent[decision.feed.company_id, decision.feed.connection_id] += 1
        share = rules.refreshes_a_day(platform)
        assert share is None or spent[decision.feed.company_id, decision.feed.connection_id] <= share
    for name in companies:
        members = [d for d in decisions if d.feed.company_id == name and rules.set_of(d.feed.data_type, d.company)]
        waiting = [d for d in members if d.reason in (Reason.OVER_BUDGET, Reason.WAITING_FOR_SET)]
        assert not waiting or not queued(members)


def _comparable(decision: Decision) -> tuple[Feed, Action, Reason, datetime | None]:
    return decision.feed, decision.action, decision.reason, decision.until


PROMISES = st.builds(
    Promise,
    fresh_within=st.integers(10, 20000).map(lambda minutes: minutes * MINUTE),
    confidence=st.none() | st.floats(0.01, 0.99),
    at_most_every=st.integers(1, 600).map(lambda minutes: minutes * MINUTE),
    windows=WINDOWS,
)
LEARNING = st.lists(st.tuples(st.integers(1, 5000), st.booleans()), max_size=8)


@given(
    promise=PROMISES,
    syncs=LEARNING,
    sooner=st.integers(1, 100),
    surer=st.floats(0.01, 0.99),
    oftener=st.integers(1, 100),
)
def test_tightening_a_promise_never_makes_that_feed_due_later(
    promise: Promise, syncs: list[tuple[int, bool]], sooner: int, surer: float, oftener: int
) -> None:
    at, learned = NOON, feed(DAY)
    for minutes, modified in syncs:
        at += minutes * MINUTE
        learned = learned.ended(End(at=at, state=DatasetState.COMPLETE), modified)
    tighter = replace(
        promise,
        fresh_within=promise.fresh_within * sooner / 100,
        confidence=max(promise.confidence or 0, surer),
        at_most_every=promise.at_most_every * oftener / 100,
    )

    loose, tight = (reschedule(learned, each, connection()).due_at for each in (promise, tighter))

    assert (loose is None) == (tight is None)
    assert loose is None or tight is None or tight <= loose


@settings(max_examples=50)
@given(
    fresh_within=st.integers(60, 3000).map(lambda minutes: minutes * MINUTE),
    windows=WINDOWS,
    took=st.integers(1, 10).map(lambda minutes: minutes * MINUTE),
)
def test_a_promise_that_can_be_kept_is_kept(
    fresh_within: timedelta, windows: tuple[Window, ...], took: timedelta
) -> None:
    promise = Promise(fresh_within=fresh_within, windows=windows)
    kept = feed(timedelta())
    # It can be kept if no window is shut for so long that a sync before and one after it lie too far apart.
    assume(allowed(windows, NOON) and _longest_shut(windows) + 2 * took + 3 * MINUTE <= fresh_within)
    for _ in range(20):
        due = due_at(kept, promise, connection())
        assert due is not None
        tick = due + MINUTE
        assert allowed(windows, due)
        assert kept.succeeded_at
        assert not kept.history.durations or tick + took - kept.succeeded_at <= fresh_within
        kept = kept.requested(Request(at=tick, trigger=Trigger.PROMISE, dataset_id=str(tick)))
        kept = kept.ended(End(at=tick + took, state=DatasetState.COMPLETE), records_modified=False)


def _longest_shut(windows: tuple[Window, ...]) -> timedelta:
    longest, at = timedelta(), NOON
    while at < NOON + 15 * DAY:
        opens = next_allowed(windows, at)
        if opens is None:
            return timedelta.max / 2
        longest = max(longest, opens - at)
        at = max(opens, at) + 30 * MINUTE if opens == at else opens
    return longest + 30 * MINUTE


def test_what_callers_wait_for_is_queued_first_the_earliest_deadline_before_the_others() -> None:
    feeds = [
        feed(3 * DAY, "invoices"),
        wanted(feed(HOUR, "bills"), 2 * HOUR),
        wanted(feed(HOUR, "payments"), HOUR),
    ]
    assert queued(decided(feeds, a_policy())) == ["payments", "bills", "invoices"]


def test_callers_and_promises_are_queued_from_allowances_of_their_own() -> None:
    feeds = [feed(3 * DAY, "invoices"), wanted(feed(HOUR, "bills")), wanted(feed(HOUR, "payments"))]

    no_callers = decided(feeds, a_policy(), on_demand_call_budget=0)
    one_caller = decided(feeds, a_policy(), on_demand_call_budget=1, call_budget=0)

    assert queued(no_callers) == ["invoices"]
    assert reasons(no_callers)["bills"] is Reason.OVER_BUDGET
    assert queued(one_caller) == ["bills"]
    assert reasons(one_caller)["payments"] is reasons(one_caller)["invoices"] is Reason.OVER_BUDGET
    more = [*feeds, wanted(feed(HOUR, "suppliers"))]
    assert len(queued(decided(more, a_policy(), on_demand_call_budget=3, call_budget=1))) == 4


def test_a_feed_that_is_due_anyway_is_queued_although_the_share_of_callers_is_spent() -> None:
    assert queued(decided([wanted(feed(3 * DAY))], a_policy(), on_demand_call_budget=0)) == ["invoices"]
    assert queued(decided([wanted(feed(3 * DAY))], a_policy(), on_demand_call_budget=0, call_budget=0)) == []


def test_codat_is_asked_first_about_a_dataset_that_is_late_or_in_flight_as_the_promise_breaks() -> None:
    breaks = asked(5 * SECOND, feed(DAY))
    unnamed = feed(DAY).requested(Request(at=NOON - 5 * SECOND, trigger=Trigger.PROMISE))

    def asks(feed: Feed, at: datetime = NOON) -> bool:
        return asks_first(feed, company(), a_policy(), at)

    assert asks(breaks)
    assert asks(asked(HOUR / 2, feed(HOUR)))
    assert not asks(breaks, NOON - SECOND)
    on_time, seen = asked(5 * SECOND, feed(HOUR)), replace(breaks, seen_running_at=NOON)
    assert not any(map(asks, (feed(2 * DAY), on_time, unnamed, seen, replace(breaks, broken_at=NOON))))
    assert not asks_first(breaks, Company(company_id="company"), a_policy(), NOON)


def order(feeds: list[Feed], rules: Policy, companies: dict[str, Company]) -> list[str]:
    """Return the companies of feeds in the order in which they are queued."""
    decisions = decide(feeds, companies, rules, NOON, call_budget=math.inf)
    return [decision.feed.company_id for decision in decisions if decision.action is Action.QUEUE]


DEAR = {"prices": {"Xero": "0.01 USD per refresh", "Sage": "1 USD per refresh"}}
EAGER = {"confidence": 0.999, "at_most_every": "1 minute"}


def test_of_equal_value_the_cheaper_refresh_comes_first_and_what_has_no_price_is_as_cheap_as_the_cheapest() -> None:
    companies = {name: company(name, platform) for name, platform in (("a", "Sage"), ("b", "Xero"), ("c", "Wave"))}
    rules = Policy.model_validate({"default": {"fresh_within": "30 days", **EAGER}, **DEAR})
    later = {"b": 5 * HOUR, "c": 4 * HOUR, "a": 20 * HOUR}

    feeds = [
        feed(age, company_id=name, platform=next(iter(companies[name].connections))) for name, age in later.items()
    ]

    assert order(feeds, rules, companies) == ["b", "c", "a"]
    free = rules.model_copy(update={"prices": {}})
    assert order(feeds, free, companies) == ["a", "b", "c"]


def test_what_its_bound_makes_due_comes_first_whatever_it_costs_and_others_weigh() -> None:
    companies = {"a": company("a", "Sage"), "b": company("b", "Xero")}
    heavy = {TYPES[1]: {"weight": 100}}
    rules = Policy.model_validate({"default": {"fresh_within": "1 day", **EAGER}, "data_types": heavy, **DEAR})
    feeds = [feed(12 * HOUR, TYPES[1], "b"), feed(2 * DAY, TYPES[0], "a", "Sage")]
    assert order(feeds, rules, companies) == ["a", "b"]


def test_of_what_was_never_read_the_heavier_comes_first_and_what_changes_less_often() -> None:
    names = ("light", "heavy", "often", "seldom")
    types = dict(zip(names, TYPES, strict=False))
    companies = {name: company(name) for name in names}
    rules = Policy.model_validate(
        {
            "default": {"fresh_within": "1 day"},
            "data_types": {types["light"]: {"weight": 0.5}, types["heavy"]: {"weight": 9.0}},
        }
    )
    rates = {"light": 1.0, "heavy": 1.0, "often": 20.0, "seldom": 0.1}
    learned = LearnedRates.learned(FeedSample(kind_of("Xero", types[name]), rate) for name, rate in rates.items())

    feeds = [feed(None, types[name], name) for name in names]

    assert order(feeds, rules.with_learned(learned), companies) == ["heavy", "seldom", "light", "often"]


@pytest.mark.parametrize(("ran", "action"), [(5, Action.WAIT), (3600, Action.CHECK)])
def test_what_waits_for_its_dataset_is_shown_with_when_that_is_late(ran: int, action: Action) -> None:
    running = asked(ran * SECOND, feed(DAY))
    (decision,) = decided([running], a_policy())
    assert (decision.action, decision.until) == (action, running.late_at)


def running(age: timedelta, ran: timedelta) -> Feed:
    """Return a feed that is being refreshed, which usually takes five minutes."""
    return replace(asked(ran, feed(age)), platform_sync_time=5 * MINUTE)


IN_FLIGHT = reschedule(running(DAY - 2 * MINUTE, MINUTE), Promise(fresh_within=DAY), connection())
"""A feed that is refreshed two minutes before its promise breaks."""


@given(
    age=st.integers(0, 3 * 24 * 60).map(lambda minutes: minutes * MINUTE),
    ran=st.integers(0, 15),
    later=st.integers(0, 600).map(lambda seconds: timedelta(seconds=seconds)),
    is_wanted=st.booleans(),
)
def test_nothing_is_missed_while_a_feed_in_flight_is_not_read_again(
    age: timedelta, ran: int, later: timedelta, is_wanted: bool
) -> None:
    drawn = running(age, ran * MINUTE)
    drawn = reschedule(wanted(drawn) if is_wanted else drawn, Promise(fresh_within=DAY), connection())
    known, then = InFlight(), NOON + later
    known.remember(decided([drawn], a_policy()), a_policy(), NOON)
    assume(known.decision(drawn.key, drawn.due_at or NOON, then))
    [decision] = decide([drawn], {"company": company()}, a_policy(), then)
    assert (decision.action, decision.reason) == (Action.WAIT, Reason.IN_FLIGHT)
    assert not asks_first(drawn, company(), a_policy(), then)
    reviewed = transitions(drawn, (PromiseReviewed(),), Promise(fresh_within=DAY), connection(), then)
    assert reviewed.feed.broken_at == drawn.broken_at


@pytest.mark.parametrize(
    ("at", "is_read"),
    [(NOON + MINUTE, False), (NOON + 2 * MINUTE, True), (NOON + KEPT, True)],
    ids=["meanwhile", "as its promise breaks", "after a while"],
)
def test_a_feed_in_flight_is_read_again_when_something_may_follow(at: datetime, is_read: bool) -> None:
    known = InFlight()
    known.remember(decided([IN_FLIGHT], a_policy()), a_policy(), NOON)
    assert IN_FLIGHT.due_at
    assert (known.decision(IN_FLIGHT.key, IN_FLIGHT.due_at, at) is None) == is_read


def test_a_feed_that_was_just_queued_is_not_read_again_while_it_is_known_to_be_in_flight() -> None:
    known = InFlight()
    known.remember_queued(IN_FLIGHT, company(), a_policy(), NOON)
    assert IN_FLIGHT.due_at
    decision = known.decision(IN_FLIGHT.key, IN_FLIGHT.due_at, NOON + MINUTE)
    assert decision == decided([IN_FLIGHT], a_policy())[0]

    known.forget(NOON + 2 * MINUTE)
    assert known.decision(IN_FLIGHT.key, IN_FLIGHT.due_at, NOON + MINUTE) is None


def test_a_feed_in_flight_is_read_again_if_it_is_due_at_another_time_or_its_company_has_a_set() -> None:
    known = InFlight()
    known.remember(decided([IN_FLIGHT], a_policy()), a_policy(), NOON)
    assert known.decision(IN_FLIGHT.key, NOON - HOUR, NOON) is None

    of_set, together = replace(IN_FLIGHT, data_type="balanceSheet"), a_policy(**TOGETHER)
    known.remember(decided([of_set], together), together, NOON)
    assert of_set.due_at
    assert known.decision(of_set.key, of_set.due_at, NOON) is None
