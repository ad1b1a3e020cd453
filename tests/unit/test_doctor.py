"""What the doctor finds in answers of Codat and AWS that no test of a whole stack can cause."""

import json
from base64 import b64encode
from collections.abc import Iterable
from datetime import timedelta
from unittest.mock import Mock, patch

import httpx
import pytest

import cli.doctor
from cli.codat import read_account
from cli.doctor import account, concurrency, doubled_schedule, local_time, products, skipped_items, webhook
from cli.doctor import listing as finding
from freshness.app.queueing.bulk_calls import PRODUCT_REFUSED
from freshness.codat.http import SKIPPED
from freshness.codat.models import SyncSetting, WebhookConsumer
from freshness.codat.webhooks.parser import EVENT_TYPES
from freshness.codat.webhooks.registration import event_types
from freshness.domain.companies.company import Company
from freshness.domain.companies.listing import CONFIRMED_FOR, Lacking, Listing
from freshness.policy.policy import Policy
from tests.builders import NOON
from tests.services import codat_answering


async def account_of(response: httpx.Response) -> str | None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/profile"
        assert request.headers["Authorization"] == f"Basic {b64encode(b'key').decode()}"
        return response

    async with codat_answering(answer) as codat:
        return await read_account(codat)


async def test_the_account_is_the_name_in_codats_profile() -> None:
    assert await account_of(httpx.Response(200, json={"name": "Lender (test)", "redirectUrl": ""})) == "Lender (test)"


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(403, json={}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={}),
        httpx.Response(200, json=[]),
    ],
)
async def test_a_profile_that_cannot_be_read_is_no_problem(response: httpx.Response) -> None:
    assert await account_of(response) is None


@pytest.mark.parametrize(
    ("pinned", "is_a_problem"), [("", False), ("Lender (test)", False), ("Lender", True), ("lender (test)", True)]
)
def test_the_key_of_another_account_than_the_policy_names_is_a_problem(pinned: str, is_a_problem: bool) -> None:
    finding = account("Lender (test)", pinned)
    assert "Lender (test)" in finding.found
    assert bool(finding.to_do) is is_a_problem


@pytest.mark.parametrize(
    ("hours", "on_first_link", "is_in_product", "found"),
    [
        (24, True, True, "bills every 24 h"),
        (24, False, False, "bills every 24 h"),
        (0, True, True, "bills on first link, which is in a product"),
        (0, True, False, "it is off"),
        (0, False, True, "it is off"),
    ],
)
def test_a_data_type_that_codat_reads_too_is_reported_once(
    hours: int, on_first_link: bool, is_in_product: bool, found: str
) -> None:
    setting = SyncSetting(data_type="bills", sync_schedule=hours, fetch_on_first_link=on_first_link)
    finding = doubled_schedule([setting], ["bills"] if is_in_product else [])
    assert finding.found.removeprefix("it also reads ") == found
    assert bool(finding.to_do) is (found != "it is off")


WEBHOOKS = "https://stack.test/webhooks"


@pytest.mark.parametrize(
    ("event_types", "lacking"),
    [
        ((), ()),
        (event_types(["credit-model"]), ()),
        (EVENT_TYPES, ("credit-model.read.completed", "credit-model.read.completed.initial")),
        (set(event_types(["credit-model"])) - {"company.deleted"}, ("company.deleted",)),
    ],
)
def test_an_endpoint_that_is_not_sent_all_event_types_is_a_problem(
    event_types: Iterable[str], lacking: tuple[str, ...]
) -> None:
    consumer = WebhookConsumer(id="1", url=WEBHOOKS, event_types=tuple(event_types))
    finding = webhook(WEBHOOKS, [consumer], ["credit-model"])
    assert bool(finding.to_do) is bool(lacking)
    assert all(each in finding.to_do for each in lacking)


