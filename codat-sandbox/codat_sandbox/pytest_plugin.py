"""Fixtures for pytest, which finds them by itself once the package is installed."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from codat_sandbox.sandbox import new_signing_secret
from codat_sandbox.server import RunningSandbox, running_sandbox
from codat_sandbox.settings import Settings

QUICK = Settings(
    sync_time_min=timedelta(milliseconds=20),
    sync_time_max=timedelta(milliseconds=60),
    read_completed_within=timedelta(milliseconds=50),
    fails_first=0,
    needs_relink=0,
    permissions_error=0,
    not_supported=0,
    machine_offline=0,
)
"""Reads that take milliseconds, and never fail."""


@pytest.fixture
def codat_sandbox_settings() -> Settings:
    """Return the settings of `codat_sandbox`: nothing fails, and reads take milliseconds. Override this fixture."""
    return QUICK.model_copy(update={"companies": 3})


@pytest.fixture
def codat_sandbox(codat_sandbox_settings: Settings) -> Iterator[RunningSandbox]:
    """Yield a Codat sandbox of the test's own, with `base_url`, `api_key` and the `signing_secret` of its webhooks."""
    with running_sandbox(codat_sandbox_settings, signing_secret=new_signing_secret()) as sandbox:
        yield sandbox
