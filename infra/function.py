"""A Lambda function with its own log group and role, and with no permissions but those added."""

from pathlib import Path

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from freshness.app.policy_in_force import NOT_LOADED
from freshness.aws.metrics import NAMESPACE
from infra.settings import Settings

OF_INSIGHTS = (
    "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/CloudWatchLambdaInsightsExecutionRolePolicy]"
)
INSIGHTS = lambda_.LambdaInsightsVersion.VERSION_1_0_498_0
OF_TABLES = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
"""What DynamoDB does with a table's KMS key on behalf of whoever reads and writes the table."""


class Function(Construct):
    """A handler of the bundle. It may write its log; every other permission is added explicitly."""

    def __init__(
        self, scope: Construct, name: str, bundle: Path, settings: Settings, *, timeout: Duration, memory_size: int
    ) -> None:
        """Create the function whose handler is in the module `name`, with `memory_size` MB of memory."""
        super().__init__(scope, name.title().replace("_", ""))
        self.name = name
        self.timeout = timeout
        self._kms_key = settings.kms_key
        log_group = logs.LogGroup(
            self,
            "Logs",
            encryption_key=encryption_key(self, settings),
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        from_this_account = {"StringEquals": {"aws:SourceAccount": Stack.of(self).account}}
        self._role = iam.Role(
            self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com", conditions=from_this_account)
        )
        self.allow(log_group.log_group_arn, "logs:CreateLogStream", "logs:PutLogEvents")
        self.log_group = log_group
        self.function = lambda_.Function(
            self,
            "Function",
            # The hash in its name identifies it: files differ if another machine builds the same bundle.
            code=lambda_.Code.from_asset(str(bundle), asset_hash=bundle.stem),
            handler=f"{name}.handler",
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            memory_size=memory_size,
            timeout=timeout,
            role=self._role,
            log_group=log_group,
            # WARN leaves out the records of each start and end, which would be most of the log, but not errors.
            logging_format=lambda_.LoggingFormat.JSON,
            system_log_level_v2=lambda_.SystemLogLevel.WARN,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            environment={"STACK_NAME": Stack.of(self).stack_name},
            # The local AWS has no layers of others.
            insights_version=INSIGHTS if settings.lambda_insights and not settings.local else None,
        )
        Validations.of(self._role).acknowledge(
            Acknowledgment(id=OF_INSIGHTS, reason="Lambda Insights has a policy of AWS for its own log group")
        )
        failures = failed_runs(self, Duration.minutes(1))
        logs.MetricFilter(
            self,
            "FailedRuns",
            log_group=log_group,
            filter_pattern=logs.FilterPattern.any(
                # Lambda's own record of a run. The level above leaves it out unless the run failed.
                logs.FilterPattern.all(
                    logs.FilterPattern.string_value("$.type", "=", "platform.report"),
                    logs.FilterPattern.string_value("$.record.status", "!=", "success"),
                ),
                logs.FilterPattern.string_value("$.message", "=", NOT_LOADED),
            ),
            metric_namespace=failures.namespace,
            metric_name=failures.metric_name,
        )

    def allow(self, resource_arn: str, *actions: str) -> None:
        self._role.add_to_policy(iam.PolicyStatement(resources=[resource_arn], actions=list(actions)))

    def set(self, variable: str, value: str) -> None:
        self.function.add_environment(variable, value)

    def use_table(self, variable: str, table: dynamodb.Table, *actions: str) -> None:
        """Set `variable` to the table's name, and allow DynamoDB `actions` on the table."""
        self.set(variable, table.table_name)
        self.allow(table.table_arn, *(f"dynamodb:{action}" for action in actions))
        self._use_key("dynamodb", *OF_TABLES)

    def use_index(self, table: dynamodb.Table, index: str) -> None:
        self.allow(f"{table.table_arn}/index/{index}", "dynamodb:Query")

    def use_secret(self, variable: str, name: str) -> None:
        """Set `variable` to the name of a secret, and allow reading the secret.

        A secret that is encrypted with the account's default key for parameters needs no permission on that key.
        """
        self.set(variable, name)
        arn = Stack.of(self).format_arn(service="ssm", resource="parameter", resource_name=name.removeprefix("/"))
        self.allow(arn, "ssm:GetParameter")
        self._use_key("ssm", "kms:Decrypt")

    def use_bus(self, variable: str, bus: events.EventBus) -> None:
        """Set `variable` to the bus's name, and allow publishing to the bus."""
        self.set(variable, bus.event_bus_name)
        self.allow(bus.event_bus_arn, "events:PutEvents")

    def _use_key(self, service: str, *actions: str) -> None:
        """Let an AWS service use the KMS key of the settings, if they name one, on behalf of the function."""
        if not self._kms_key:
            return
        stack = Stack.of(self)
        via = {"StringEquals": {"kms:ViaService": f"{service}.{stack.region}.{stack.url_suffix}"}}
        self._role.add_to_policy(iam.PolicyStatement(resources=[self._kms_key], actions=list(actions), conditions=via))


def encryption_key(scope: Construct, settings: Settings) -> kms.IKey | None:
    """Return the KMS key of the settings, if they name one."""
    return kms.Key.from_key_arn(scope, "Key", settings.kms_key) if settings.kms_key else None


def failed_runs(scope: Construct, period: Duration) -> cloudwatch.Metric:
    """Return the number of failed runs of all functions in the stack of `scope`.

    It is one metric, counted in the functions' logs, because Lambda's own is one for each function. Such a metric can
    have no dimension, so its namespace has the name of the stack. It is emitted, and charged, only after a failure.
    """
    return cloudwatch.Metric(
        namespace=f"{NAMESPACE}/{Stack.of(scope).stack_name}",
        metric_name="FailedRuns",
        statistic="Sum",
        period=period,
    )
