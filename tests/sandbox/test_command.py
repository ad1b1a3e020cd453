"""The command `codat-sandbox`. `test_package.py` runs it as it is installed."""

import socket
from collections.abc import Callable

import pytest
from typer import BadParameter

from codat_sandbox import __main__ as command
from codat_sandbox.sandbox import Sandbox


def test_a_key_that_is_given_is_expected_and_not_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[Sandbox] = []

    class Server:
        def __init__(self, sandbox: Sandbox, on_start: Callable[[], None]) -> None:
            served.append(sandbox)
            self._on_start = on_start

        def run(self, **_: object) -> None:
            self._on_start()

    monkeypatch.setattr(command, "create_server", Server)
    monkeypatch.setenv("SANDBOX_API_KEY", "canary")
    command.serve(port=0, companies=2)

    assert [sandbox.api_key for sandbox in served] == ["canary"]
    assert len(served[0].backend.companies()) == 2
    printed = capsys.readouterr().out
    assert "as in SANDBOX_API_KEY" in printed
    assert "canary" not in printed


def test_a_port_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BadParameter, match="choose another port"):
        command.serve(port=taken.getsockname()[1])
