"""Companies: which connections a data type is read from, and what facts make of a company."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.domain.companies.company import Company, Connection, ConnectionStatus, ReadOnce
from freshness.domain.companies.company_facts import (
    CheckFailed,
    CheckNeeded,
    CheckSucceeded,
    CompanyCreated,
    CompanyDeleted,
    CompanyFact,
    CompanyListed,
    CompanyNotFound,
    ConnectionChanged,
    ReadsEnded,
)
from freshness.domain.companies.listing import ABSENT_AGAIN_AFTER
from freshness.domain.companies.pause import Pause
from freshness.domain.times import sortable
from freshness.domain.transitions.company_transition import CHECK_EVERY, DELETED_KEPT, company_transition
from tests.builders import HOUR, MINUTE, NOON, a_connection


def connection(name: str, source_type: str = "Accounting", status: str = ConnectionStatus.LINKED) -> Connection:
    return a_connection(name, NOON, platform=name, source_type=source_type, status=status, link_url="https://x")


def company(*connections: Connection) -> Company:
    return Company(company_id="company", connections={c.connection_id: c for c in connections})


XERO = connection("Xero")
PLAID, TRUELAYER, PLEO = (
    connection("Plaid", "Banking"),
    connection("TrueLayer", "Banking"),
    connection("Pleo", "Expense"),
)
UNLINKED, PENDING = (
    replace(XERO, status=status) for status in (ConnectionStatus.UNLINKED, ConnectionStatus.PENDING_AUTH)
)


@pytest.mark.parametrize(
    ("connections", "data_type", "active"),
    [
        pytest.param((XERO, PLAID, TRUELAYER), "invoices", ["Xero"], id="those of its kind"),
        pytest.param((XERO, PLAID, TRUELAYER), "banking-transactions", ["Plaid", "TrueLayer"], id="all of its kind"),
        pytest.param((XERO, PLAID, TRUELAYER), "commerce-orders", [], id="none of its kind"),
        pytest.param((XERO, PLEO), "bills", ["Xero"], id="none whose kind says nothing, beside another"),
        pytest.param((PLEO,), "bills", ["Pleo"], id="one whose kind says nothing, alone"),
        pytest.param((UNLINKED,), "bills", ["Xero"], id="an unlinked one"),
        pytest.param((UNLINKED, connection("Sage")), "bills", ["Sage"], id="another that took its place"),
        pytest.param((PENDING,), "bills", [], id="none that was never linked"),
    ],
)
def test_a_data_type_is_fed_by(connections: tuple[Connection, ...], data_type: str, active: list[str]) -> None:
    found = company(*connections).active_connections(data_type)
    assert [each.connection_id for each in found] == active


LATER = NOON + timedelta(hours=1)


def listed(*connections: Connection, at: datetime = NOON, tags: dict[str, str] | None = None) -> CompanyListed:
    return CompanyListed(name="Name", tags=tags or {}, connections=connections, at=at)


def changed(connection: Connection) -> ConnectionChanged:
    return ConnectionChanged(company_id="company", connection=connection)


def after(company: Company, *facts: CompanyFact, now: datetime = NOON) -> Company:
    for fact in facts:
        company = company_transition(company, fact, now).company
    return company


def published(company: Company, *facts: CompanyFact) -> list[str]:
    kinds = []
    for fact in facts:
        transition = company_transition(company, fact, NOON)
        kinds += [notification.detail_type for notification in transition.notifications]
        company = transition.company
    return kinds


def checked(company: Company, now: datetime = NOON) -> Company:
    return after(company, CheckSucceeded(version=company.version, polled=True), now=now)


def test_a_company_to_which_something_happened_is_due_for_a_check_and_no_later_than_it_was() -> None:
    known = checked(company(XERO))
    assert after(known, CheckNeeded(), now=LATER).check_at == LATER
    overdue = after(known, CheckNeeded(), now=NOON)
    assert after(overdue, CheckNeeded(), now=LATER).check_at == NOON


@pytest.mark.parametrize(
    ("change", "is_due"),
    [
        ({}, False),
        ({"connections": (replace(XERO, link_url="https://y"),)}, False),
        ({"parent_id": "parent"}, True),
        ({"tags": {"team": "lending"}}, True),
    ],
    ids=["nothing", "a link, which is another one in each list", "the parent", "tags"],
)
def test_a_company_of_which_a_list_changes_what_rules_match_is_due_for_a_check(
    change: dict[str, Any], is_due: bool
) -> None:
    known = checked(after(company(), listed(XERO)))
    again = after(known, replace(listed(XERO, at=LATER), **change), now=LATER)
    assert again.check_at == (LATER if is_due else NOON + CHECK_EVERY)
    assert (again == known) is not is_due


def test_a_link_is_kept_with_when_it_was_reported() -> None:
    linked = after(company(), changed(XERO))
    lapsed = changed(replace(XERO, status="Deauthorized", link_url="", status_at=LATER))

    transition = company_transition(linked, lapsed, LATER)

    known = transition.company.connections["Xero"]
    assert (known.link_url, known.link_url_known_at) == ("https://x", NOON)
    [detail] = [needed.detail() for needed in transition.notifications]
    assert (detail["linkUrl"], detail["linkUrlReadAt"]) == ("https://x", sortable(NOON))
    assert detail["since"] == sortable(LATER)


def test_what_a_later_report_of_a_connection_leaves_out_is_taken_from_the_earlier_one() -> None:
    known = replace(XERO, integration_key="key")
    bare = replace(known, platform="", integration_key="", source_type="", status_at=LATER)
    for latest in (known.latest(bare), bare.latest(known)):
        assert (latest.platform, latest.integration_key, latest.source_type) == ("Xero", "key", "Accounting")
        assert latest.status_at == LATER


def test_of_reports_the_latest_status_and_link_count_in_whatever_order_they_arrive() -> None:
    old = replace(PENDING, status_at=NOON - MINUTE, link_url="https://old.example")
    reports = old, replace(old, status_at=NOON, link_url="https://new.example"), replace(XERO, link_url="")
    for first, second, third in permutations(reports):
        latest = first.latest(second).latest(third)
        assert (latest.status, latest.link_url) == (ConnectionStatus.LINKED, "https://new.example")
        assert latest.link_url_known_at == NOON


def test_a_company_whose_connection_lapsed_is_due_for_a_check_and_its_relink_is_published() -> None:
    known = checked(after(company(), listed(XERO)))
    lapsed = replace(connection("Xero", status="Deauthorized"), status_at=LATER)
    assert after(known, listed(lapsed, at=LATER), now=LATER).check_at == LATER
    assert published(known, listed(lapsed, at=LATER)) == ["Relink needed"]


def test_a_connection_that_is_no_longer_listed_is_deleted_and_dropped_after_a_month() -> None:
    once = after(company(XERO), listed(at=NOON))
    known = after(once, replace(listed(at=LATER), believed_at=NOON))
    assert known.connections["Xero"].status == ConnectionStatus.DELETED
    kept = after(known, listed(at=LATER + DELETED_KEPT))
    assert "Xero" in kept.connections
    assert after(kept, listed(at=LATER + DELETED_KEPT + timedelta(seconds=1))).connections == {}


def test_a_connection_is_deleted_only_if_two_lists_lack_it_ten_minutes_apart_the_first_of_which_was_believed() -> None:
    known = checked(after(company(), listed(XERO)))
    once = after(known, listed(at=LATER), now=LATER)
    assert (once.connections["Xero"].status, once.connections["Xero"].absent_since) == ("Linked", LATER)
    assert once.check_at == known.check_at

    soon, late = LATER + timedelta(minutes=9), LATER + timedelta(minutes=10)
    for at, believed_at, status in (
        (soon, LATER, "Linked"),
        (late, None, "Linked"),
        (late, NOON, "Linked"),
        (late, LATER, "Deleted"),
    ):
        again = after(once, replace(listed(at=at), believed_at=believed_at), now=at)
        assert again.connections["Xero"].status == status


def test_a_connection_that_is_seen_between_two_lists_that_lack_it_is_not_deleted() -> None:
    once = after(company(), listed(XERO), listed(at=LATER))
    lapsed = replace(connection("Xero", status="Deauthorized"), status_at=LATER + timedelta(minutes=1))
    last = replace(listed(at=LATER + timedelta(hours=1)), believed_at=LATER)

    for seen in (listed(XERO, at=LATER), changed(lapsed)):
        again = after(once, seen, last)
        assert again.connections["Xero"].status != ConnectionStatus.DELETED
        assert again.connections["Xero"].absent_since == last.at


def test_what_a_list_does_not_say_changes_nothing() -> None:
    known = replace(after(company(), listed(XERO, tags={"team": "lending"})), products=("credit",))
    silent = CompanyListed(name=None, tags=None, products=None, connections=(), has_all_connections=False, at=LATER)
    assert after(known, silent, replace(silent, at=2 * LATER.resolution + LATER)) == known


def test_a_list_from_before_the_last_report_of_a_connection_says_nothing_of_it() -> None:
    later = changed(replace(XERO, status_at=LATER))
    assert after(company(), later, listed(at=NOON)).connections["Xero"].absent_since is None


def test_a_company_that_changed_during_its_check_stays_due() -> None:
    read = replace(company(XERO), version=3, check_at=NOON)
    assert after(replace(read, version=4), CheckSucceeded(version=read.version, polled=True)).check_at == NOON


def test_each_failed_check_doubles_the_wait_for_the_next() -> None:
    failed, waits = company(XERO), []
    for _ in range(4):
        failed = after(failed, CheckFailed(first=timedelta(seconds=15), longest=timedelta(hours=6)))
        assert failed.check_at
        waits.append((failed.check_at - NOON) / timedelta(seconds=15))

    assert waits == [pytest.approx(2**n, rel=0.25) for n in range(4)]
    assert checked(failed).failed_checks == 0


def test_only_a_second_404_some_time_after_the_first_deletes_a_company_that_a_list_has_lacked_since() -> None:
    known = replace(company(XERO), pause=Pause())
    first, second = CompanyNotFound(at=NOON, believed_at=NOON), CompanyNotFound(at=LATER, believed_at=LATER)

    once = after(known, first, first)
    assert once.deleted_at is None

    twice = after(once, second, now=LATER)
    assert (twice.deleted_at, twice.connections, twice.pause) == (LATER, {}, Pause())
    for believed_at in (None, NOON - LATER.resolution):
        assert after(once, replace(second, believed_at=believed_at), now=LATER).deleted_at is None
    assert after(checked(once), second, now=LATER).deleted_at is None
    assert after(once, listed(XERO, at=LATER), second, now=LATER).deleted_at is None

    between, late = NOON + ABSENT_AGAIN_AFTER / 2, NOON + ABSENT_AGAIN_AFTER
    again = after(once, CompanyNotFound(at=between, believed_at=between), now=between)
    assert again.deleted_at is None
    assert after(again, CompanyNotFound(at=late, believed_at=late), now=late).deleted_at == late


def test_facts_about_a_deleted_company_change_nothing_until_it_is_listed_again() -> None:
    deleted = after(company(XERO), CompanyDeleted(company_id="company", at=NOON))

    late = after(
        deleted,
        changed(XERO),
        CheckNeeded(),
        CompanyCreated(company_id="company"),
        listed(XERO, at=NOON),
    )
    assert late == deleted

    restored = after(deleted, listed(XERO, at=LATER))
    assert restored.deleted_at is None
    assert after(restored, CompanyDeleted(company_id="company", at=NOON)) == restored


def test_a_company_is_deleted_only_by_404s_without_a_successful_check_in_between() -> None:
    known = replace(company(XERO), version=3)
    missed = after(known, CompanyNotFound(at=NOON, believed_at=None))

    found = after(missed, CheckSucceeded(version=2, polled=True))

    assert (found.not_found_at, found.failed_checks) == (None, 0)
    assert after(found, CompanyNotFound(at=LATER, believed_at=LATER), now=LATER).deleted_at is None
    unasked = after(missed, CheckSucceeded(version=3, polled=False))
    assert unasked.not_found_at == NOON


def test_a_company_that_was_not_found_is_looked_for_again_after_about_ten_minutes() -> None:
    """A second 404 counts as its deletion from then on, so the second check must not be much later."""
    missed = after(replace(company(XERO), version=3), CompanyNotFound(at=NOON, believed_at=None))
    assert missed.check_at
    assert 7 * MINUTE <= missed.check_at - NOON <= 13 * MINUTE


def refused(*minutes: int) -> ReadsEnded:
    return ReadsEnded(refused={"Xero": tuple(NOON + minute * MINUTE for minute in minutes)})


def succeeded(minute: int) -> ReadsEnded:
    return ReadsEnded(succeeded={"Xero": NOON + minute * MINUTE})


def reported(status: str, minute: int) -> ConnectionChanged:
    return changed(replace(XERO, status=status, status_at=NOON + minute * MINUTE))


def test_one_refused_read_asks_nobody_and_a_second_in_a_row_after_15_minutes_asks_once() -> None:
    linked = company(XERO)
    assert published(linked, refused(1), refused(2, 15)) == []
    assert after(linked, refused(1), refused(2, 15)).needs_relink_at is None
    assert published(linked, refused(1), refused(16), refused(40)) == ["Relink needed"]
    assert after(linked, refused(16), refused(1), refused(40)).needs_relink_at == NOON + MINUTE


def test_a_connection_that_is_read_once_is_done_after_a_read_since_it_was_last_linked() -> None:
    once = replace(XERO, read_once=ReadOnce.POLICY)
    again = replace(once, reconnected_at=NOON)
    assert (once.suffices(None), once.suffices(NOON)) == (False, True)
    assert (again.suffices(NOON - MINUTE), again.suffices(NOON)) == (False, True)
    assert not XERO.suffices(NOON)


def test_promises_count_anew_from_when_an_unlinked_connection_was_first_linked_again() -> None:
    linked = replace(XERO, unlinked_at=NOON, reconnected_at=NOON + MINUTE, status_at=NOON + HOUR)
    assert linked.linked_anew_at == NOON + MINUTE
    assert replace(linked, reconnected_at=NOON - MINUTE).linked_anew_at == NOON + HOUR
    assert replace(linked, unlinked_at=None).linked_anew_at is None


def test_a_company_needs_a_relink_since_the_first_of_its_connections_lapsed() -> None:
    lapsed = [replace(connection(f"{hour}", status="Deauthorized"), status_at=NOON + hour * HOUR) for hour in (2, 1, 3)]
    assert company(*lapsed).needs_relink_at == company(*lapsed).relink_at == NOON + HOUR


def test_a_success_clears_what_reads_before_it_showed_and_later_lapses_are_published_again() -> None:
    linked = company(XERO)

    assert after(linked, refused(1), succeeded(2)).connections["Xero"].refusals == ()
    assert published(linked, refused(1), succeeded(2), refused(20)) == []
    back = after(linked, refused(1, 20), succeeded(30))
    assert back.needs_relink_at is None
    facts = (refused(1, 20), succeeded(30), refused(40, 60), succeeded(70), reported("Deauthorized", 80))
    assert published(linked, *facts, reported("Linked", 90)) == ["Relink needed", "Connection back"] * 3


def test_the_notifications_of_each_lapse_have_ids_and_times_of_their_own() -> None:
    found, current = [], company(XERO)
    for fact in (refused(1, 20), succeeded(30), refused(40, 60), succeeded(70)):
        transition = company_transition(current, fact, NOON)
        current = transition.company
        found += [(each.id, each.detail()["since"]) for each in transition.notifications]

    assert [since[11:16] for _, since in found] == ["12:01", "12:30", "12:40", "13:10"]
    assert len({each for each, _ in found}) == 4


def test_a_connection_that_is_linked_again_is_back_whatever_was_refused_before() -> None:
    linked = company(XERO)
    assert published(linked, refused(1, 20), reported("Linked", 30), refused(1, 20)) == [
        "Relink needed",
        "Connection back",
    ]
    assert published(linked, ReadsEnded(refused={"Xero": (NOON - LATER.resolution,)})) == []


def test_nobody_is_asked_because_our_own_user_unlinked_a_connection() -> None:
    known = after(company(), listed(XERO))
    unlinked = replace(connection("Xero", status=ConnectionStatus.UNLINKED), status_at=LATER, unlinked_at=LATER)
    assert published(known, listed(unlinked, at=LATER)) == []
    assert published(known, reported("Deauthorized", 10), reported("Unlinked", 20)) == ["Relink needed"]
    assert after(known, reported("Deauthorized", 10), reported("Unlinked", 20)).needs_relink_at is None
    assert published(known, listed(unlinked, at=LATER), reported("Linked", 90), refused(91)) == []


def test_a_connection_that_is_linked_again_after_it_was_unlinked_starts_anew_then() -> None:
    unlinked = replace(reported("Unlinked", 10).connection, unlinked_at=NOON + 10 * MINUTE)
    facts = [changed(unlinked), reported("Linked", 20)]

    for ordered in permutations([*facts, *facts]):
        assert after(company(XERO), *ordered).connections["Xero"].linked_anew_at == NOON + 20 * MINUTE
    lapsed = after(company(XERO), reported("Deauthorized", 10), reported("Linked", 20))
    assert lapsed.connections["Xero"].linked_anew_at is None
    by_lists = after(
        company(XERO),
        listed(replace(unlinked, status_at=NOON + 10 * MINUTE), at=NOON + 10 * MINUTE),
        listed(replace(XERO, status_at=NOON + 20 * MINUTE), at=NOON + 20 * MINUTE),
    )
    assert by_lists.connections["Xero"].linked_anew_at == NOON + 20 * MINUTE


FACTS = st.one_of(
    st.integers(-90, 90).map(lambda minute: refused(minute)),
    st.integers(-90, 90).map(succeeded),
    st.tuples(st.sampled_from(["Linked", "Deauthorized", "Unlinked"]), st.integers(-90, 90)).map(
        lambda each: reported(*each)
    ),
)


@given(facts=st.lists(FACTS, max_size=20), seed=st.integers(), by_policy=st.booleans())
def test_refusals_successes_and_reports_in_any_order_and_repeated_leave_the_same_company(
    facts: list[ReadsEnded | ConnectionChanged], seed: int, by_policy: bool
) -> None:
    """A refusal is applied together with the latest success that is known by then, as webhooks and checks do."""
    random = Random(seed)
    shuffled = [*facts, *random.choices(facts, k=len(facts))] if facts else []
    random.shuffle(shuffled)

    once, often = (with_known_successes(each, by_policy) for each in (facts, shuffled))

    assert often == once
    xero = once.connections["Xero"]
    first, last = (xero.refusals[0], xero.refusals[-1]) if xero.refusals else (NOON, NOON)
    is_refused = xero.status == "Linked" and last - first >= 15 * MINUTE
    is_asked = is_refused or (xero.status == "Deauthorized" and not by_policy)
    assert (once.needs_relink_at is not None) == is_asked


def with_known_successes(facts: Iterable[ReadsEnded | ConnectionChanged], by_policy: bool) -> Company:
    succeeded_at: list[datetime] = []
    current = company(XERO)
    for fact in facts:
        if isinstance(fact, ReadsEnded):
            succeeded_at += fact.succeeded.values()
            if fact.refused and succeeded_at:
                fact = replace(fact, succeeded={"Xero": max(succeeded_at)})
        current = company_transition(
            current, fact, NOON, reads_once=lambda *_: by_policy, consent=lambda *_: timedelta(days=7)
        ).company
        current = replace(current, check_at=None)
    return current


DESKTOP = replace(XERO, platform="QuickBooks Desktop")


def desktop(status: str, minute: int) -> ConnectionChanged:
    return changed(replace(DESKTOP, status=status, status_at=NOON + minute * MINUTE))


def polled(minute: int, *reads: ReadsEnded) -> CheckSucceeded:
    return CheckSucceeded(version=0, polled=True, reads=reads[0] if reads else ReadsEnded())


@pytest.mark.parametrize("facts", list(permutations([succeeded(10), desktop("Deauthorized", 69)])))
def test_a_machines_connection_that_lapses_within_an_hour_of_its_first_read_was_for_one_read(
    facts: tuple[CompanyFact, ...],
) -> None:
    known = company(DESKTOP)
    assert published(known, *facts) == ["Connection done"]
    done = after(known, *facts)
    assert (done.needs_relink_at, done.connections["Xero"].read_once) == (None, "inferred")
    assert published(done, desktop("Linked", 90), desktop("Deauthorized", 100)) == ["Relink needed"]


@pytest.mark.parametrize(
    ("known", "read_at", "lapsed_at"),
    [
        (company(DESKTOP), 10, 71),
        (company(XERO), 10, 20),
        (company(DESKTOP, connection("Plaid", "Banking")), 10, 20),
    ],
    ids=["later", "on another platform", "beside another connection"],
)
def test_any_other_connection_that_lapses_must_be_authorised_again(
    known: Company, read_at: int, lapsed_at: int
) -> None:
    lapsed = replace(known.connections["Xero"], status="Deauthorized", status_at=NOON + lapsed_at * MINUTE)
    assert published(known, succeeded(read_at), changed(lapsed)) == ["Relink needed"]


def test_whether_a_connection_that_lapsed_was_read_is_found_out_before_anyone_is_asked() -> None:
    known = company(DESKTOP)
    lapsed = after(known, desktop("Deauthorized", 0))
    assert lapsed.needs_relink_at is None
    assert published(lapsed, polled(5)) == ["Relink needed"]
    assert published(lapsed, polled(5, succeeded(-10))) == ["Connection done"]


def test_a_connection_that_the_policy_reads_once_may_lapse_after_its_first_read_and_not_before() -> None:
    def kinds(*facts: CompanyFact) -> list[str]:
        current, found = company(XERO), []
        for fact in facts:
            transition = company_transition(current, fact, NOON, reads_once=lambda *_: True)
            current = transition.company
            found += [each.detail_type for each in transition.notifications]
        return found

    assert kinds(succeeded(10), reported("Deauthorized", 500)) == ["Connection done"]
    assert kinds(reported("Deauthorized", 0), polled(5)) == ["Relink needed"]
    assert kinds(refused(1), refused(30)) == ["Relink needed"]


def test_what_is_kept_of_many_refusals_still_says_when_they_began_and_whether_a_success_ended_them() -> None:
    lapsed = company(XERO)
    for minute in range(0, 3000, 7):
        lapsed = after(lapsed, refused(minute))

    assert len(lapsed.connections["Xero"].refusals) < 25
    assert lapsed.needs_relink_at == NOON
    assert after(lapsed, succeeded(2974)).needs_relink_at is not None
    assert after(lapsed, succeeded(2975)).needs_relink_at is None
