"""Consent that ends: a relink is announced a week before, counted from when a connection last became linked."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from estimate.memory_dynamodb import tables_in_memory
from freshness.app.page.read import page_view
from freshness.app.page.render import Frame, Medium, render
from freshness.app.reading.queries import Queries
from freshness.app.reading.views import ConsentView
from freshness.domain.companies.company import Company, Connection, ConnectionStatus
from freshness.domain.companies.company_facts import CheckSucceeded, CompanyFact, CompanyListed, ConnectionChanged
from freshness.domain.feeds.feed import Feed
from freshness.domain.transitions.company_transition import CHECK_EVERY, company_transition
from freshness.domain.transitions.notifications import Notification, RelinkDueSoon
from freshness.policy.policy import Policy
from tests.builders import DAY, NOON, a_connection, a_policy
from tests.integration.recording_bus import RecordingBus
from tests.services import services_of

RULE = {"name": "open banking", "platforms": ["Plaid", "TrueLayer"], "consent": "90 days"}
POLICY = a_policy(rules=[RULE])
PLAID = a_connection("1", NOON, platform="Plaid", source_type="Banking", link_url="https://link.example/1")


def company(connection: Connection = PLAID) -> Company:
    return Company(
        company_id="toft",
        name="Toft stores",
        connections={connection.connection_id: connection},
        feeds={"1": ("banking-transactions",)},
    )


def reported(status: str, at: datetime) -> ConnectionChanged:
    return ConnectionChanged(company_id="toft", connection=replace(PLAID, status=status, status_at=at))


def checked(known: Company) -> CheckSucceeded:
    return CheckSucceeded(version=known.version, polled=True, feeds=known.feeds)


def after(
    known: Company, fact: CompanyFact, now: datetime, rules: Policy = POLICY
) -> tuple[Company, list[Notification]]:
    transition = company_transition(known, fact, now, None, rules.reads_once, rules.consent)
    return transition.company, list(transition.notifications)


def run(known: Company, until: datetime, rules: Policy = POLICY) -> tuple[Company, list[tuple[datetime, Notification]]]:
    """Check a company whenever it is due, and return it with what was published when."""
    now, found = NOON, []
    while now <= until:
        known, published = after(known, checked(known), now, rules)
        found += [(now, each) for each in published]
        assert known.check_at
        now = known.check_at
    return known, found


def test_a_relink_is_announced_once_a_week_before_consent_ends() -> None:
    known, [(at, announced)] = run(company(), NOON + 95 * DAY)

    assert at == NOON + 83 * DAY
    assert isinstance(announced, RelinkDueSoon)
    assert (announced.consent_ends_at, announced.linked_at) == (NOON + 90 * DAY, NOON)
    assert (announced.company_name, announced.platform) == ("Toft stores", "Plaid")
    assert (announced.link_url, announced.data_types) == ("https://link.example/1", ("banking-transactions",))
    [view] = ConsentView.all_of([known])
    assert view.diagnosis.why == "consent to Plaid ends on 21 Feb 2027"
    assert (known.needs_relink_at, known.relink_at) == (None, NOON + 90 * DAY)


def test_a_company_is_checked_when_a_relink_must_be_announced_also_between_two_days() -> None:
    known, _ = after(company(replace(PLAID, status_at=NOON - 82.5 * DAY)), checked(company()), NOON)
    assert known.check_at == NOON + DAY / 2
    assert after(company(), checked(company()), NOON)[0].check_at == NOON + CHECK_EVERY


def test_consent_counts_anew_when_the_connection_is_linked_again() -> None:
    known, _ = run(company(), NOON + 84 * DAY)
    known, published = after(known, reported("Deauthorized", NOON + 85 * DAY), NOON + 85 * DAY)
    assert [each.detail_type for each in published] == ["Relink needed"]
    known, published = after(known, reported("Linked", NOON + 86 * DAY), NOON + 86 * DAY)
    assert [each.detail_type for each in published] == ["Connection back"]
    assert ConsentView.all_of([known]) == ()

    _, later = run(known, NOON + 200 * DAY)

    assert [each.detail()["consentEndsAt"][:10] for _, each in later] == ["2027-05-18"]


def test_a_customer_who_consents_again_before_the_end_is_not_asked() -> None:
    known, _ = run(company(), NOON + 84 * DAY)
    again = reported("Linked", NOON + 85 * DAY)
    again = replace(again, connection=replace(again.connection, reconnected_at=NOON + 85 * DAY))

    known, published = after(known, again, NOON + 85 * DAY)

    assert published == []
    assert ConsentView.all_of([known]) == ()
    assert known.connections["1"].linked_at == NOON + 85 * DAY


def test_a_report_or_list_of_a_connection_that_is_still_linked_does_not_prolong_consent() -> None:
    listed = CompanyListed(
        name="Toft stores",
        tags={},
        connections=(replace(PLAID, platform="Plaid (UK)", status_at=NOON + 20 * DAY),),
        at=NOON + 20 * DAY,
    )
    known, _ = after(company(), reported("Linked", NOON + 10 * DAY), NOON + 10 * DAY)
    known, _ = after(known, listed, NOON + 20 * DAY)

    assert known.connections["1"].linked_at == NOON


@pytest.mark.parametrize(
    ("connection", "rules"),
    [
        pytest.param(PLAID, [], id="without the key"),
        pytest.param(replace(PLAID, platform="Xero"), [RULE], id="on another platform"),
        pytest.param(PLAID, [RULE | {"read_once": True}], id="read once"),
        pytest.param(replace(PLAID, status=ConnectionStatus.DEAUTHORIZED), [RULE], id="lapsed"),
    ],
)
def test_consent_that_does_not_end_or_is_not_needed_is_not_announced(
    connection: Connection, rules: list[dict[str, Any]]
) -> None:
    _, published = run(company(connection), NOON + 100 * DAY, a_policy(rules=rules))
    assert "Relink due soon" not in [each.detail_type for _, each in published]


def test_a_longer_consent_in_a_new_policy_withdraws_what_was_announced() -> None:
    known, _ = run(company(), NOON + 84 * DAY)
    longer = a_policy(rules=[RULE | {"consent": "180 days"}])
    known, published = after(known, checked(known), NOON + 85 * DAY, longer)
    assert (published, ConsentView.all_of([known])) == ([], ())


def test_consent_that_ends_soon_is_published_once_indexed_and_shown_on_the_page_and_in_the_status() -> None:
    tables, bus, now = tables_in_memory(), RecordingBus(), NOON + 84 * DAY
    services = services_of(tables, POLICY, bus=bus, clock=lambda: now)
    stored = tables.companies.put(company())
    tables.feeds.put(Feed(company_id="toft", data_type="banking-transactions", connection_id="1", succeeded_at=now))

    for _ in range(2):
        stored = services.recorder.record_company(stored, checked(stored))

    assert bus.kinds == ["Relink due soon"]
    assert tables.companies.relinks(5, now) == ([], ["toft"])
    assert tables.companies.relinks(5, NOON + 91 * DAY) == (["toft"], [])
    queries = Queries(services=services)
    [view] = queries.summary(queries.fleet(now), now).ending_consents
    assert (view.company_name, view.ends_at) == ("Toft stores", NOON + 90 * DAY)
    page = page_view(queries, now)
    assert (page.needs_person, page.relinks_elsewhere) == ((), 0)
    assert "consent to Plaid ends on 21 Feb 2027. Send the customer the link" in render(page, Frame(Medium.FILE))
