"""Registration of the stack's webhook at Codat."""

from datetime import UTC, datetime

import httpx
import pytest

from freshness.codat.client import Codat
from freshness.codat.webhook_parser import EVENT_TYPES
from freshness.codat.webhook_registration import Registration, register
from local.codat_sandbox.server import RunningSandbox, running_sandbox
from local.codat_sandbox.settings import Settings

URL = "https://example.execute-api.eu-west-2.amazonaws.com/webhooks"


async def register_webhook(sandbox: RunningSandbox, url: str = URL) -> Registration:
    async with httpx.AsyncClient(base_url=sandbox.base_url) as http:
        return await register(Codat(http, sandbox.api_key, clock=lambda: datetime.now(UTC)), url)


@pytest.mark.parametrize("again", [URL, URL + "/"])
async def test_a_webhook_is_registered_once_with_all_event_types_in_use(again: str) -> None:
    with running_sandbox(Settings(companies=1)) as sandbox:
        first, second = await register_webhook(sandbox), await register_webhook(sandbox, again)

        assert (first.is_new, second.is_new) == (True, False)
        assert first.consumer.id == second.consumer.id
        assert (first.missing, second.missing) == ([], [])
        [consumer] = sandbox.do(lambda sandbox: list(sandbox.webhooks.consumers()))
        assert set(consumer.event_types) == set(EVENT_TYPES)


async def test_the_missing_event_types_of_an_existing_consumer_are_returned() -> None:
    with running_sandbox(Settings(companies=1)) as sandbox:
        sandbox.do(lambda sandbox: sandbox.webhooks.add_consumer(URL, ["read.completed", "other"], [], disabled=True))

        registration = await register_webhook(sandbox)

        assert not registration.is_new
        assert registration.consumer.disabled
        assert set(registration.missing) == set(EVENT_TYPES) - {"read.completed"}


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
