"""The metrics that the functions emit, as CDK constructs."""

from aws_cdk import Duration
from aws_cdk.aws_cloudwatch import Metric as CloudWatchMetric

from freshness.aws.metrics import DIMENSION, NAMESPACE, Metric
from infra.function import Function


def emitted(metric: Metric, function: Function, statistic: str, period: Duration) -> CloudWatchMetric:
    """Return a metric that `function` emits, with a statistic and a period."""
    return CloudWatchMetric(
        namespace=NAMESPACE,
        metric_name=metric,
        dimensions_map={DIMENSION: function.name},
        statistic=statistic,
        period=period,
    )
