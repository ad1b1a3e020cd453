"""The metrics that the functions emit, as CDK constructs."""

from aws_cdk import Duration, Stack
from aws_cdk.aws_cloudwatch import Metric as CloudWatchMetric
from constructs import Construct

from freshness.aws.metrics import DIMENSION, NAMESPACE, SHARD, WATCHED, Metric


def emitted(
    scope: Construct, metric: Metric, statistic: str, period: Duration, shard: str | None = None
) -> CloudWatchMetric:
    """Return a metric of the stack of `scope`, with a statistic and a period.

    Raises:
        ValueError: no function emits the metric.
    """
    if metric not in WATCHED:
        raise ValueError(f"no function emits {metric}: add it to freshness.aws.metrics.WATCHED")
    dimensions = {DIMENSION: Stack.of(scope).stack_name}
    return CloudWatchMetric(
        namespace=NAMESPACE,
        metric_name=metric,
        dimensions_map=dimensions | ({SHARD: shard} if shard else {}),
        statistic=statistic,
        period=period,
    )
