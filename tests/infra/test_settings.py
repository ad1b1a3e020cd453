import json
import re
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aws_cdk import App

from infra.settings import Settings, SettingsError

DEFAULTS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "cdk.json").read_text())["context"]


def test_the_default_settings_of_a_deployment() -> None:
    assert Settings.from_context(App(context=DEFAULTS).node) == Settings(
        codat_base_url="https://api.codat.io",
        dry_run=False,
        policy=Path("freshness.toml"),
        check_schedule="cron(0/5 * * * ? *)",
        queue_schedule="cron(* * * * ? *)",
        queue_by_shard=False,
        time_zone=ZoneInfo("Etc/UTC"),
        tick_at_least_every=15,
        alarm_email="",
        dashboard=True,
        webhook_addresses=(),
        webhook_header="",
        local=False,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dry_run", "perhaps"),
        ("time_zone", "Europe/Lndon"),
        ("check_schedule", "every five minutes"),
        ("queue_schedule", "rate(5 minutes)"),
        ("codat_base_url", "api.codat.io"),
        ("queue_by_shard", "4"),
        ("queue_schedule", "cron(* * * * * *)"),
        ("queue_schedule", "cron(60 * * * ? *)"),
        ("tick_at_least_every", "0"),
        ("tick_at_least_every", "3361"),
        ("alarm_email", "nobody"),
        ("webhook_addresses", "20.117.190"),
        ("webhook_header", "X Key"),
        ("local", ""),
    ],
)
def test_an_invalid_setting_is_reported_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^context {name}: .*, got {re.escape(repr(value))}$"):
        Settings.from_context(App(context=DEFAULTS | {name: value}).node)


def test_a_missing_setting_is_reported_by_name() -> None:
    without = {name: value for name, value in DEFAULTS.items() if name != "policy"}
    with pytest.raises(SettingsError, match=r"^context policy: "):
        Settings.from_context(App(context=without).node)
