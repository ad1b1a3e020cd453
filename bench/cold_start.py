"""How much of a cold start is ours: each handler against boto3 alone, both from the real bundle in fresh processes.

The time is the processor's, as Python counts it for the process: a small Lambda has a fraction of a processor, so
that this is what makes a cold start long, and what else runs on the machine does not count. Loading the policy counts
too, as no function works without.

What the measurements taught, of some 400 ms with bytecode and 1,100 without:
- Bytecode in the bundle is worth more than all the rest (`infra/bundling.py`).
- boto3 is 140, a client of DynamoDB 35, any further client 10. botocore without boto3 would save 15: not worth it.
- pydantic is 50, and the schemas of what the tables, the policy and Codat's answers hold 75 more. Each function uses
  most of them, and Lambda starts a function with a whole processor, of which it has a fraction later: making them at
  first use would look better here, and take longer there.
- httpx is 30 with what it brings. apply_webhook, which calls no one at Codat, must not import it.
- Looking for garbage among what is imported, which all stays, took 40 (`freshness/__init__.py`), and listing all time
  zones to check one 20. Building schemas at first use instead of at import saved nothing that showed.
- receive_webhook has neither pydantic nor httpx: it answers Codat, who waits.
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
"""They are there for comparison, and take three times as long."""
CLIENTS = {
    "receive_webhook": ("sqs", "secretsmanager"),
    "apply_webhook": ("dynamodb", "events"),
    "check_freshness": ("dynamodb", "events", "secretsmanager"),
    "queue_refreshes": ("dynamodb", "secretsmanager"),
}
"""The clients that each handler makes."""
READS_POLICY = ("apply_webhook", "check_freshness", "queue_refreshes")
AT_MOST = {"receive_webhook": 1.3}
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
    """Every handler, from a bundle with bytecode and from one without."""
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
    policy = "from freshness import wiring\nwiring.policy()\n" if handler in READS_POLICY else ""
    ours, theirs = [], []
    for _ in range(processes):
        # By turns, so that a machine that grows busy or warm slows both alike.
        theirs.append(_milliseconds(bundle, clients))
        ours.append(_milliseconds(bundle, f"import {handler}\n{clients}{policy}"))
    return Figure(
        what=f"cold start of {handler}{condition}",
        value=statistics.median(ours),
        unit="ms",
        against=f"boto3 and clients of {', '.join(CLIENTS[handler])}",
        floor=statistics.median(theirs),
        at_most=AT_MOST.get(handler, AT_MOST_OTHERS),
    )


def _milliseconds(bundle: Path, program: str) -> float:
    """The processor time of a program in a process that has nothing but the bundle, and writes no bytecode."""
    command = [sys.executable, "-ISB", "-c", _TIMED.format(bundle=str(bundle), program=program)]
    done = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, check=True)  # noqa: S603
    return float(done.stdout) * 1000


if __name__ == "__main__":
    show("Cold start", measure())
