"""What the scheduled functions share, against the sandbox and real secrets and tables."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from freshness.app import exclusive_run
from freshness.aws import bootstrap
from freshness.aws.event_bus import Bus, News, NotPublished
from freshness.aws.store import Store
from freshness.codat.errors import Unauthorized
from freshness.policy.policy import Policy
from local.codat_sandbox.server import running_sandbox
from local.codat_sandbox.settings import Settings
from local.codat_sandbox.stubs import StubResponse
from tests.integration.deployed import Deployed

POLICY = Policy.model_validate({"default": {"fresh_within": "1 day"}})


async def test_a_key_that_codat_refuses_is_read_anew_for_the_next_tick(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets, name = boto3.client("secretsmanager"), "key-that-is-replaced"
    secrets.create_secret(Name=name, SecretString="the old one")
    monkeypatch.setenv("CODAT_API_KEY_SECRET", name)
    monkeypatch.setattr(bootstrap, "store", lambda: store)
    monkeypatch.setattr(bootstrap, "policy", lambda: POLICY)
    until = datetime.now(UTC) + timedelta(minutes=1)
    with running_sandbox(Settings(companies=1), "the new one") as sandbox:
        monkeypatch.setenv("CODAT_BASE_URL", sandbox.base_url)
        async with exclusive_run.codat(until) as codat:
            with pytest.raises(Unauthorized):
                await codat.sync_settings()
            secrets.put_secret_value(SecretId=name, SecretString="the new one")

        async with exclusive_run.codat(until) as codat:
            assert await codat.sync_settings()


class Refusing(Bus):
    """A bus that takes no events."""

    def __init__(self) -> None:
        return

    def publish(self, news: Sequence[News]) -> None:
        """Take none."""
        if news:
            raise NotPublished("the bus is gone")


def test_a_bus_that_takes_no_events_fails_the_tick_after_everything_else_was_done(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(bootstrap, "bus", Refusing)
        deployed.check()
        with pytest.raises(NotPublished):
            deployed.queue()
        queued = [feed for feed in deployed.store.every_feed() if feed.in_flight]
        assert queued
        deployed.ahead += timedelta(minutes=10)
        for tick_again in (deployed.queue, deployed.check):
            with pytest.raises(NotPublished):
                tick_again()

    deployed.check()
    assert not any(deployed.store.feed(*feed.key).in_flight for feed in queued)


def test_a_key_that_may_not_read_sync_settings_checks_all_the_same(deployed: Deployed) -> None:
    forbidden = StubResponse(path="/profile/syncSettings", status=403, times=9)
    deployed.sandbox.do(lambda sandbox: sandbox.stubs.add(forbidden))

    deployed.check()

    assert list(deployed.store.every_feed())
