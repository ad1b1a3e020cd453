"""What the scheduled functions share, against the sandbox and real secrets and tables."""

from datetime import UTC, datetime, timedelta

import boto3
import pytest

from freshness import tick, wiring
from freshness.codat.errors import Unauthorized
from freshness.policy import Policy
from freshness.store import Store
from local.codat_sandbox.serving import running_sandbox
from local.codat_sandbox.settings import Settings

POLICY = Policy.model_validate({"default": {"fresh_within": "1 day"}})


async def test_a_key_that_codat_refuses_is_read_anew_for_the_next_tick(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets, name = boto3.client("secretsmanager"), "key-that-is-replaced"
    secrets.create_secret(Name=name, SecretString="the old one")
    monkeypatch.setenv("CODAT_API_KEY_SECRET", name)
    monkeypatch.setattr(wiring, "store", lambda: store)
    monkeypatch.setattr(wiring, "policy", lambda: POLICY)
    until = datetime.now(UTC) + timedelta(minutes=1)
    with running_sandbox(Settings(companies=1), "the new one") as sandbox:
        monkeypatch.setenv("CODAT_BASE_URL", sandbox.base_url)
        async with tick.codat(until) as codat:
            with pytest.raises(Unauthorized):
                await codat.sync_settings()
            secrets.put_secret_value(SecretId=name, SecretString="the new one")

        async with tick.codat(until) as codat:
            assert await codat.sync_settings()
