"""Cold starts: the processor time to start Python and to import a handler, each in a process of its own.

Every module has its bytecode, as in the bundle. Lambda gives a function a whole processor while it starts.
"""

import os
import subprocess
import sys
from statistics import median

from bench.figures import Figure, Topic, show
from local.settings import ROOT

RUNS = 5
FLOOR = "import boto3; [boto3.client(name, region_name='us-east-1') for name in ('dynamodb', 'events', 'ssm')]"
WAITED_FOR = {"receive_webhook": 1.0, "serve_api": 1.5}
"""The functions that Codat or a caller may wait for, with the most of the floor that each may take."""
HANDLERS = ("receive_webhook", "serve_api", "apply_webhook", "check_freshness", "queue_refreshes", "show_page")


def measure() -> list[Figure]:
    """Measure each handler, and boto3 with three clients, in turn."""
    sources = {"boto3": FLOOR} | {name: f"import {name}" for name in HANDLERS}
    took: dict[str, list[float]] = {name: [] for name in sources}
    # The first run writes missing bytecode.
    for run in range(RUNS + 1):
        for name, source in sources.items():
            seconds = _processor_seconds(source)
            if run:
                took[name].append(1000 * seconds)
    return [
        Figure(
            what=f"cold start of {name}",
            topic=Topic.LATENCY if name in WAITED_FOR else None,
            value=median(took[name]),
            unit="ms",
            against="boto3 with clients of DynamoDB, EventBridge and SSM",
            floor=median(took["boto3"]),
            at_most=WAITED_FOR.get(name),
        )
        for name in HANDLERS
    ]


def _processor_seconds(source: str) -> float:
    """Return the processor time of a Python that runs a source."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "functions"),
        "AWS_DEFAULT_REGION": "us-east-1",
        # The bundle has no metadata of packages, which pydantic searches for plugins.
        "PYDANTIC_DISABLE_PLUGINS": "__all__",
    }
    before = os.times()
    subprocess.run([sys.executable, "-c", source], env=environment, check=True, capture_output=True)  # noqa: S603
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    show("Cold starts", measure())
