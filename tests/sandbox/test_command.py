import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

FOLDER = Path(__file__).parents[2] / "codat-sandbox"
COMMAND = [sys.executable, "-m", "codat_sandbox"]


def test_a_key_that_is_given_is_expected_and_not_printed() -> None:
    with subprocess.Popen(
        [*COMMAND, "--port", "0", "--companies", "2"],
        cwd=FOLDER,
        env=os.environ | {"SANDBOX_API_KEY": "canary"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(4)]
        base_url = printed[0].removeprefix("Codat sandbox ready at ").strip()
        response = httpx.get(f"{base_url}/companies", headers={"Authorization": "Basic Y2FuYXJ5"}, trust_env=False)
        process.send_signal(signal.SIGINT)

    assert response.json()["totalResults"] == 2
    assert process.returncode == 0
    assert "canary" not in "".join(printed)


def test_a_port_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run([*COMMAND, "--port", port], cwd=FOLDER, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert port in ended.stderr
