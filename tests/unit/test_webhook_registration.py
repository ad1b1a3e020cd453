"""Which endpoint at Codat is the stack's, and which event types are not sent to it."""

import pytest

from freshness.codat.models import WebhookConsumer
from freshness.codat.webhooks.parser import EVENT_TYPES
from freshness.codat.webhooks.registration import event_types, missing, of_url

URL = "https://stack.example/webhooks"


def consumer(*subscribed: str, name: str = "id", **fields: object) -> WebhookConsumer:
    return WebhookConsumer.model_validate({"id": name, "url": URL, "eventTypes": list(subscribed)} | fields)


def test_an_endpoint_that_is_sent_everything_misses_nothing() -> None:
    assert missing(consumer()) == ()
    assert missing(consumer(*EVENT_TYPES)) == ()
    assert missing(consumer(*event_types(["credit"])), ["credit"]) == ()


@pytest.mark.parametrize("left_out", EVENT_TYPES)
def test_each_event_type_that_is_not_sent_is_missing(left_out: str) -> None:
    assert missing(consumer(*(each for each in EVENT_TYPES if each != left_out))) == (left_out,)


def test_the_event_types_of_each_product_are_wanted_too() -> None:
    of_product = set(event_types(["credit"])) - set(EVENT_TYPES)
    assert of_product
    assert set(missing(consumer(*EVENT_TYPES), ["credit"])) == of_product


def test_two_finer_event_types_report_as_much_as_one_of_reads_and_one_of_them_does_not() -> None:
    others = [each for each in EVENT_TYPES if each != "read.completed"]
    finer = ("read.completed.successful", "read.completed.unsuccessful")
    assert missing(consumer(*others, *finer)) == ()
    assert missing(consumer(*others, finer[0])) == ("read.completed",)


def test_of_several_endpoints_the_one_that_is_sent_the_most_is_the_stacks() -> None:
    whole, part = consumer(*EVENT_TYPES, name="whole"), consumer("read.completed", name="part")
    disabled = consumer(*EVENT_TYPES, name="a disabled one", disabled=True)
    tagged = consumer(*EVENT_TYPES, name="a tagged one", companyTags=["region:uk"])
    elsewhere = consumer(*EVENT_TYPES, name="elsewhere", url="https://other.example/")
    slash = consumer(name="slash", url=URL + "/", eventTypes=["read.completed", "company.created"])

    found = of_url([disabled, elsewhere, part, tagged, slash, whole], URL)

    assert [each.id for each in found] == ["whole", "slash", "part", "a tagged one", "a disabled one"]