def test_companies_whose_tags_name_no_time_zone_or_calendar_are_found() -> None:
    policy = Policy.model_validate(
        {
            "default": {"fresh_within": "1 day"},
            "calendars": {"uk": {"dates": ["2026-12-24"]}},
            "local_time": {"time_zone_tag": "zone", "calendar_tag": "calendar"},
        }
    )
    right = Company(company_id="1", name="Right", tags={"zone": "Europe/London", "calendar": "uk"})
    wrong = Company(company_id="2", name="Wrong", tags={"zone": "Londn", "calendar": "fr"})

    assert local_time([right, Company(company_id="3")], policy).to_do == ""
    finding = local_time([right, wrong], policy)
    assert finding.found.endswith("Wrong (zone = Londn, calendar = fr)")
    assert finding.to_do


@pytest.mark.parametrize(
    ("logged", "refused"), [([], ""), (["'lending'", "'expenses'", "'lending'"], "expenses, lending")]
)
def test_standard_products_that_the_policy_names_are_a_problem(logged: list[str], refused: str) -> None:
    events = [{"message": json.dumps({"message": PRODUCT_REFUSED, "product": product})} for product in logged]
    with patch.object(cli.doctor, "_logged", side_effect=[iter(events), iter(())]):
        finding = products(Mock())
    assert refused in finding.found
    assert bool(finding.to_do) is bool(refused)


@pytest.mark.parametrize(
    ("limit", "batches", "callers", "is_a_problem"), [(10, 4, 2, False), (10, 4, 3, False), (10, 4, 4, True)]
)
def test_callers_who_wait_may_not_hold_the_last_executions_of_the_account(
    limit: int, batches: int, callers: int, is_a_problem: bool
) -> None:
    finding = concurrency(limit, batches, callers)
    assert finding.found.startswith(f"{callers} callers may wait")
    assert bool(finding.to_do) is is_a_problem


def test_the_items_of_codats_responses_that_cannot_be_read_are_named() -> None:
    record = {"message": SKIPPED, "call": "GET /companies", "items": "plaid", "first_reason": "no status"}
    events = [{"message": json.dumps(record)}, {"message": json.dumps(record)}]

    with patch.object(cli.doctor, "_logged", side_effect=[iter(events), iter(())]):
        finding = skipped_items(Mock())
    assert finding.found == "some cannot be read: plaid of GET /companies (no status)"
    assert finding.to_do

    with patch.object(cli.doctor, "_logged", return_value=iter(())):
        assert not skipped_items(Mock()).to_do


ALL = Lacking(known=100)


@pytest.mark.parametrize(
    ("known", "lacking", "is_much"), [(0, 0, False), (5, 5, False), (6, 6, True), (100, 20, False), (100, 21, True)]
)
def test_much_is_more_than_a_fifth_and_more_than_five(known: int, lacking: int, is_much: bool) -> None:
    assert Lacking(known=known, lacking=lacking).is_much is is_much


@pytest.mark.parametrize("companies_lack", [True, False])
def test_a_list_that_lacks_much_is_not_believed_until_an_operator_confirms_it(companies_lack: bool) -> None:
    much = Lacking(known=100, lacking=50)
    lacking = (much, ALL) if companies_lack else (ALL, much)
    later = NOON + timedelta(minutes=15)

    known = Listing().followed_by(ALL, ALL, NOON)
    doubted = known.followed_by(*lacking, later)
    assert (known.believed_at, doubted.believed_at, doubted.is_doubted(later)) == (NOON, NOON, True)

    confirmed = doubted.confirmed(later)
    assert confirmed.followed_by(*lacking, later).believed_at == later
    assert confirmed.followed_by(*lacking, later + CONFIRMED_FOR).believed_at == NOON


def test_doctor_says_what_the_last_list_lacked_and_how_to_confirm_it() -> None:
    assert not finding(Listing(companies=ALL, connections=ALL), NOON).to_do
    few = finding(Listing(companies=ALL, connections=Lacking(known=100, lacking=3)), NOON)
    assert ("lacks 0 of 100 companies, and 3 of 100 connections" in few.found, few.to_do) == (True, "")
    much = Listing(companies=Lacking(known=100, lacking=28), connections=ALL)
    assert "./freshness doctor --confirm-deletions" in finding(much, NOON).to_do
    assert not finding(much.confirmed(NOON), NOON).to_do
