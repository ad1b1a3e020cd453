import re
import tomllib
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from infra.settings import Deployment, SettingsError, context_of

FILE = Path(__file__).parents[2] / "deployment.toml"


def test_deployment_toml_has_the_default_of_each_setting() -> None:
    defaults = Deployment(name="CodatFreshness", policy=Path("freshness.toml"))
    assert Deployment.read(FILE, {}) == defaults
    written = tomllib.loads(FILE.read_text())["default"]
    assert written.keys() == Deployment.model_fields.keys() - {"name", "local"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dry_run", "perhaps"),
        ("time_zone", "Europe/Lndon"),
        ("check_schedule", "every five minutes"),
        ("queue_schedule", "rate(5 minutes)"),
        ("codat_base_url", "api.codat.io"),
        ("queue_schedule", "cron(* * * * * *)"),
        ("queue_schedule", "cron(60 * * * ? *)"),
        ("tick_at_least_every", "0"),
        ("tick_at_least_every", "3361"),
        ("alarm_email", "nobody"),
        ("webhook_addresses", "20.117.190"),
        ("webhook_header", "X Key"),
        ("kms_key", "alias/ours"),
        ("local", ""),
        ("name", "two words"),
        ("name", "a-name-of-25-characters-x"),
        ("monthly_budget", "-1"),
        ("api_calls_per_second", "0"),
        ("webhook_batches_at_once", "1"),
        ("waiting_callers", "-1"),
        ("time_zone", "localtime"),
        ("time_zone", "9" * 50),
    ],
)
def test_an_invalid_setting_is_reported_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^context {name}: .*, got {re.escape(repr(value))}$"):
        Deployment.read(FILE, {name: value})


def test_an_invalid_setting_of_the_file_is_reported_by_name(tmp_path: Path) -> None:
    file = tmp_path / "deployment.toml"
    file.write_text(FILE.read_text().replace("tick_at_least_every = 15", "tick_at_least_every = 0"))
    with pytest.raises(SettingsError, match=r"^deployment\.toml tick_at_least_every: .*, got 0$"):
        Deployment.read(file, {})


def test_a_missing_setting_is_reported_by_name(tmp_path: Path) -> None:
    file = tmp_path / "deployment.toml"
    file.write_text(FILE.read_text().replace("policy =", "# policy ="))
    with pytest.raises(SettingsError, match=r"^deployment\.toml policy: "):
        Deployment.read(file, {})


def test_an_unknown_setting_is_reported_by_name(tmp_path: Path) -> None:
    file = tmp_path / "deployment.toml"
    file.write_text(FILE.read_text() + '[staging]\nalarm_mail = "oncall@example.com"\n')
    with pytest.raises(SettingsError, match=r"^deployment\.toml alarm_mail: "):
        Deployment.read(file, {"name": "staging"})


def test_a_file_that_is_no_toml_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "deployment.toml"
    file.write_text("[default\n")
    with pytest.raises(SettingsError, match=r"deployment\.toml:1: expected TOML"):
        Deployment.read(file, {})


def test_the_table_of_a_stack_overrides_the_default_and_the_context_both(tmp_path: Path) -> None:
    file = tmp_path / "deployment.toml"
    staging = '[staging]\nalarm_email = "staging@example.com"\ntime_zone = "Europe/London"\n'
    file.write_text(FILE.read_text() + staging)
    settings = Deployment.read(file, {"name": "staging", "time_zone": "Asia/Tokyo"})
    assert (settings.name, settings.alarm_email) == ("staging", "staging@example.com")
    assert settings.time_zone == ZoneInfo("Asia/Tokyo")
    assert Deployment.read(file, {}).alarm_email == ""


@pytest.mark.parametrize(
    ("schedule", "minutes"),
    [
        ("cron(0/30 * * * ? *)", 30),
        ("cron(0/10 6-22 * * ? *)", 430),
        ("cron(5,50 * * * ? *)", 45),
        ("cron(0 0/2 * * ? *)", 120),
        ("cron(0/5 * ? * MON-SAT *)", 1445),
        ("cron(0/5 * L * ? *)", 5),
    ],
)
def test_an_alarm_for_a_late_tick_may_not_come_before_the_schedules_next_run(schedule: str, minutes: int) -> None:
    settings = Deployment.read(FILE, {"check_schedule": schedule, "tick_at_least_every": str(minutes)})
    assert settings.tick_at_least_every == minutes
    message = f"tick_at_least_every: expected at least {minutes}, the minutes between two runs of check_schedule"
    with pytest.raises(SettingsError, match=message):
        Deployment.read(FILE, {"check_schedule": schedule, "tick_at_least_every": str(minutes - 1)})


@pytest.mark.parametrize(("zone", "warns"), [("Europe/London", True), ("Etc/UTC", False), ("Asia/Tokyo", False)])
def test_a_schedule_in_a_zone_with_daylight_saving_time_gets_a_warning(zone: str, warns: bool) -> None:
    assert ["daylight saving" in each for each in Deployment.read(FILE, {"time_zone": zone}).warnings] == [True] * warns


def test_context_that_does_not_fit_into_a_variable_is_read_from_its_file(tmp_path: Path) -> None:
    overflow = tmp_path / "context.json"
    overflow.write_text('{"name": "staging"}')
    environment = {"CDK_CONTEXT_JSON": '{"dry_run": "true"}', "CONTEXT_OVERFLOW_LOCATION_ENV": str(overflow)}
    assert context_of(environment) == {"name": "staging", "dry_run": "true"}
    assert context_of({}) == {}
