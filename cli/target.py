"""The stack that a command is about: one in AWS, or the one that `make run` runs on this machine."""

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
from freshness.policy import Policy, load
from freshness.store import Store, Tables

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
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
            freshness=self.outputs.freshness_table,
            datasets=self.outputs.datasets_table,
            control=self.outputs.control_table,
        )
        return Store(self.session.client("dynamodb", endpoint_url=self.endpoint), tables)

    @cached_property
    def policy(self) -> Policy:
        """The policy in this folder, which may be newer than the deployed one.

        Raises:
            freshness.policy.PolicyError: it cannot be used.
        """
        return load(self.policy_file)


def target(context: typer.Context) -> Target:
    """The stack that the options before the command name."""
    found: Target = context.obj
    return found
