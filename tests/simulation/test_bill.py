"""AWS's bill, computed a second time: from its price list, the template, and what a simulated day used."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from codat_sandbox.settings import Settings
from estimate.bill import ALARM_METRICS, BATCHING_SECONDS, parts
from freshness.policy.policy import Policy
from infra.settings import Deployment
from local.settings import ROOT
from simulate.clock import SimulatedLoop, simulate
from tests.builders import a_policy
from tests.simulation.metered import LOG_EVENT, Meter, MeteredSimulation, logged, size

DAYS = 30.4
SECONDS = DAYS * 86_400
COMPANIES = 1_000
REFRESHES = COMPANIES * 10 * 4 * DAYS
LISTS_A_DAY = 96
HOURS = 6
"""How long is simulated."""
OFF = {"off": True, "fresh_within": "1 day"}
IDLE = Policy.model_validate({"default": OFF})
BUSY = a_policy("6 hours")
WRITES, READS = 0.625e-6, 0.125e-6
GB_SECONDS, INVOCATIONS = 0.0000133334, 0.20e-6
HTTP_REQUESTS, SQS_REQUESTS, EVENTS, SCHEDULED, KMS_REQUESTS = 1.00e-6, 0.40e-6, 1.00e-6, 1.00e-6, 3.0e-6
GB_STORED, GB_BACKED_UP, GB_OUT, AN_ALARM_METRIC = 0.25, 0.20, 0.09, 0.10
GB_LOGGED = {"STANDARD": 0.50, "INFREQUENT_ACCESS": 0.25}
"""As in the price lists of AWS for us-east-1, without free tiers and tax."""
RUNS_A_DAY = {"cron(* * * * ? *)": 1440, "cron(0/5 * * * ? *)": 288}
SECONDS_OF_A_CALL = 0.0133
"""Of a call of AWS with 256 MB, with the processor time around it: 4.68 s for 352 (`bench/webhooks.py`)."""
SECONDS_OF_A_TICK = 0.4
"""Beside the calls of AWS: Codat's latency, and the processor time of a tick with nothing to do."""
POLLERS, LONG_POLL = 5, 20
"""Lambda's pollers of a queue, and the seconds for which each waits."""
SECRETS_KEPT = 300
"""Seconds."""
CONTEXT = 330
"""The bytes with which Powertools says in each record which function logs it."""
ALSO = {
    "DynamoDB point-in-time recovery": "DynamoDB storage",
    "KMS calls to read secrets": "KMS",
}
"""The lines of the bill with another name."""
ANSWER = 250
"""The bytes of the response to a webhook."""
SEGMENTS = 150
"""The bytes around a request or a response: TLS, TCP, IP, and a part of the handshake."""


def _template(folder: Path) -> dict[str, Any]:
    from aws_cdk import App

    from infra.freshness_stack import FreshnessStack

    app = App(outdir=str(folder / "out"), builtin_cloud_formation_validation=False)
    (folder / "bundle").mkdir()
    stack = FreshnessStack(app, Deployment.read(ROOT / "deployment.toml", {}), folder / "bundle")
    body: dict[str, Any] = app.synth().get_stack_by_name(stack.stack_name).template
    return body


def _indexes(template: Mapping[str, Any]) -> dict[str, dict[str, tuple[tuple[str, ...], tuple[str, ...]]]]:
    """Return the attributes of each index that the template defines, by table and name."""
    return {
        next(name for name in ("companies", "feeds", "datasets", "control") if name in logical_id.lower()): {
            index["IndexName"]: (
                tuple(key["AttributeName"] for key in index["KeySchema"]),
                tuple(index["Projection"].get("NonKeyAttributes", ())),
            )
            for index in resource["Properties"].get("GlobalSecondaryIndexes", ())
        }
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::DynamoDB::Table"
    }


