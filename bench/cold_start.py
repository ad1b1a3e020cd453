"""The cold start of each handler, compared with boto3 alone, from the deployed bundle in new processes.

The time is processor time, as Python counts it for the process: a small Lambda function has a fraction of a processor,
and other processes on the machine do not count. It includes loading the policy, which every function but
receive_webhook needs.

Findings, of about 400 ms with bytecode and 1,100 ms without:
- Bytecode in the bundle saves more than everything else (`infra/bundling.py`).
- boto3 takes 140 ms, a client for DynamoDB 35, and any other client 10. botocore without boto3 would save 15 ms.
- pydantic takes 50 ms. The schemas of items and of Codat's responses and webhooks are built at first use, since a run
  needs few of them.
- Powertools' batch processing took 12 ms, since it imports asyncio and the events of all services.
- jinja2 takes 35 ms, and only show_page imports it.
- httpx takes 30 ms with its dependencies. apply_webhook does not call Codat, and must not import it.
- receive_webhook has neither pydantic nor httpx, because Codat waits for its response.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path

from bench.bundle import build, without_bytecode
from bench.figures import Figure, show

PROCESSES = 20
PROCESSES_WITHOUT_BYTECODE = 5
"""Fewer, because each takes three times as long."""
CLIENTS = {
    "receive_webhook": ("sqs", "ssm"),
    "apply_webhook": ("dynamodb", "events"),
    "check_freshness": ("dynamodb", "events", "ssm"),
    "show_page": ("dynamodb", "events", "ssm"),
    "queue_refreshes": ("dynamodb", "events", "ssm"),
}
"""The clients that each handler creates."""
READS_POLICY = ("show_page", "apply_webhook", "check_freshness", "queue_refreshes")
AT_MOST = {"receive_webhook": 1.3, "show_page": 2.0}
AT_MOST_OTHERS = 1.6

_TIMED = """
import sys, time
sys.path.append({bundle!r})
started = time.process_time()
{program}
print(time.process_time() - started)
"""
_ENVIRONMENT = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull}


def measure() -> list[Figure]:
    """Measure every handler, from a bundle with bytecode and from one without."""
    bundle = build()
    with without_bytecode(bundle) as sources:
        return [
            *(_figure(handler, bundle, "", PROCESSES) for handler in CLIENTS),
            *(
                _figure(handler, sources, ", no bytecode in the bundle", PROCESSES_WITHOUT_BYTECODE)
                for handler in CLIENTS
            ),
        ]


def _figure(handler: str, bundle: Path, condition: str, processes: int) -> Figure:
    clients = "import boto3\n" + "".join(f"boto3.client({service!r})\n" for service in CLIENTS[handler])
    policy = "from freshness.app import services\nservices._policy()\n" if handler in READS_POLICY else ""
    handler_times, boto3_times = [], []
    for _ in range(processes):
        # Alternate, so that a machine that becomes slower affects both.
        boto3_times.append(_milliseconds(bundle, clients))
        handler_times.append(_milliseconds(bundle, f"import {handler}\n{clients}{policy}"))
    return Figure(
        what=f"cold start of {handler}{condition}",
        value=statistics.median(handler_times),
        unit="ms",
        against=f"boto3 and clients of {', '.join(CLIENTS[handler])}",
        floor=statistics.median(boto3_times),
        at_most=AT_MOST.get(handler, AT_MOST_OTHERS),
    )


def _milliseconds(bundle: Path, program: str) -> float:
    """Return the processor time of a program in a process that imports only from the bundle, and writes no bytecode."""
    command = [sys.executable, "-ISB", "-c", _TIMED.format(bundle=str(bundle), program=program)]
    done = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, check=True)  # noqa: S603
    return float(done.stdout) * 1000


if __name__ == "__main__":
    show("Cold start", measure())
