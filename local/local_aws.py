"""A local AWS: ministack on a port of 127.0.0.1, used with dummy credentials."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from local.processes import Processes
from stack_access.proxies import without_loopback

ACCOUNT = "000000000000"
REGION = "us-east-1"


def tool_environment(port: int, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return variables that point any AWS tool to the local AWS on `port`: never to a real account, nor to a proxy."""
    return {
        **without_loopback(environment),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def start(processes: Processes, port: int, temporary: Path) -> None:
    """Start the local AWS, with its files in the folder `temporary`, and wait until it accepts connections.

    Raises:
        LocalRunError: it did not start.
    """
    temporary.mkdir(parents=True, exist_ok=True)
    environment: Mapping[str, str] = {
        **os.environ,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "TMPDIR": str(temporary),
        "STATE_DIR": str(temporary / "state"),
        "S3_DATA_DIR": str(temporary / "s3"),
    }
    processes.serve("ministack", [sys.executable, "-m", "ministack"], environment, port)