def _used(template: Mapping[str, Any], policy: Policy) -> Counter[str]:
    """Return what a few companies used in some hours, after some in which everything is read for the first time."""
    settings = Settings(
        companies=8,
        fails_first=0,
        never_synced=0,
        needs_relink=0,
        machine_offline=0,
        permissions_error=0,
        not_supported=0,
        sync_schedule={},
        sync_time_min=timedelta(minutes=2),
        sync_time_max=timedelta(minutes=6),
    )
    meter = Meter(_indexes(template))

    async def run(loop: SimulatedLoop) -> MeteredSimulation:
        simulation = MeteredSimulation(loop, settings, policy, meter=meter)
        every, random = timedelta(minutes=1), Random(1)
        await simulation.run_for(timedelta(hours=20), every=every, random=random, skips_idle=True)
        for counts in (meter.used, simulation.calls, simulation.tallies, simulation.published):
            counts.clear()
        await simulation.run_for(timedelta(hours=HOURS), every=every, random=random)
        return simulation

    with logged(meter.used):
        simulation = simulate(run)
    items = [item for company in simulation.records.values() for item in company.values() if "ended_at" in item]
    return meter.used + Counter(
        {
            "refreshes": simulation.tallies["RefreshesQueued"],
            "events": simulation.published.total(),
            "Codat calls": simulation.calls.total(),
            "dataset bytes": sum(map(size, items)) // max(1, len(items)),
        }
    )


