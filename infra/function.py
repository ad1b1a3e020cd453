"""One way to make a Lambda function: with a role and a log of its own, and leave to do nothing else."""

from pathlib import Path

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct


class Function(Construct):
    """One handler of the bundle. It may write its log; what else it may do is allowed action by action."""

    def __init__(self, scope: Construct, name: str, bundle: Path, *, timeout: Duration, memory_size: int) -> None:
        """Make the function whose handler is in `name`.py, with `memory_size` MB of memory."""
        super().__init__(scope, name.title().replace("_", ""))
        self.name = name
        self.timeout = timeout
        log_group = logs.LogGroup(
            self, "Logs", retention=logs.RetentionDays.ONE_MONTH, removal_policy=RemovalPolicy.DESTROY
        )
        self._role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.allow(log_group.log_group_arn, "logs:CreateLogStream", "logs:PutLogEvents")
        self.function = lambda_.Function(
            self,
            "Function",
            code=lambda_.Code.from_asset(str(bundle)),
            handler=f"{name}.handler",
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            memory_size=memory_size,
            timeout=timeout,
            role=self._role,
            log_group=log_group,
        )

    def allow(self, resource_arn: str, *actions: str) -> None:
        """Allow exactly `actions` on exactly one resource."""
        self._role.add_to_policy(iam.PolicyStatement(resources=[resource_arn], actions=list(actions)))

    def set(self, variable: str, value: str) -> None:
        """Set an environment variable."""
        self.function.add_environment(variable, value)

    def use_table(self, variable: str, table: dynamodb.Table, *actions: str) -> None:
        """Tell the function a table's name, and allow `actions` on its items."""
        self.set(variable, table.table_name)
        self.allow(table.table_arn, *(f"dynamodb:{action}" for action in actions))

    def use_index(self, table: dynamodb.Table, index: str) -> None:
        """Allow querying an index of a table."""
        self.allow(f"{table.table_arn}/index/{index}", "dynamodb:Query")

    def use_secret(self, variable: str, secret: secretsmanager.Secret) -> None:
        """Tell the function where a secret is, and allow reading it."""
        self.set(variable, secret.secret_arn)
        self.allow(secret.secret_arn, "secretsmanager:GetSecretValue")

    def use_bus(self, variable: str, bus: events.EventBus) -> None:
        """Tell the function a bus's name, and allow publishing on it."""
        self.set(variable, bus.event_bus_name)
        self.allow(bus.event_bus_arn, "events:PutEvents")
