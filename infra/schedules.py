"""The EventBridge schedules that start the ticks."""

from zoneinfo import ZoneInfo

from aws_cdk import Acknowledgment, ArnFormat, Duration, Stack, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from infra.function import Function
from infra.queue import Queue


class Schedules(Construct):
    """EventBridge schedules in one time zone, with a dead-letter queue for ticks that could not be started.

    A tick that fails is not retried: the next one starts within minutes, and reads everything to do from the tables.
    """

    def __init__(self, scope: Construct, time_zone: ZoneInfo, *, local: bool) -> None:
        super().__init__(scope, "Schedules")
        self._time_zone = time_zone
        self.dead_letter_queue = Queue(self, "DeadLetterQueue", local=local)
        Validations.of(self.dead_letter_queue).acknowledge(
            Acknowledgment(id="AwsSolutions-SQS3", reason="It is a dead-letter queue of schedules, not of a queue")
        )
        stack = Stack.of(self)
        group = stack.format_arn(
            service="scheduler",
            resource="schedule-group",
            resource_name="default",
            arn_format=ArnFormat.SLASH_RESOURCE_NAME,
        )
        from_this_group = {"StringEquals": {"aws:SourceAccount": stack.account, "aws:SourceArn": group}}
        self._role = iam.Role(
            self, "Role", assumed_by=iam.ServicePrincipal("scheduler.amazonaws.com", conditions=from_this_group)
        )
        self._role.add_to_policy(
            iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[self.dead_letter_queue.queue_arn])
        )

    def run(self, tick: Function, expression: str) -> None:
        """Run a function at the times of a `cron(...)` expression."""
        arn = tick.function.function_arn
        self._role.add_to_policy(iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[arn]))
        # Scheduler invokes asynchronously. By default Lambda would retry a failed tick twice, for up to six hours.
        tick.function.configure_async_invoke(retry_attempts=0, max_event_age=Duration.minutes(5))
        schedule = scheduler.CfnSchedule(
            self,
            tick.node.id,
            schedule_expression=expression,
            schedule_expression_timezone=str(self._time_zone),
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=arn,
                role_arn=self._role.role_arn,
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=self.dead_letter_queue.queue_arn),
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_retry_attempts=1, maximum_event_age_in_seconds=300
                ),
            ),
        )
        # EventBridge Scheduler rejects a target that its role may not invoke yet.
        schedule.node.add_dependency(self._role)
