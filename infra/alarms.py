"""The alarms, each with what it means and what to do about it."""

from collections.abc import Iterable

from aws_cdk import Duration, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk.aws_cloudwatch import ComparisonOperator, TreatMissingData
from aws_cdk.aws_cloudwatch_actions import SnsAction
from constructs import Construct

from freshness.aws.metrics import DIMENSION, LOW_QUOTA, NAMESPACE, TOO_FAST, WATCHED, Metric
from freshness.domain.companies.listing import SHARE
from infra.alarm_receivers import tell_of_alarms
from infra.function import Function, failed_runs
from infra.queue import Queue
from infra.settings import Settings
from infra.webhook_intake import MAX_RECEIVE_COUNT

HOUR = Duration.hours(1)
MANY = 10
"""The number of lost connections within an hour, or of refused refreshes within a period, that is more than chance."""
MUCH_MEMORY = 90
"""The share of a function's memory, in percent, that is nearly all of it."""
FAILURES = 2
"""The number of failed runs within a period that is more than chance."""


class Alarms(Construct):
    """CloudWatch alarms that notify one SNS topic.

    The description of each says what is wrong and what to do about it. `docs/operate.md` lists the same texts, and
    a test compares them.
    """

    def __init__(self, scope: Construct, settings: Settings) -> None:
        """Create the topic, and send its messages to the receivers that the settings name.

        A local stack has no alarms on expressions of metrics, because the local AWS does not support them.
        """
        super().__init__(scope, "Alarms")
        self._period = Duration.minutes(settings.tick_at_least_every)
        self._local = settings.local
        self.topic = sns.Topic(
            self, "Topic", display_name=f"Codat Freshness: {Stack.of(self).stack_name}", enforce_ssl=True
        )
        # `enforce_ssl` adds a topic policy, which replaces the default policy that lets CloudWatch publish.
        self._let_publish("cloudwatch.amazonaws.com")
        tell_of_alarms(self, self.topic, settings)

    def watch_promises(self, *, has_deadlines: bool) -> None:
        """Add alarms on broken promises, on what keeps refreshes from being queued, and on deadlines at risk."""
        self._alarm(
            "ErrorBudgetBurning",
            self._emitted(Metric.BURN_RATE, "Maximum"),
            threshold=TOO_FAST,
            meaning="So much data is older than promised that 2 % of the error budget of 30 days is used up in an "
            "hour, or 5 % in six hours.",
            remedy="Run `./freshness report --since 24h` to see of which rules, `./freshness status` to list the data, "
            "and `./freshness explain COMPANY TYPE` to see why. If there "
            "are too few calls, raise `share_of_quota` or promise less in freshness.toml. If refreshes are paused, run "
            "`./freshness resume`. If Codat is down, wait.",
        )
        self._alarm(
            "DataTooOld",
            self._emitted(Metric.FEEDS_TO_WARN_OF, "Maximum", HOUR),
            # A failing feed is evaluated only when it is retried, which may take seven and a half hours.
            periods=8,
            any_period=True,
            meaning="A feed is older than its `warn_after` in freshness.toml.",
            remedy="Run `./freshness status` to list such feeds. If a machine is offline or a sync keeps failing, ask "
            "the customer, or ask Codat's support with the dataset id that `./freshness explain COMPANY TYPE` shows.",
        )
        self._alarm(
            "RefreshesNotQueued",
            self._emitted(Metric.QUEUEING_FAILED, "Sum"),
            threshold=MANY,
            periods=3,
            meaning=f"Codat refused or did not answer {MANY} or more refreshes every {self._minutes()} minutes, for "
            f"{self._minutes(3)} minutes.",
            remedy="Read the reason in the log of queue_refreshes. Status 403 means that the API key may not queue "
            "refreshes. Otherwise see Codat's status page.",
        )
        self._alarm(
            "QuotaNearlySpent",
            self._emitted(Metric.QUOTA_NEARLY_SPENT, "Sum"),
            meaning=f"Less than {LOW_QUOTA} % of today's calls to Codat are left.",
            remedy="See on the dashboard whether this stack makes the calls or another program does. Promise less in "
            "freshness.toml, or pause the least important companies with `./freshness pause COMPANY`.",
        )
        if has_deadlines:
            self._alarm(
                "DeadlinesAtRisk",
                self._emitted(Metric.DEADLINES_AT_RISK, "Sum"),
                meaning="Data will miss a deadline of freshness.toml within the next two hours.",
                remedy="Run `./freshness status` to list such data and when it is expected to be ready. If refreshes "
                "are paused, run `./freshness resume`. If there are too few calls, raise `share_of_quota`, "
                "`calls_per_minute` or the cap on spending in freshness.toml, or give the deadline a longer "
                "`fresh_within`.",
            )

    def watch_codat(self) -> None:
        """Add alarms on calls that Codat refuses, on what its lists lack, on lost connections, and on long ticks."""
        self._alarm(
            "AccessRefused",
            self._emitted(Metric.CODAT_REFUSED_ACCESS, "Sum"),
            meaning="Codat refuses the API key; or all calls, because the trial or plan has ended, or its number of "
            "companies is used up; or the key is not of the account that freshness.toml names. Nothing is refreshed.",
            remedy="Run `./freshness doctor`, which says which of them. Store a valid key in the secret "
            "`CodatApiKeySecret`, or ask the owner of the contract with Codat.",
        )
        self._alarm(
            "ListingDoubted",
            self._emitted(Metric.LISTING_DOUBTED, "Sum", HOUR),
            meaning=f"Codat's list of companies lacks more than {100 * SHARE:.0f} % of the companies or "
            "connections that are known, which is more likely to be a mistake. Nothing that it lacks is deleted.",
            remedy="Run `./freshness doctor`, which says how much is lacking. If you deleted it at Codat, run "
            "`./freshness doctor --confirm-deletions`. Otherwise check whose key the secret `CodatApiKeySecret` has, "
            "and ask Codat's support.",
        )
        self._alarm(
            "TicksOverrunning",
            self._emitted(Metric.TICKS_CUT_SHORT, "Sum"),
            periods=3,
            meaning=f"For {self._minutes(3)} minutes, ticks have run out of time before their work was done.",
            remedy="See on the dashboard which function takes long, and whether Codat responds slowly. If so, wait. "
            "Otherwise run the function more often, or promise less in freshness.toml.",
        )
        self._alarm(
            "ManyCompaniesBlocked",
            self._emitted(Metric.RELINKS_NEEDED, "Sum", HOUR),
            threshold=MANY,
            meaning=f"{MANY} or more connections were lost within an hour, which is more than chance.",
            remedy="Run `./freshness status` to see which platform they share, and ask Codat's support.",
        )

    def watch_runs(self, *ticks: Function) -> None:
        """Raise an alarm if all runs of a scheduled function fail, and one if runs of any function do."""
        for tick in ticks:
            # Lambda reports 0 of each run without an error: all runs failed if the average is 1, and none started if
            # there is no value.
            self._alarm(
                f"{tick.node.id}Failing",
                tick.function.metric_errors(statistic="Average", period=self._period),
                missing=TreatMissingData.BREACHING,
                meaning=f"Within {self._minutes()} minutes, no tick of the function has ended without an error.",
                remedy="Run `./freshness doctor` to see whether its schedule is enabled, and read the error in its "
                "log. If it began with a deployment, roll back. Why a tick could not be started is in its message in "
                "the dead-letter queue of the schedules, which may be deleted: a later tick does its work.",
            )
        self._alarm(
            "FunctionsFailing",
            failed_runs(self, self._period),
            threshold=FAILURES,
            meaning=f"Functions failed, or could not load the policy that was pushed, {FAILURES} or more times within "
            f"{self._minutes()} minutes.",
            remedy="See on the dashboard, or in Lambda's metric `Errors`, which function fails, and read the error in "
            "its log. If it began with a deployment, roll back. If a policy cannot be loaded, the last one that could "
            "be is in force: run `./freshness policy rollback`.",
        )

    def watch_memory(self, functions: Iterable[Function]) -> None:
        """Add an alarm on functions that use nearly all of their memory, which Lambda Insights reports."""
        used = {
            f"used{number}": cloudwatch.Metric(
                namespace="LambdaInsights",
                metric_name="memory_utilization",
                dimensions_map={"function_name": each.function.function_name},
                statistic="Maximum",
                period=self._period,
            )
            for number, each in enumerate(functions)
        }
        self._alarm(
            "MemoryNearlyUsed",
            cloudwatch.MathExpression(
                expression=f"MAX([{', '.join(used)}])", using_metrics=used, period=self._period, label="percent"
            ),
            threshold=MUCH_MEMORY,
            meaning=f"A function uses {MUCH_MEMORY} % of its memory or more. Lambda ends a run that needs more than "
            "all.",
            remedy="See under Lambda Insights in CloudWatch which function it is. If it began with a deployment, roll "
            "back. Otherwise give the function more memory in infra/construct.py.",
        )

    def watch_webhooks(self, dead_letters: Queue) -> None:
        """Add alarms on webhooks that do not arrive, have invalid signatures, or cannot be applied."""
        self._alarm(
            "WebhooksSilent",
            self._emitted(Metric.WEBHOOKS_SILENT, "Sum"),
            meaning="Refreshes end, but no webhooks arrive. The promises are kept at a higher cost.",
            remedy="Run `./freshness doctor` to see whether the webhook at Codat is missing, disabled, or signed with "
            "another secret.",
        )
        self._alarm(
            "SignaturesFailing",
            self._emitted(Metric.WEBHOOKS_REFUSED_NOT_SIGNED, "Sum"),
            threshold=5,
            meaning="Webhooks with invalid signatures arrive.",
            remedy="Compare the secret `WebhookSigningSecret` with the one in Codat's portal. If they are the same, "
            "someone is trying to forge webhooks: restrict who may send them.",
        )
        self._alarm(
            "WebhooksNotApplied",
            dead_letters.metric_approximate_number_of_messages_visible(statistic="Maximum", period=Duration.minutes(5)),
            meaning=f"A webhook could not be applied in {MAX_RECEIVE_COUNT} attempts, and waits in the dead-letter "
            "queue.",
            remedy="Read the error in the log of apply_webhook. Once the cause is fixed, run `./freshness redrive`.",
        )

    def watch_events(self, dead_letters: Queue) -> None:
        """Add an alarm on events that could not be sent to the user's endpoint."""
        self._alarm(
            "EventsNotSent",
            dead_letters.metric_approximate_number_of_messages_visible(statistic="Maximum", period=Duration.minutes(5)),
            meaning="An event could not be sent to `notify_url` within 24 hours, and waits in the dead-letter queue.",
            remedy="Check that the endpoint answers and accepts the secret of `notify_url`; after a new secret, "
            "deploy. Then run `./freshness redrive`.",
        )

    def watch_cost(self, monthly: int) -> None:
        """Tell the alarms' subscribers when a month is forecast to cost more than so many USD.

        Only resources with the stack's tag are counted. The tag must be activated as a cost allocation tag.
        """
        stack = Stack.of(self)
        self._let_publish("budgets.amazonaws.com")
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=monthly, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:stack${stack.stack_name}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        notification_type="FORECASTED", comparison_operator="GREATER_THAN", threshold=100
                    ),
                    subscribers=[
                        budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=self.topic.topic_arn)
                    ],
                )
            ],
        )

    def _let_publish(self, service: str) -> None:
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal(service)],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.topic.stack.account}},
            )
        )

    def _emitted(self, metric: Metric, statistic: str, period: Duration | None = None) -> cloudwatch.Metric:
        if metric not in WATCHED:
            raise ValueError(f"no function emits {metric}: add it to freshness.aws.metrics.WATCHED")
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=metric,
            dimensions_map={DIMENSION: Stack.of(self).stack_name},
            statistic=statistic,
            period=period or self._period,
        )

    def _minutes(self, periods: int = 1) -> str:
        return f"{periods * self._period.to_minutes():.0f}"

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        *,
        meaning: str,
        remedy: str,
        threshold: float = 1,
        periods: int = 1,
        any_period: bool = False,
        missing: TreatMissingData = TreatMissingData.NOT_BREACHING,
    ) -> None:
        if self._local and isinstance(metric, cloudwatch.MathExpression):
            return
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_description=f"{meaning} {remedy}",
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            datapoints_to_alarm=1 if any_period else periods,
            comparison_operator=ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(SnsAction(self.topic))
        alarm.add_ok_action(SnsAction(self.topic))
