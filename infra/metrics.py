"""The metrics of the functions, as CDK constructs: what they emit, and how many of their runs failed."""

from aws_cdk import Duration, Stack
from aws_cdk.aws_cloudwatch import Metric as CloudWatchMetric
from aws_cdk.aws_lambda import IFunction
from constructs import Construct

from freshness.aws.metrics import DIMENSION, NAMESPACE, WATCHED, Metric


def emitted(scope: Construct, metric: Metric, statistic: str, period: Duration) -> CloudWatchMetric:
    """Return a metric of the stack of `scope`, with a statistic and a period.

    Raises:
        ValueError: no function emits the metric.
    """
    if metric not in WATCHED:
        raise ValueError(f"no function emits {metric}: add it to freshness.aws.metrics.WATCHED")
    return CloudWatchMetric(
        namespace=NAMESPACE,
        metric_name=metric,
        dimensions_map={DIMENSION: Stack.of(scope).stack_name},
        statistic=statistic,
        period=period,
    )


def failed_runs(scope: Construct, period: Duration) -> CloudWatchMetric:
    """Return the number of failed runs of all functions in the stack of `scope`.

    It is one metric, counted in the functions' logs, because Lambda's own is one for each function. Such a metric can
    have no dimension, so its namespace has the name of the stack. It is emitted, and charged, only after a failure.
    """
    return CloudWatchMetric(
        namespace=f"{NAMESPACE}/{Stack.of(scope).stack_name}",
        metric_name="FailedRuns",
        statistic="Sum",
        period=period,
    )


def used_memory(function: IFunction, period: Duration) -> CloudWatchMetric:
    """Return the greatest share of its memory that a function used, in percent, as Lambda Insights reports it."""
    return CloudWatchMetric(
        namespace="LambdaInsights",
        metric_name="memory_utilization",
        dimensions_map={"function_name": function.function_name},
        statistic="Maximum",
        period=period,
    )
