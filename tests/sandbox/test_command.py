import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

FOLDER = Path(__file__).parents[2] / "codat-sandbox"
COMMAND = [sys.executable, "-m", "codat_sandbox"]


def environment(**changes: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SANDBOX_")} | changes


def test_the_command_prints_that_it_is_ready_and_exits_on_sigint() -> None:
    with subprocess.Popen(
        [*COMMAND, "--port", "0", "--companies", "2"],
        cwd=FOLDER,
        env=environment(SANDBOX_API_KEY="key"),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        base_url = ready.removeprefix("Codat sandbox ready at ").strip()
        response = httpx.get(f"{base_url}/companies", headers={"Authorization": "Basic a2V5"}, trust_env=False)
        process.send_signal(signal.SIGINT)

    assert response.json()["totalResults"] == 2
    assert process.returncode == 0


def test_a_missing_api_key_is_reported_with_the_variable_to_set() -> None:
    ended = subprocess.run(COMMAND, cwd=FOLDER, env=environment(), capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "SANDBOX_API_KEY" in ended.stderr


def test_a_port_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [*COMMAND, "--port", port],
            cwd=FOLDER,
            env=environment(SANDBOX_API_KEY="key"),
            capture_output=True,
            text=True,
            check=False,
        )

    assert ended.returncode == 2
    assert port in ended.stderr
