"""What is read of webhooks, and which event types an endpoint at Codat is sent."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from freshness.codat.models import WebhookConsumer
from freshness.codat.response_model import LONGEST_ID
from freshness.codat.webhooks.parser import EVENT_TYPES, Malformed, parse
from freshness.codat.webhooks.registration import event_types, missing, of_url
from freshness.domain.companies.company_facts import CompanyCreated, ConnectionChanged
from freshness.domain.feeds.facts import DatasetEnded, LimitReached, ReadEnded
from tests import webhook_bodies as bodies
from tests.builders import NOON

LOGS = "https://app.codat.io/companies/company/sync/{}/validation"


@pytest.mark.parametrize(
    ("issues", "dataset_id"),
    [
        ([{"type": "error.FetchError", "links": {"logs": LOGS.format("dataset")}}], "dataset"),
        ([{"type": "warning", "links": {"logs": LOGS.format("one")}}, {"links": {"logs": LOGS.format("other")}}], ""),
        ([{"type": "warning", "links": {"portal": "https://app.codat.io/companies/company/pull-history"}}], ""),
        ([{"type": "warning", "links": {"logs": None}}, {"links": []}, {"links": None}, None, "text"], ""),
        ([{"type": "error", "links": {"logs": LOGS.format("x" * 2000)}}], ""),
        ([], ""),
    ],
)
def test_the_issues_of_a_read_may_name_its_dataset(issues: list[object], dataset_id: str) -> None:
    body = bodies.read_completed(NOON, ("xero", "invoices", "FetchError"), issues=issues)
    [read] = parse(body, NOON) or ()
    assert isinstance(read, ReadEnded)
    assert read.dataset_id == dataset_id


@pytest.mark.parametrize(
    ("ahead", "counts_as"),
    [
        (timedelta(minutes=-1), timedelta(minutes=-1)),
        (timedelta(minutes=5), timedelta(minutes=5)),
        (timedelta(minutes=6), timedelta(0)),
        (timedelta(hours=20), timedelta(0)),
        (timedelta(days=3000), timedelta(0)),
    ],
)
def test_a_webhook_from_the_future_counts_as_of_when_it_was_received(ahead: timedelta, counts_as: timedelta) -> None:
    at = NOON + ahead
    sent = [
        bodies.read_completed(at, ("xero", "invoices", "Complete")),
        bodies.written(at, "invoices"),
        bodies.connection(at, "reconnected", "Linked"),
        bodies.company(at, "deleted"),
        bodies.rate_limit(at, "reached", at + timedelta(hours=1)),
        bodies.rate_limit(at, "reset", at),
    ]

    for body in sent:
        [fact] = parse(body, NOON) or ()
        assert not isinstance(fact, CompanyCreated | DatasetEnded)
        counted_as = fact.connection.status_at if isinstance(fact, ConnectionChanged) else fact.at
        assert abs(counted_as - NOON - counts_as) < timedelta(milliseconds=1), fact


def test_a_limit_ends_when_codat_says_although_that_is_in_the_future() -> None:
    [limit] = parse(bodies.rate_limit(NOON, "reached", NOON + timedelta(hours=7)), NOON) or ()
    assert isinstance(limit, LimitReached)
    assert limit.until == NOON + timedelta(hours=7)


@pytest.mark.parametrize("long", ["x" * (LONGEST_ID + 1), "\u00e9" * (LONGEST_ID // 2 + 1)])
def test_an_id_that_fits_into_no_key_of_dynamodb_is_malformed(long: str) -> None:
    refused = [
        bodies.read_completed(NOON, ("xero", "invoices", "Complete"), company_id=long),
        bodies.read_completed(NOON, (long, "invoices", "Complete")),
        bodies.read_completed(NOON, ("xero", long, "Complete")),
        bodies.written(NOON, "invoices", connection_id=long),
        bodies.written(NOON, "invoices", company_id=long),
        bodies.written(NOON, long),
        bodies.connection(NOON, "connected", "Linked", connection_id=long),
        bodies.connection(NOON, "connected", "Linked", company_id=long),
        bodies.company(NOON, "created", company_id=long),
        bodies.company(NOON, "deleted", company_id=long),
        bodies.rule("data sync completed", long),
        bodies.rule("data sync completed", "dataset", data_type=long),
        bodies.rule("data sync completed", "dataset", company_id=long),
    ]

    for body in refused:
        with pytest.raises(Malformed, match="500 bytes"):
            parse(body, NOON)


def test_the_longest_ids_fit_into_the_keys_of_dynamodb() -> None:
    longest = "x" * LONGEST_ID
    [read] = parse(bodies.read_completed(NOON, (longest, longest, "Complete"), company_id=longest), NOON) or ()
    assert isinstance(read, ReadEnded)
    assert len(f"{read.data_type}#{read.connection_id}") <= 1024


def test_issues_that_say_nothing_are_left_out() -> None:
    """They would take the places of those that are kept."""
    empty = [None, {}, {"type": "", "message": ""}, {"links": {"logs": LOGS.format("dataset")}}]
    said = [{"type": "warning", "message": "Something is wrong."}, {"message": "Without a type."}]
    body = bodies.read_completed(NOON, ("xero", "invoices", "Complete"), issues=[*empty, *said])

    [read] = parse(body, NOON) or ()

    assert isinstance(read, ReadEnded)
    assert [(issue.type, issue.message) for issue in read.issues] == [
        ("warning", "Something is wrong."),
        ("", "Without a type."),
    ]


URL = "https://stack.example/webhooks"


def consumer(*subscribed: str, name: str = "id", **fields: object) -> WebhookConsumer:
    return WebhookConsumer.model_validate({"id": name, "url": URL, "eventTypes": list(subscribed)} | fields)


OF_CREDIT = tuple(each for each in event_types(["credit"]) if each not in EVENT_TYPES)
OTHERS = tuple(each for each in EVENT_TYPES if each != "read.completed")
FINER = ("read.completed.successful", "read.completed.unsuccessful")


@pytest.mark.parametrize(
    ("sent", "lacking"),
    [
        pytest.param((), (), id="nothing, if it is sent everything"),
        pytest.param((*EVENT_TYPES, *OF_CREDIT), (), id="nothing, if it is sent each type"),
        *(pytest.param({*EVENT_TYPES, *OF_CREDIT} - {each}, (each,), id=each) for each in EVENT_TYPES),
        pytest.param(EVENT_TYPES, OF_CREDIT, id="those of a product"),
        pytest.param((*OTHERS, *OF_CREDIT, *FINER), (), id="nothing, if two finer types report as much"),
        pytest.param((*OTHERS, *OF_CREDIT, FINER[0]), ("read.completed",), id="reads, of which one finer type is sent"),
    ],
)
def test_an_endpoint_misses(sent: Iterable[str], lacking: tuple[str, ...]) -> None:
    assert OF_CREDIT
    assert set(missing(consumer(*sent), ["credit"])) == set(lacking)


def test_of_several_endpoints_the_one_that_is_sent_the_most_is_the_stacks() -> None:
    whole, part = consumer(*EVENT_TYPES, name="whole"), consumer("read.completed", name="part")
    disabled = consumer(*EVENT_TYPES, name="a disabled one", disabled=True)
    tagged = consumer(*EVENT_TYPES, name="a tagged one", companyTags=["region:uk"])
    elsewhere = consumer(*EVENT_TYPES, name="elsewhere", url="https://other.example/")
    slash = consumer(name="slash", url=URL + "/", eventTypes=["read.completed", "company.created"])

    found = of_url([disabled, elsewhere, part, tagged, slash, whole], URL)

    assert [each.id for each in found] == ["whole", "slash", "part", "a tagged one", "a disabled one"]
