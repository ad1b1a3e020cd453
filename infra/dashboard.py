"""The CloudWatch dashboard: a row of graphs for each of six questions that the person on call asks."""

from collections.abc import Iterable

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk.aws_cloudwatch import GraphWidget, IMetric, TextWidget, YAxisProps
from constructs import Construct

from freshness.aws.metrics import Metric
from infra.function import Function
from infra.metrics import emitted
from infra.queue import Queue
from infra.tables import Tables

PERIOD = Duration.minutes(15)


class Dashboard(Construct):
    """A dashboard with one row for each question. The cause of an alarm shows in the row of its question."""

    def __init__(
        self,
        scope: Construct,
        *,
        check_freshness: Function,
        queue_refreshes: Function,
        receive_webhook: Function,
        apply_webhook: Function,
        webhooks: Queue,
        dead_letters: Iterable[Queue],
        tables: Tables,
    ) -> None:
        super().__init__(scope, "Dashboard")
        self._check, self._queue = check_freshness, queue_refreshes
        self._receive, self._apply = receive_webhook, apply_webhook
        self._webhooks, self._dead_letters, self._tables = webhooks, tuple(dead_letters), tables
        cloudwatch.Dashboard(
            self,
            "Dashboard",
            default_interval=Duration.days(1),
            widgets=[
                self._is_the_promise_kept(),
                self._is_the_quota_enough(),
                self._is_codat_well(),
                self._are_webhooks_coming(),
                self._does_it_run(),
                self._what_does_it_cost(),
            ],
        )

    def _is_the_promise_kept(self) -> list[cloudwatch.IWidget]:
        states = (Metric.FEEDS_STALE, Metric.FEEDS_REFRESHING, Metric.FEEDS_FAILING)
        return _row(
            "Is the promise kept?",
            _graph(
                "Older than promised",
                self._of(self._queue, "Maximum", Metric.FEEDS_OVER_PROMISE, Metric.FEEDS_UNATTENDED),
            ),
            _graph(
                "Oldest age, in percent of its promise",
                self._of(self._queue, "Maximum", Metric.OLDEST_AGE_AGAINST_PROMISE),
            ),
            _graph("Feeds that are due, by state", self._of(self._queue, "Maximum", *states), stacked=True),
        )

    def _is_the_quota_enough(self) -> list[cloudwatch.IWidget]:
        both = (self._check, self._queue)
        calls = [emitted(Metric.CODAT_CALLS, each, "Sum", PERIOD).with_(label=each.name) for each in both]
        return _row(
            "Is the quota enough?",
            _graph("Left of today's calls, in percent", self._of(self._queue, "Minimum", Metric.QUOTA_LEFT)),
            _graph("Calls to Codat", calls),
            _graph(
                "Due, but not queued",
                self._of(self._queue, "Maximum", Metric.FEEDS_LEFT_OVER),
            ),
        )

    def _is_codat_well(self) -> list[cloudwatch.IWidget]:
        refusals = (Metric.CODAT_REFUSED_KEY, Metric.CODAT_REFUSED_ACCOUNT, Metric.CODAT_LIMITED_CALLS)
        failed = [metric for metric in Metric if metric.startswith("ReadsFailed")]
        return _row(
            "Is Codat well?",
            _graph(
                "Refreshes queued",
                self._of(self._queue, "Sum", Metric.REFRESHES_QUEUED, Metric.DATASETS_ADOPTED, Metric.QUEUEING_FAILED),
            ),
            _graph(
                "Reads ended, as reported by webhooks", self._of(self._apply, "Sum", Metric.READS_COMPLETED, *failed)
            ),
            _graph(
                "Calls that failed or were refused",
                self._of(self._check, "Sum", Metric.LISTING_FAILED, Metric.CHECKS_FAILED, Metric.RESPONSE_ITEMS_SKIPPED)
                + self._of(self._queue, "Sum", *refusals),
            ),
        )

    def _are_webhooks_coming(self) -> list[cloudwatch.IWidget]:
        refused = [metric for metric in Metric if metric.startswith("WebhooksRefused")]
        waiting = [
            queue.metric_approximate_number_of_messages_visible(statistic="Maximum", period=PERIOD)
            for queue in (self._webhooks, *self._dead_letters)
        ]
        accepted = self._webhooks.metric_number_of_messages_sent(statistic="Sum", period=PERIOD, label="Accepted")
        return _row(
            "Are webhooks coming?",
            _graph(
                "Accepted, and refreshes found only by a check",
                [accepted, *self._of(self._check, "Sum", Metric.REFRESHES_FOUND_BY_CHECK)],
            ),
            _graph("Refused, by reason", self._of(self._receive, "Sum", *refused), stacked=True),
            _graph("Waiting in queues and dead-letter queues", waiting),
        )

    def _does_it_run(self) -> list[cloudwatch.IWidget]:
        both = (self._check, self._queue)
        return _row(
            "Does it run?",
            _graph("Ticks", [emitted(Metric.TICKS, each, "Sum", PERIOD).with_(label=each.name) for each in both]),
            _graph(
                "How long ticks take, in milliseconds",
                [each.function.metric_duration(statistic="Maximum", period=PERIOD, label=each.name) for each in both],
            ),
            _graph(
                "Functions that failed",
                [
                    each.function.metric_errors(statistic="Sum", period=PERIOD, label=each.name)
                    for each in (*both, self._receive, self._apply)
                ],
            ),
        )

    def _what_does_it_cost(self) -> list[cloudwatch.IWidget]:
        functions = (self._check, self._queue, self._receive, self._apply)
        return _row(
            "What does it cost?",
            _graph(
                "Milliseconds of Lambda",
                [each.function.metric_duration(statistic="Sum", period=PERIOD, label=each.name) for each in functions],
                stacked=True,
            ),
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

    def _of(self, function: Function, statistic: str, *metrics: Metric) -> list[cloudwatch.Metric]:
        return [emitted(metric, function, statistic, PERIOD) for metric in metrics]


def _row(question: str, *graphs: GraphWidget) -> list[cloudwatch.IWidget]:
    return [TextWidget(markdown=f"## {question}", width=24, height=1), *graphs]


def _graph(title: str, metrics: Iterable[IMetric], *, stacked: bool = False) -> GraphWidget:
    return GraphWidget(
        title=title, left=list(metrics), stacked=stacked, width=8, height=6, left_y_axis=YAxisProps(min=0)
    )
