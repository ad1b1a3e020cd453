"""The clients of AWS that functions use."""

import re
import socket
import time
from pathlib import Path

import pytest
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError

from freshness.aws import clients

FUNCTIONS = Path(__file__).parents[2] / "functions"


def test_a_call_without_a_response_is_given_up_within_its_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    config = clients.CONFIG.merge(Config(read_timeout=0.05, retries={"mode": "standard", "total_max_attempts": 1}))
    monkeypatch.setattr(clients, "CONFIG", config)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(ReadTimeoutError):
            clients.client("dynamodb").get_item(TableName="table", Key={"name": {"S": "a"}})
    assert time.monotonic() - began < 5


def test_the_time_limits_are_below_those_of_the_functions() -> None:
    limits = vars(clients.CONFIG)
    assert (limits["connect_timeout"], limits["read_timeout"]) == (1, 3)
    assert limits["retries"]["total_max_attempts"] == 4


def test_functions_make_their_clients_in_one_place() -> None:
    makers = [
        path for path in FUNCTIONS.rglob("*.py") if re.search(r"\.(client|resource|create_client)\(", path.read_text())
    ]
    assert makers == [FUNCTIONS / "freshness" / "aws" / "clients.py"]
