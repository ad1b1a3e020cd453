"""Registration of the stack's webhook at Codat."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from cli.register_webhook import _register
from codat_sandbox.server import RunningSandbox, running_sandbox
from codat_sandbox.settings import Settings
from estimate.memory_dynamodb import tables_in_memory
from freshness.codat.client import Codat
from freshness.codat.models import WebhookConsumer
from freshness.codat.webhooks.parser import EVENT_TYPES
from freshness.codat.webhooks.registration import Registration, missing, register
from freshness.policy.policy import Policy
from simulate.loop import OPERATOR
from tests.services import services_of

POLICY = Policy.model_validate({"default": {"fresh_within": "1 day"}})
URL = "https://example.execute-api.eu-west-2.amazonaws.com/webhooks"


@asynccontextmanager
async def codat_of(sandbox: RunningSandbox) -> AsyncIterator[Codat]:
    async with httpx.AsyncClient(base_url=sandbox.base_url) as http:
        yield Codat(http, sandbox.api_key, clock=lambda: datetime.now(UTC))


async def register_webhook(sandbox: RunningSandbox, url: str = URL, products: Collection[str] = ()) -> Registration:
    async with codat_of(sandbox) as codat:
        return await register(codat, url, products)


@pytest.mark.parametrize("again", [URL, URL + "/"])
async def test_a_webhook_is_registered_once_with_all_event_types_in_use(again: str) -> None:
    with running_sandbox(Settings(companies=1)) as sandbox:
        first, second = await register_webhook(sandbox), await register_webhook(sandbox, again)

        assert (first.is_new, second.is_new) == (True, False)
        assert first.consumer.id == second.consumer.id
        assert (first.missing, second.missing) == ((), ())
        [consumer] = sandbox.do(lambda sandbox: list(sandbox.webhooks.consumers()))
        assert set(consumer.event_types) == set(EVENT_TYPES)


async def test_the_missing_event_types_of_an_existing_consumer_are_returned() -> None:
    with running_sandbox(Settings(companies=1)) as sandbox:
        sandbox.do(lambda sandbox: sandbox.webhooks.add_consumer(URL, ["read.completed", "other"], [], disabled=True))

        registration = await register_webhook(sandbox)

        assert not registration.is_new
        assert registration.consumer.disabled
        assert set(registration.missing) == set(EVENT_TYPES) - {"read.completed"}


async def test_the_events_of_the_policys_products_are_subscribed_to_and_missed() -> None:
    products = ["credit-model"]
    of_product = {"credit-model.read.completed", "credit-model.read.completed.initial"}
    with running_sandbox(Settings(companies=1)) as sandbox:
        without = await register_webhook(sandbox)
        later = await register_webhook(sandbox, products=products)
        elsewhere = await register_webhook(sandbox, "https://another.example/webhooks", products)

    assert without.is_new
    assert set(later.missing) == of_product
    assert set(elsewhere.consumer.event_types) == {*EVENT_TYPES, *of_product}
    finer = ["credit-model.read.completed.successful", "credit-model.read.completed.unsuccessful"]
    consumer = WebhookConsumer(id="1", url=URL, event_types=(*EVENT_TYPES, *finer))
    assert missing(consumer, products) == ("credit-model.read.completed.initial",)


async def test_finer_event_types_that_report_as_much_as_another_one_do_not_count_as_missing() -> None:
    finer = ["read.completed.successful", "read.completed.unsuccessful", "read.completed.successful.initial"]
    with running_sandbox(Settings(companies=1)) as sandbox:
        sandbox.do(lambda sandbox: sandbox.webhooks.add_consumer(URL, finer, [], disabled=False))

        registration = await register_webhook(sandbox)

        assert set(registration.missing) == set(EVENT_TYPES) - {"read.completed"}


async def test_of_several_consumers_with_the_url_the_one_that_receives_most_comes_first() -> None:
    with running_sandbox(Settings(companies=1)) as sandbox:
        disabled, tagged, lacking, best = sandbox.do(
            lambda sandbox: [
                sandbox.webhooks.add_consumer(URL, types, tags, disabled=disabled).id
                for types, tags, disabled in (
                    (EVENT_TYPES, [], True),
                    (EVENT_TYPES, ["region:uk"], False),
                    (["read.completed"], [], False),
                    (EVENT_TYPES, [], False),
                )
            ]
        )

        registration = await register_webhook(sandbox)

        assert registration.consumer.id == best
        assert [other.id for other in registration.others] == [lacking, tagged, disabled]


async def test_a_consumer_with_another_url_is_not_reused() -> None:
    with running_sandbox(Settings(companies=1)) as sandbox:
        await register_webhook(sandbox, "https://another.example/webhooks")

        assert (await register_webhook(sandbox)).is_new


async def test_a_new_endpoint_is_in_the_audit_and_one_that_is_registered_already_is_not() -> None:
    tables = tables_in_memory()
    with running_sandbox(Settings(companies=1)) as sandbox:
        stack: Any = SimpleNamespace(
            codat=lambda: codat_of(sandbox),
            outputs=SimpleNamespace(webhook_url=URL),
            policy=POLICY,
            services=services_of(tables, POLICY),
            actor=OPERATOR,
        )
        registered = [(await _register(stack)).is_new for _ in range(2)]

    now = datetime.now(UTC)
    [entry] = tables.audit.since(now - timedelta(hours=1), now)
    assert registered == [True, False]
    assert (entry.operation, entry.what, entry.who) == ("register webhook", URL, OPERATOR.who)
