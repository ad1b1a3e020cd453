"""The stack that a command is about: one in AWS, or the one that `make run` runs on this machine."""

import os
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import boto3
import typer
from botocore.exceptions import ClientError

from cli.errors import CommandError
from cli.outputs import Outputs
from freshness.aws.store import Store, Tables
from freshness.policy.loader import load
from freshness.policy.policy import Policy

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_lambda.type_defs import FunctionConfigurationResponseTypeDef

ROOT = Path(__file__).resolve().parent.parent
LOCAL = Path(os.environ.get("LOCAL_FOLDER", ROOT / ".local"))
"""Where `make run` writes how to reach the stack that it runs."""


@dataclass(frozen=True)
class Target:
    """A deployed stack, looked up when it is first needed. `session` carries the credentials."""

    session: boto3.Session
    stack: str
    policy_file: Path
    endpoint: str | None = None
    """Where the local AWS is; `None` for AWS."""
    local_outputs: Path | None = None

    @classmethod
    def in_aws(cls, stack: str, profile: str | None, region: str | None, policy_file: Path) -> Self:
        """A stack in the account and region of a profile."""
        return cls(boto3.Session(profile_name=profile, region_name=region), stack, policy_file)

    @classmethod
    def of_local_run(cls, stack: str, policy_file: Path, folder: Path = LOCAL) -> Self:
        """The stack that `make run` runs now.

        Raises:
            CommandError: it does not run.
        """
        environment, outputs = folder / "env", folder / "outputs.json"
        if not (environment.exists() and outputs.exists()):
            raise CommandError(f'No local run is going on ({outputs} is missing). Start one with "make run".')
        variables = dict(
            word.split("=", 1)
            for line in environment.read_text(encoding="utf-8").splitlines()
            for word in shlex.split(line)[1:]
        )
        session = boto3.Session(
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            region_name=variables["AWS_REGION"],
        )
        return cls(session, stack, policy_file, variables["AWS_ENDPOINT_URL"], outputs)

    @cached_property
    def outputs(self) -> Outputs:
        """The stack's outputs.

        Raises:
            CommandError: there is no such stack.
        """
        if self.local_outputs:
            return Outputs.model_validate_json(self.local_outputs.read_bytes())
        try:
            [stack] = self.cloudformation.describe_stacks(StackName=self.stack)["Stacks"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            raise CommandError(
                f"No stack {self.stack} in {self.session.region_name}: name it with --stack, its place with --region "
                'and --profile, or deploy it with "cdk deploy".'
            ) from None
        told = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        return Outputs.model_validate(told)

    @cached_property
    def cloudformation(self) -> "CloudFormationClient":
        """A client for CloudFormation."""
        return self.session.client("cloudformation", endpoint_url=self.endpoint)

    @cached_property
    def store(self) -> Store:
        """The stack's tables."""
        tables = Tables(
            companies=self.outputs.companies_table,
            feeds=self.outputs.feeds_table,
            datasets=self.outputs.datasets_table,
            control=self.outputs.control_table,
        )
        return Store(self.session.client("dynamodb", endpoint_url=self.endpoint), tables)

    def environment(self, function: str) -> dict[str, str]:
        """The environment variables of a function."""
        return self._configuration(function).get("Environment", {}).get("Variables", {})

    def log_group(self, function: str) -> str:
        """The log group that a function writes to."""
        return self._configuration(function).get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{function}")

    def _configuration(self, function: str) -> "FunctionConfigurationResponseTypeDef":
        client = self.session.client("lambda", endpoint_url=self.endpoint)
        return client.get_function_configuration(FunctionName=function)

    def secret(self, name: str) -> str:
        """A secret's value."""
        client = self.session.client("secretsmanager", endpoint_url=self.endpoint)
        return client.get_secret_value(SecretId=name)["SecretString"]

    @cached_property
    def policy(self) -> Policy:
        """The policy, knowing what has been learned of the fleet.

        Raises:
            freshness.policy.PolicyError: it cannot be used.
        """
        policy = load(self.policy_file)
        return policy.knowing(self.store.fleet_rates()) if policy.learns else policy


def target(context: typer.Context) -> Target:
    """The stack that the options before the command name."""
    found: Target = context.obj
    return found
