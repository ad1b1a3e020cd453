"""Which local run the command line finds, how it reaches it, and settings that cannot be used."""

import urllib.request
from pathlib import Path

import pytest

from local import local_aws
from local.errors import SettingsError
from local.settings import Settings
from stack_access.errors import StackError
from stack_access.proxies import without_loopback
from stack_access.stack import local_run


def running(folder: Path, *ports: int) -> None:
    for port in ports:
        run = Settings(local_aws_port=port, local_folder=folder).run_folder
        run.mkdir()
        (run / "outputs.json").write_text("{}")


def test_each_run_has_a_folder_and_the_only_one_that_is_running_is_found(tmp_path: Path) -> None:
    running(tmp_path, 4566)
    (tmp_path / "4666").mkdir()  # one that has ended leaves its logs
    assert local_run(tmp_path) == tmp_path / "4566"


def test_of_several_runs_one_must_be_chosen(tmp_path: Path) -> None:
    running(tmp_path, 4566, 4666)
    with pytest.raises(StackError, match="choose one with LOCAL_AWS_PORT=4566 or LOCAL_AWS_PORT=4666"):
        local_run(tmp_path)
    assert local_run(tmp_path, "4666") == tmp_path / "4666"
    with pytest.raises(StackError, match="No local run on port 4766 is running"):
        local_run(tmp_path, "4766")


def test_without_a_run_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r'No local run is running\. Start one with "make run"\.'):
        local_run(tmp_path / "none")


@pytest.mark.parametrize("given", [{}, {"NO_PROXY": "a.example"}, {"no_proxy": "a.example, b.example"}])
def test_no_call_to_this_machine_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    environment = {"HTTP_PROXY": "http://127.0.0.1:9", **given}
    for name, value in {**environment, **local_aws.tool_environment(4566, environment)}.items():
        monkeypatch.setenv(name, value)

    assert urllib.request.proxy_bypass("127.0.0.1:4566") and urllib.request.proxy_bypass("localhost:80")
    assert bool(urllib.request.proxy_bypass("a.example")) is bool(given)
    assert not urllib.request.proxy_bypass("api.codat.io")
    assert without_loopback(without_loopback(environment)) == without_loopback(environment)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"LOCAL_AWS_PORT": "4577"}, "LOCAL_AWS_PORT and SANDBOX_PORT are both 4577: choose different ports"),
        ({"PAGE_PORT": "4566"}, "LOCAL_AWS_PORT and PAGE_PORT are both 4566"),
        ({"SANDBOX_PORT": "99999999"}, "SANDBOX_PORT cannot be used: Input should be less than or equal to 65535"),
        ({"RUN_FOR": "soon"}, "RUN_FOR cannot be used"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings.from_environment(environment)
