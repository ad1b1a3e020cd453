"""What CloudWatch would make of the metrics that real handlers emit: the state of an alarm of the template."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import mean
from typing import Any

import pytest

from freshness.aws.metrics import NAMESPACE
from tests.infra.template import Properties, shown

Dimensions = frozenset[tuple[str, str]]
STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "Sum": sum,
    "Minimum": min,
    "Maximum": max,
    "SampleCount": len,
    "Average": mean,
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
}


@dataclass(frozen=True)
class Value:
    """One value of a metric."""

    at: datetime
    namespace: str
    name: str
    dimensions: Dimensions
    value: float


@dataclass
class CloudWatch:
    """The values of metrics: those that handlers emit, and those of AWS about their runs and about queues."""

    capsys: pytest.CaptureFixture[str]
    clock: Callable[[], datetime]
    values: list[Value] = field(default_factory=list)

    def run(self, function: str, handler: Callable[[], object]) -> None:
        """Run a handler as the function of a logical id, and record what it emits, and whether it raises."""
        self.capsys.readouterr()
        errors = 0.0
        try:
            handler()
        except Exception:  # noqa: BLE001 - whatever it raises, Lambda counts as an error
            errors = 1.0
        for line in self.capsys.readouterr().out.splitlines():
            if '"_aws"' in line:
                self._add_emitted(json.loads(line))
        self.put("AWS/Lambda", "Errors", {"FunctionName": function}, errors)
        if errors:  # which the metric filter of each function's log counts
            self.put(f"{NAMESPACE}/CodatFreshness", "FailedRuns", {}, errors)

    def put(self, namespace: str, name: str, dimensions: dict[str, str], value: float) -> None:
        """Record a value."""
        self.values.append(Value(self.clock(), namespace, name, frozenset(dimensions.items()), value))

    def is_raised(self, alarm: Properties) -> bool:
        """Return whether an alarm is raised now."""
        last = [self._is_breaching(alarm, periods_ago) for periods_ago in range(alarm["EvaluationPeriods"])]
        enough: int = alarm["DatapointsToAlarm"]
        return sum(last) >= enough

    def _add_emitted(self, record: dict[str, Any]) -> None:
        for directive in record["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                for metric in directive["Metrics"]:
                    dimensions = {name: record[name] for name in names}
                    for value in record[metric["Name"]]:
                        self.put(directive["Namespace"], metric["Name"], dimensions, value)

    def _is_breaching(self, alarm: Properties, periods_ago: int) -> bool:
        value = self._expression(alarm["Metrics"], periods_ago) if "Metrics" in alarm else None
        if "MetricName" in alarm:
            value = self._statistic(alarm, alarm["Statistic"], alarm["Period"], periods_ago)
        if value is None:
            return bool(alarm["TreatMissingData"] == "breaching")
        is_beyond = COMPARISONS[alarm["ComparisonOperator"]]
        return is_beyond(value, alarm["Threshold"])

    def _statistic(self, metric: Properties, statistic: str, seconds: float, periods_ago: int) -> float | None:
        end = self.clock() - periods_ago * timedelta(seconds=seconds)
        dimensions = frozenset((each["Name"], shown(each["Value"])) for each in metric.get("Dimensions", ()))
        values = [
            each.value
            for each in self.values
            if (each.namespace, each.name, each.dimensions) == (metric["Namespace"], metric["MetricName"], dimensions)
            and end - timedelta(seconds=seconds) < each.at <= end
        ]
        return STATISTICS[statistic](values) if values else None

    def _expression(self, metrics: list[Properties], periods_ago: int) -> float | None:
        [expression] = [each["Expression"] for each in metrics if "Expression" in each]
        values = {
            each["Id"]: self._statistic(
                each["MetricStat"]["Metric"], each["MetricStat"]["Stat"], each["MetricStat"]["Period"], periods_ago
            )
            for each in metrics
            if "MetricStat" in each
        }
        return evaluate(expression, values)


def evaluate(expression: str, values: dict[str, float | None]) -> float | None:
    """Return the value of an expression of CloudWatch's metric math, `None` if it has none in a period.

    `MIN` and `MAX` of an array skip series without a value. Elsewhere an operand without a value leaves none.
    """
    names: dict[str, object] = {
        "FILL": lambda value, filler: filler if value is None else value,
        "MIN": lambda values: min((value for value in values if value is not None), default=None),
        "MAX": lambda values: max((value for value in values if value is not None), default=None),
        "IF": lambda condition, then, otherwise: then if condition else otherwise,
    }
    python = re.sub(r"\bOR\b", "or", expression)
    try:
        value: float | None = eval(python, {"__builtins__": {}}, names | values)  # noqa: S307 - ours
    except TypeError:  # arithmetic with None
        return None
    return value
