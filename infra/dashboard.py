"""The CloudWatch dashboard: the page, and a row of graphs for each of six questions that the person on call asks.

It shows at most 50 metrics: AWS's free tier has no larger dashboards. Counts that no alarm watches are queried from
logs.
"""

from collections.abc import Iterable

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk.aws_cloudwatch import GraphWidget, IMetric, TextWidget, YAxisProps
from constructs import Construct

from freshness.aws.metrics import Metric
from infra.function import Function
from infra.queue import Queue
from infra.tables import Tables

PERIOD = Duration.minutes(15)


class Dashboard(Construct):
    """A dashboard with one row for each question. The cause of an alarm shows in the row of its question."""

    def __init__(
        self,
        scope: Construct,
        *,
        show_page: Function,
        check_freshness: Function,
        queue_refreshes: Function,
        receive_webhook: Function,
        apply_webhook: Function,
        webhooks: Queue,
        dead_letters: Iterable[Queue],
        tables: Tables,
    ) -> None:
        super().__init__(scope, "Dashboard")
        self._show = show_page
        self._check, self._queue = check_freshness, queue_refreshes
        self._receive, self._apply = receive_webhook, apply_webhook
        self._webhooks, self._dead_letters, self._tables = webhooks, tuple(dead_letters), tables
        cloudwatch.Dashboard(
            self,
            "Dashboard",
            default_interval=Duration.days(1),
            widgets=[
                [self._page()],
                self._is_the_promise_kept(),
                self._is_the_quota_enough(),
                self._does_codat_respond(),
                self._do_webhooks_arrive(),
                self._does_it_run(),
                self._what_does_it_cost(),
            ],
        )

    def _page(self) -> cloudwatch.IWidget:
        """Return the widget with the page. CloudWatch invokes its function with the permissions of whoever looks."""
        return cloudwatch.CustomWidget(
            title="Are the promises kept, whose turn is it, and what next?",
            function_arn=self._show.function.function_arn,
            update_on_time_range_change=False,
            update_on_resize=False,
            width=24,
            height=14,
        )

    def _is_the_promise_kept(self) -> list[cloudwatch.IWidget]:
        states = (Metric.FEEDS_STALE, Metric.FEEDS_REFRESHING, Metric.FEEDS_FAILING)
        return _row(
            "Is the promise kept?",
            _logged("Older than promised", self._queue, "max", Metric.FEEDS_OVER_PROMISE, Metric.FEEDS_UNATTENDED),
            _logged(
                "In percent: oldest age, of its promise, and burn rate, of what raises an alarm",
                (self._queue, self._check),
                "max",
                Metric.OLDEST_AGE_AGAINST_PROMISE,
                Metric.BURN_RATE,
            ),
            _logged("Feeds that are due, by state", self._queue, "max", *states),
        )

    def _is_the_quota_enough(self) -> list[cloudwatch.IWidget]:
        return _row(
            "Is the quota enough?",
            _logged("Left of today's calls, in percent", self._queue, "min", Metric.QUOTA_LEFT),
            _logged("Calls to Codat", (self._check, self._queue), "sum", Metric.CODAT_CALLS),
            _logged("Due, but not queued", self._queue, "max", Metric.FEEDS_LEFT_OVER),
        )

    def _does_codat_respond(self) -> list[cloudwatch.IWidget]:
        refusals = (Metric.CODAT_REFUSED_ACCESS, Metric.CODAT_LIMITED_CALLS)
        failed = [metric for metric in Metric if metric.startswith("ReadsFailed")]
        queued = (Metric.REFRESHES_QUEUED, Metric.DATASETS_ADOPTED, Metric.QUEUEING_FAILED)
        return _row(
            "Does Codat respond?",
            _logged("Refreshes queued", self._queue, "sum", *queued),
            _logged("Reads ended, as reported by webhooks", self._apply, "sum", Metric.READS_COMPLETED, *failed),
            _logged(
                "Calls that failed or were refused",
                (self._check, self._queue),
                "sum",
                *(Metric.LISTING_FAILED, Metric.CHECKS_FAILED, Metric.RESPONSE_ITEMS_SKIPPED, *refusals),
            ),
        )

    def _do_webhooks_arrive(self) -> list[cloudwatch.IWidget]:
        waiting = [
            queue.metric_approximate_number_of_messages_visible(statistic="Maximum", period=PERIOD)
            for queue in (self._webhooks, *self._dead_letters)
        ]
        accepted = self._webhooks.metric_number_of_messages_sent(statistic="Sum", period=PERIOD, label="Accepted")
        return _row(
            "Do webhooks arrive?",
            _graph("Accepted", [accepted]),
            _logged("Refreshes found only by a check", self._check, "sum", Metric.REFRESHES_FOUND_BY_CHECK),
            _graph("Waiting in queues and dead-letter queues", waiting),
        )

    def _does_it_run(self) -> list[cloudwatch.IWidget]:
        both = (self._check, self._queue)
        return _row(
            "Does it run?",
            _graph("Runs", _of_functions(both, "Invocations", "Sum")),
            _graph("How long ticks take, in milliseconds", _of_functions(both, "Duration", "Maximum")),
            _graph("Functions that failed", _of_functions((*both, self._receive, self._apply), "Errors", "Sum")),
        )

    def _what_does_it_cost(self) -> list[cloudwatch.IWidget]:
        functions = (self._check, self._queue, self._receive, self._apply)
        return _row(
            "What does it cost?",
            _graph("Milliseconds of Lambda", _of_functions(functions, "Duration", "Sum"), stacked=True),
            _graph("Read units of the tables", self._units("ConsumedReadCapacityUnits"), stacked=True),
            _graph("Write units of the tables", self._units("ConsumedWriteCapacityUnits"), stacked=True),
        )

    def _units(self, name: str) -> list[cloudwatch.Metric]:
        tables = {
            "companies": self._tables.companies,
            "feeds": self._tables.feeds,
            "datasets": self._tables.datasets,
            "control": self._tables.control,
        }
        return [
            cloudwatch.Metric(
                namespace="AWS/DynamoDB",
                metric_name=name,
                dimensions_map={"TableName": table.table_name},
                statistic="Sum",
                period=PERIOD,
                label=label,
            )
            for label, table in tables.items()
        ]


def _of_functions(functions: Iterable[Function], metric: str, statistic: str) -> list[IMetric]:
    return [each.function.metric(metric, statistic=statistic, period=PERIOD, label=each.name) for each in functions]


def _row(question: str, *graphs: cloudwatch.IWidget) -> list[cloudwatch.IWidget]:
    return [TextWidget(markdown=f"## {question}", width=24, height=1), *graphs]


def _logged(
    title: str, functions: Function | tuple[Function, ...], statistic: str, *metrics: Metric
) -> cloudwatch.LogQueryWidget:
    """Return a graph of the counts that functions log at the end of each run. It costs no metric."""
    functions = functions if isinstance(functions, tuple) else (functions,)
    values = ", ".join(f"{statistic}(counts.{metric}) as {metric}" for metric in metrics)
    return cloudwatch.LogQueryWidget(
        title=title,
        log_group_names=[function.log_group.log_group_name for function in functions],
        query_lines=["filter ispresent(counts)", f"stats {values} by bin({PERIOD.to_minutes():.0f}m)"],
        view=cloudwatch.LogQueryVisualizationType.LINE,
        width=8,
        height=6,
    )


def _graph(title: str, metrics: Iterable[IMetric], *, stacked: bool = False) -> GraphWidget:
    return GraphWidget(
        title=title, left=list(metrics), stacked=stacked, width=8, height=6, left_y_axis=YAxisProps(min=0)
    )
