"""What the scheduled functions share, against the sandbox and real secrets and tables."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from codat_sandbox.server import running_sandbox
from codat_sandbox.settings import Settings
from freshness.app.services import CodatAccess, stored_key
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus, NotPublished
from freshness.codat.errors import Unauthorized
from freshness.domain.transitions.notifications import Notification
from tests.builders import a_policy
from tests.integration.deployed import Deployed
from tests.services import services_of

POLICY = a_policy("1 day")


async def test_a_key_that_codat_refuses_is_read_again_for_the_next_tick(aws: None, tables: Tables) -> None:
    secrets, name = boto3.client("ssm"), "key-that-is-replaced"
    secrets.put_parameter(Name=name, Value="the old one", Type="SecureString")
    until = datetime.now(UTC) + timedelta(minutes=1)
    with running_sandbox(Settings(companies=1), "the new one") as sandbox:
        access = CodatAccess(base_url=sandbox.base_url, key=lambda reload: stored_key(name, reload=reload))
        services = services_of(tables, POLICY, codat=access)
        async with services.codat(until) as codat:
            with pytest.raises(Unauthorized):
                await codat.sync_settings()
            secrets.put_parameter(Name=name, Value="the new one", Overwrite=True)

        async with services.codat(until) as codat:
            assert await codat.sync_settings()


def test_codat_refuses_the_key_until_one_is_stored(deployed: Deployed) -> None:
    deployed.key_is_in("/not/stored")

    assert stored_key("/not/stored") == ""
    deployed.check()

    assert list(deployed.tables.companies.scan()) == []


class RefusingBus(EventBus):
    """A bus that accepts no events."""

    def __init__(self) -> None:
        return

    def publish(self, notifications: Sequence[Notification]) -> None:
        """Accept none."""
        if notifications:
            raise NotPublished("the bus is gone")


def test_a_bus_that_accepts_no_events_fails_the_tick_after_everything_else_was_done(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(deployed, "bus", RefusingBus())
        deployed.check()
        with pytest.raises(NotPublished):
            deployed.queue()
        queued = [feed for feed in deployed.tables.feeds.scan() if feed.in_flight]
        assert queued
        deployed.ahead += timedelta(minutes=10)
        for tick_again in (deployed.queue, deployed.check):
            with pytest.raises(NotPublished):
                tick_again()

    deployed.check()
    assert not any(deployed.tables.feeds.get(*feed.key).in_flight for feed in queued)


def test_a_key_without_permission_for_sync_settings_still_checks(deployed: Deployed) -> None:
    deployed.stub(path="/profile/syncSettings", status=403)

    deployed.check()

    assert list(deployed.tables.feeds.scan())