@dataclass(frozen=True)
class Month:
    """A month of `COMPANIES` with a webhook for each read, from what some hours of few used, idle and at work."""

    template: Mapping[str, Any]
    idle: Counter[str]
    busy: Counter[str]

    @classmethod
    def simulated(cls, template: Mapping[str, Any]) -> "Month":
        return cls(template, _used(template, IDLE), _used(template, BUSY))

    def of_tick(self, name: str) -> float:
        return self.idle[name] / (HOURS * 72)

    def of_refresh(self, name: str) -> float:
        return (self.busy[name] - self.idle[name]) / self.busy["refreshes"]

    def properties(self, kind: str) -> list[dict[str, Any]]:
        return [each["Properties"] for each in self.template["Resources"].values() if each["Type"] == kind]

    @property
    def runs_a_day(self) -> list[int]:
        return [RUNS_A_DAY[each["ScheduleExpression"]] for each in self.properties("AWS::Scheduler::Schedule")]

    @property
    def ticks(self) -> float:
        return sum(self.runs_a_day) * DAYS

    @property
    def batching_seconds(self) -> float:
        [mapping] = self.properties("AWS::Lambda::EventSourceMapping")
        return float(mapping["MaximumBatchingWindowInSeconds"])

    @property
    def batches(self) -> float:
        [mapping] = self.properties("AWS::Lambda::EventSourceMapping")
        size = 1 + REFRESHES / SECONDS * self.batching_seconds
        return REFRESHES / min(float(mapping["BatchSize"]), size)

    def bill(self) -> dict[str, float]:
        """Return the charges in USD."""
        return {
            "DynamoDB writes": self._writes() * WRITES,
            "DynamoDB reads": self._reads() * READS,
            "DynamoDB storage": self._stored() * (GB_STORED + GB_BACKED_UP),
            "Lambda time": self._gb_seconds() * GB_SECONDS,
            "Lambda requests": (self.ticks + REFRESHES + self.batches) * INVOCATIONS,
            "API Gateway": REFRESHES * HTTP_REQUESTS,
            "SQS": (REFRESHES + self.batches + _polls()) * SQS_REQUESTS,
            "EventBridge": REFRESHES * self.of_refresh("events") * EVENTS + self.ticks * SCHEDULED,
            "KMS": 3 * SECONDS / SECRETS_KEPT * KMS_REQUESTS,
            "CloudWatch logs": self._logs(),
            "CloudWatch alarms": self.alarm_metrics * AN_ALARM_METRIC,
            "data out": REFRESHES * (self.of_refresh("bytes to Codat") + ANSWER + 2 * SEGMENTS) / 1e9 * GB_OUT,
        }

    def _writes(self) -> float:
        of_tick = self.of_tick("units written of control") + self.of_tick("units written of data")
        # Slots for calls of Codat are reserved by ten, and written once more at the end of a tick: so few companies
        # have one refresh in a tick, and not as many as this.
        in_a_tick = REFRESHES / (max(self.runs_a_day) * DAYS)
        slots = math.ceil(in_a_tick / 10 + 1) / in_a_tick
        return self.ticks * of_tick + REFRESHES * (self.of_refresh("units written of data") + slots)

    def _reads(self) -> float:
        of_tick = self.of_tick("half units read of control") + self.of_tick("half units read of data")
        listed = COMPANIES * LISTS_A_DAY * DAYS
        return (self.ticks * of_tick + REFRESHES * self.of_refresh("half units read of data") + listed) / 2

    def _stored(self) -> float:
        return REFRESHES / DAYS * 30 * (self.busy["dataset bytes"] + 100) / 1e9

    def _gb_seconds(self) -> float:
        functions = {each["Handler"].split(".")[0]: each for each in self.properties("AWS::Lambda::Function")}
        of_tick = self.of_tick("calls") * SECONDS_OF_A_CALL + SECONDS_OF_A_TICK
        seconds = {
            "queue_refreshes": self.ticks * of_tick + REFRESHES * 60 / BUSY.budget.calls_per_minute,
            "apply_webhook": REFRESHES * self.busy["webhook calls"] / self.busy["webhooks"] * SECONDS_OF_A_CALL,
            "receive_webhook": REFRESHES * 1.5 * SECONDS_OF_A_CALL,
        }
        return sum(each * float(functions[name]["MemorySize"]) / 1024 for name, each in seconds.items())

    def _logs(self) -> float:
        [stage] = self.properties("AWS::ApiGatewayV2::Stage")
        record = dict.fromkeys(json.loads(stage["AccessLogSettings"]["Format"]), "12345678")
        log = self.template["Resources"][stage["AccessLogSettings"]["DestinationArn"]["Fn::GetAtt"][0]]["Properties"]
        of_requests = REFRESHES * (len(json.dumps(record)) + LOG_EVENT)
        of_functions = self.ticks * (self.of_tick("log bytes") + CONTEXT)
        of_functions += self.batches * (self.of_refresh("log bytes") + CONTEXT)
        return (of_functions * GB_LOGGED["STANDARD"] + of_requests * GB_LOGGED[log["LogGroupClass"]]) / 1e9

    @property
    def alarm_metrics(self) -> int:
        """The metrics that alarms watch."""
        alarms = [each.get("Metrics") or [{"MetricStat": each}] for each in self.properties("AWS::CloudWatch::Alarm")]
        return sum("MetricStat" in metric for alarm in alarms for metric in alarm)


def _polls() -> float:
    """Return how often the pollers ask, each until a message comes or its time is over, if messages come at random."""
    rate = REFRESHES / SECONDS / POLLERS
    return POLLERS * SECONDS * rate / (1 - math.exp(-rate * LONG_POLL))


def test_the_bill_is_right_within_3_percent_of_one_that_is_computed_from_a_simulated_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    month, ours = Month.simulated(_template(tmp_path)), defaultdict[str, float](float)
    counted = month.bill()
    for part in parts(REFRESHES, COMPANIES):
        [name] = [each for each in counted if ALSO.get(part.name, part.name).startswith(each)]
        ours[name] += part.cost
    with capsys.disabled():
        for name, cost in counted.items():
            print(f"\n{name}: {ours[name]:.3f} USD, counted {cost:.3f}", end="")
        print(f"\na month: {sum(ours.values()):.2f} USD, counted {sum(counted.values()):.2f}")
    assert sum(ours.values()) == pytest.approx(sum(counted.values()), rel=0.03)
    assert (month.alarm_metrics, month.batching_seconds) == (ALARM_METRICS, BATCHING_SECONDS)
