"""What is to wake a person, and what they should do first."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk.aws_cloudwatch import ComparisonOperator, TreatMissingData
from aws_cdk.aws_cloudwatch_actions import SnsAction
from constructs import Construct

from freshness.aws.metrics import Metric
from infra.function import Function
from infra.metrics import emitted
from infra.queue import Queue

HOUR = Duration.hours(1)
MANY = 10
"""Connections lost within an hour, or refreshes refused within a period, that are more than chance."""
LITTLE = 10
"""Percent of the daily quota that is little."""


class Alarms(Construct):
    """Alarms to one topic. Each says what is wrong and what to do first; `docs/operating.md` says more."""

    def __init__(self, scope: Construct, *, tick_at_least_every: Duration, email: str) -> None:
        """`tick_at_least_every` is the longest time between two ticks of a schedule; `email` may be empty."""
        super().__init__(scope, "Alarms")
        self._period = tick_at_least_every
        self.topic = sns.Topic(self, "Topic", display_name="Codat Freshness", enforce_ssl=True)
        # A policy of one's own, as TLS needs one, takes the place of the default, by which CloudWatch may publish.
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.topic.stack.account}},
            )
        )
        if email:
            self.topic.add_subscription(subscriptions.EmailSubscription(email))

    def watch_promises(self, queue_refreshes: Function) -> None:
        """Whether the promises are kept, and can be."""
        self._alarm(
            "PromisesBroken",
            emitted(Metric.FEEDS_UNATTENDED, queue_refreshes, "Minimum", self._period),
            periods=3,
            description="Data is older than promised and nothing is being done about it. "
            'Run "./freshness status" to see which, and "./freshness doctor" to see what hinders the refreshes.',
        )
        self._alarm(
            "DataTooOld",
            emitted(Metric.FEEDS_TO_WARN_OF, queue_refreshes, "Maximum", HOUR),
            # A feed that keeps failing is looked at when it is tried again, which may be after seven hours and a half.
            periods=8,
            once_is_enough=True,
            description="Data is older than a warn_after of freshness.toml. "
            'Run "./freshness status" to see which, and "./freshness explain COMPANY TYPE" to see why.',
        )
        self._alarm(
            "RefreshesNotTaken",
            emitted(Metric.QUEUEING_FAILED, queue_refreshes, "Sum", self._period),
            threshold=MANY,
            periods=3,
            description="Codat goes on refusing refreshes, or does not answer. Read why in the log of queue_refreshes: "
            "403 means that the API key may not queue; else see Codat's status page.",
        )
        self._alarm(
            "QuotaNearlySpent",
            emitted(Metric.QUOTA_LEFT, queue_refreshes, "Minimum", self._period),
            threshold=LITTLE,
            comparison=ComparisonOperator.LESS_THAN_THRESHOLD,
            description=f"Less than {LITTLE} % of the calls that Codat allows today are left. See on the dashboard who "
            'spends them; promise less in freshness.toml, or hold back with "./freshness pause COMPANY".',
        )

    def watch_tick(self, tick: Function) -> None:
        """Whether a scheduled function runs, ends well and in time, and Codat lets it."""
        self._alarm(
            f"No{tick.node.id}",
            emitted(Metric.TICKS, tick, "Sum", self._period),
            comparison=ComparisonOperator.LESS_THAN_THRESHOLD,
            missing=TreatMissingData.BREACHING,
            description=f"{tick.name} has not ended well for {self._period.to_minutes()} minutes. Run "
            '"./freshness doctor" to see whether its schedule is on, and look for an error in its log.',
        )
        self._alarm(
            f"{tick.node.id}Failing",
            tick.function.metric_errors(statistic="Sum", period=self._period),
            threshold=2,
            description=f"{tick.name} fails again and again. Read the error in its log; if it came with a deployment, "
            "deploy the version before.",
        )
        self._alarm(
            f"{tick.node.id}Overrunning",
            emitted(Metric.TICKS_CUT_SHORT, tick, "Sum", self._period),
            periods=3,
            description=f"{tick.name} does not get done with its work in the time that it has. See on the dashboard "
            "whether Codat answers slowly; else have it run more often, or promise less in freshness.toml.",
        )
        self._alarm(
            f"{tick.node.id}KeyRefused",
            emitted(Metric.CODAT_REFUSED_KEY, tick, "Sum", self._period),
            description="Codat refuses the API key, so that nothing is refreshed. See in Codat's portal whether it "
            "still holds, and put the right one into the secret CodatApiKeySecret.",
        )
        self._alarm(
            f"{tick.node.id}AccountRefused",
            emitted(Metric.CODAT_REFUSED_ACCOUNT, tick, "Sum", self._period),
            description="Codat refuses calls because a trial, a plan or the number of companies is used up. Ask who "
            "holds the contract with Codat.",
        )

    def watch_webhooks(self, check_freshness: Function, receive_webhook: Function, apply_webhook: Function) -> None:
        """Whether webhooks come, are Codat's, and are applied."""
        self._alarm(
            "WebhooksSilent",
            emitted(Metric.WEBHOOKS_SILENT, check_freshness, "Sum", self._period),
            description="Refreshes end and no webhook tells of it: the promises hold, at a higher cost. Run "
            '"./freshness doctor" to see whether Codat has disabled the webhook, or lost it.',
        )
        self._alarm(
            "SignaturesFailing",
            emitted(Metric.WEBHOOKS_REFUSED_NOT_SIGNED, receive_webhook, "Sum", self._period),
            threshold=5,
            description="Webhooks come whose signature is wrong. Compare the secret WebhookSigningSecret with the one "
            "in Codat's portal; if they are the same, someone is trying to forge webhooks.",
        )
        for function in (receive_webhook, apply_webhook):
            self._alarm(
                f"{function.node.id}Failing",
                function.function.metric_errors(statistic="Sum", period=self._period),
                threshold=2,
                description=f"{function.name} fails again and again. Read the error in its log; if it came with a "
                "deployment, deploy the version before.",
            )

    def watch_dead_letters(self, ticks: Queue, webhooks: Queue) -> None:
        """Whether anything has come to rest in a dead-letter queue."""
        self._alarm(
            "TicksNotStarted",
            _waiting(ticks),
            description="EventBridge Scheduler could not start a tick. The message in the dead-letter queue of the "
            "schedules says why; delete it once that is mended, since a later tick has done its work.",
        )
        self._alarm(
            "WebhooksNotApplied",
            _waiting(webhooks),
            description="A webhook could not be applied in five tries. Read the error in the log of apply_webhook; "
            'once it is mended, "./freshness redrive" has what waits applied.',
        )

    def watch_connections(self, told_by: Function) -> None:
        """Whether many companies need a relink at once, as a function learns of it."""
        self._alarm(
            f"ManyCompaniesBlocked{told_by.node.id}",
            emitted(Metric.RELINKS_NEEDED, told_by, "Sum", HOUR),
            threshold=MANY,
            description=f"{MANY} or more connections were lost within an hour, which is more than customers change "
            'their minds. See with "./freshness status" which platform they share, and ask Codat\'s support.',
        )

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        *,
        description: str,
        threshold: float = 1,
        periods: int = 1,
        once_is_enough: bool = False,
        comparison: ComparisonOperator = ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        missing: TreatMissingData = TreatMissingData.NOT_BREACHING,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_description=description,
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            datapoints_to_alarm=1 if once_is_enough else periods,
            comparison_operator=comparison,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(SnsAction(self.topic))
        alarm.add_ok_action(SnsAction(self.topic))


def _waiting(queue: Queue) -> cloudwatch.Metric:
    return queue.metric_approximate_number_of_messages_visible(statistic="Maximum", period=Duration.minutes(5))
