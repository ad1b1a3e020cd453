"""A deployed stack: one in AWS, or the one that `make run` runs on this machine."""

import asyncio
import json
import os
import shlex
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import ClientError

from freshness.app.operations import Operations
from freshness.app.reading.links import read_links
from freshness.app.reading.queries import Queries
from freshness.app.reading.views import FeedView, LinkView
from freshness.app.services import CodatAccess, Services
from freshness.app.tick import LISTING
from freshness.aws.dynamodb.tables import Tables
from freshness.aws.event_bus import EventBus
from freshness.codat.client import Codat
from freshness.codat.http import connection_to
from freshness.domain.audit import Actor
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import Pause
from freshness.domain.feeds.feed_values import State
from freshness.policy.policy import Policy
from stack_access.deployed_policies import DeployedPolicies
from stack_access.errors import StackError
from stack_access.outputs import Outputs

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import StackTypeDef
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import FunctionConfigurationResponseTypeDef

_PARENT = Path(__file__).resolve().parent.parent
ROOT = _PARENT if (_PARENT / "app.py").exists() else Path()
"""The root folder of the repository, or the current one if this is installed from a wheel."""
LOCAL_FOLDER = Path(os.environ.get("LOCAL_FOLDER", ROOT / ".local"))
"""Each `make run` has a folder in here, named by the port of its local AWS, which says how to reach its stack."""


def clock() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def local_run(folder: Path, port: str | None = None) -> Path:
    """Return the folder of the local run on a port, or of the only local run.

    Raises:
        StackError: none is running, or there are several to choose from.
    """
    runs = {each.parent.name: each.parent for each in folder.glob("*/outputs.json")}
    if port in runs:
        return runs[port]
    if port or not runs:
        raise StackError(f'No local run{f" on port {port}" if port else ""} is running. Start one with "make run".')
    if len(runs) > 1:
        ports = " or ".join(f"LOCAL_AWS_PORT={each}" for each in sorted(runs))
        raise StackError(f"Several local runs are running: choose one with {ports} before the command.")
    return next(iter(runs.values()))


LONGEST_RUN = 900
"""Seconds that a Lambda function may run at most."""
LOCAL_STACK = "CodatFreshness"
"""The name of the stack that `make run` deploys."""
_OURS = {field.alias for field in Outputs.model_fields.values() if field.alias and field.is_required()}
"""The outputs by which a stack of Codat Freshness is recognised."""


def _outputs(stack: "StackTypeDef") -> dict[str, str]:
    return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}


@dataclass(frozen=True)
class DeployedStack:
    """A deployed stack. Its outputs, tables and policy are read when they are first used.

    `session` has the credentials and the region. `endpoint` is the URL of a local AWS, `None` for AWS. `given_name` is
    `None` for the only stack of Codat Freshness in the region. `local_outputs` is the file with the outputs, `None` if
    CloudFormation has them.
    """

    session: boto3.Session
    given_name: str | None
    policy_file: Path
    endpoint: str | None = None
    local_outputs: Path | None = None
    sandbox_url: str = ""
    """The address of the Codat sandbox of a local run, empty if there is none."""
    door: str = "the command line"
    """How the stack is used from this machine, as its audit says."""

    @classmethod
    def in_aws(cls, name: str | None, profile: str | None, region: str | None, policy_file: Path) -> Self:
        """Return a stack in the account and region of an AWS profile: the only one there, if no name is given."""
        return cls(boto3.Session(profile_name=profile, region_name=region), name, policy_file)

    @classmethod
    def of_local_run(cls, policy_file: Path, folder: Path | None = None) -> Self:
        """Return the stack of the local run that has written `folder`, or else of the only one that is running.

        Raises:
            StackError: no local run is running, or there are several to choose from.
        """
        folder = folder or local_run(LOCAL_FOLDER, os.environ.get("LOCAL_AWS_PORT"))
        environment, outputs = folder / "env", folder / "outputs.json"
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
        # The key of a real Codat is not written there.
        sandbox_url = variables["CODAT_BASE_URL"] if "CODAT_API_KEY" in variables else ""
        return cls(session, LOCAL_STACK, policy_file, variables["AWS_ENDPOINT_URL"], outputs, sandbox_url)

    @cached_property
    def caller(self) -> str:
        """Return the ARN of the identity whose credentials are in use."""
        arn: str = self.session.client("sts", endpoint_url=self.endpoint).get_caller_identity()["Arn"]
        return arn

    @cached_property
    def outputs(self) -> Outputs:
        """Return the stack's outputs.

        Raises:
            StackError: the stack does not exist, or there are several to choose from.
        """
        if self.local_outputs:
            return Outputs.model_validate_json(self.local_outputs.read_bytes())
        return Outputs.model_validate(_outputs(self._description))

    @cached_property
    def name(self) -> str:
        """Return the stack's name.

        Raises:
            StackError: as `outputs`.
        """
        return self.given_name or self._description["StackName"]

    @cached_property
    def _description(self) -> "StackTypeDef":
        """Return CloudFormation's description of the stack."""
        cloudformation = self.session.client("cloudformation", endpoint_url=self.endpoint)
        elsewhere = (
            f"in {self.session.region_name}: use --region and --profile for another region and account, or deploy it "
            'with "cdk deploy".'
        )
        if self.given_name:
            try:
                return cloudformation.describe_stacks(StackName=self.given_name)["Stacks"][0]
            except ClientError as error:
                if "does not exist" not in str(error):
                    raise
                raise StackError(f"No stack {self.given_name} {elsewhere}") from None
        pages = cloudformation.get_paginator("describe_stacks").paginate()
        ours = [stack for page in pages for stack in page["Stacks"] if _outputs(stack).keys() >= _OURS]
        if not ours:
            raise StackError(f"No stack of Codat Freshness {elsewhere}")
        if len(ours) > 1:
            names = ", ".join(sorted(stack["StackName"] for stack in ours))
            raise StackError(
                f"There are several stacks in {self.session.region_name}: choose one of {names} with --stack."
            )
        return ours[0]

    @cached_property
    def tables(self) -> Tables:
        """Return the stack's tables."""
        return Tables.open(self.session.client("dynamodb", endpoint_url=self.endpoint), self.outputs.tables)

    @cached_property
    def policies(self) -> DeployedPolicies:
        """Return the policy in force, and those before it."""
        return DeployedPolicies(self.tables.policies, self.policy_file)

    @property
    def policy(self) -> Policy:
        """Return the policy in force, with what was learned of the fleet.

        Raises:
            freshness.policy.errors.PolicyError: no tick has recorded a policy yet, and the file is not a valid one.
            StackError: the policy cannot be read.
        """
        return self.policies.in_force().with_learned(self.tables.learned.fleet())

    @cached_property
    def _bus(self) -> EventBus:
        return EventBus(self.session.client("events", endpoint_url=self.endpoint), self.outputs.event_bus_name)

    @property
    def services(self) -> Services:
        """Return what the use cases work with: the stack's tables and event bus, and the policy in force."""
        return Services(tables=self.tables, bus=self._bus, policy=self.policy, clock=clock)

    @property
    def codat_access(self) -> CodatAccess:
        """Return how to reach the Codat that the stack reads from, with the stack's own key."""
        base_url = self.environment(self.outputs.check_freshness_function)["CODAT_BASE_URL"]
        key = self.secret(self.outputs.codat_api_key_secret).strip()
        return CodatAccess(base_url=base_url, key=lambda _: key)

    @asynccontextmanager
    async def codat(self, *on_response: Callable[[httpx.Response], Awaitable[None]]) -> AsyncIterator[Codat]:
        """Yield a client for the Codat that the stack reads from, without the limits that the functions share.

        `on_response` is called with each response.
        """
        access = self.codat_access
        async with connection_to(access.base_url) as http:
            http.event_hooks = {"response": list(on_response)}
            yield Codat(http, access.key(False), clock=clock)

    def links(self, company: Company, feeds: Iterable[FeedView]) -> list[LinkView]:
        """Return the links of a company's connections that the customer must authorise again, as Codat has them now."""
        blocked = {feed.connection_id for feed in feeds if feed.state is State.BLOCKED}
        return asyncio.run(read_links(self.codat(), company, blocked))

    def link(self, company_id: str, connection_id: str) -> str:
        """Return the link of one of these connections; empty if there is none."""
        queries = self.queries
        company = queries.find_company(company_id)
        links = self.links(company, queries.company(company, clock()))
        return next((each.url for each in links if each.connection_id == connection_id), "")

    @property
    def queries(self) -> Queries:
        """Return the queries about the stack's companies and feeds."""
        return Queries(services=self.services)

    def pause(self, now: datetime) -> Pause | None:
        """Return the pause of all refreshes, or the pause that a new stack will start with; `None` without either."""
        if (pause := self.queries.pause(now)) or not (of_new := self.tables.control.pause_of_new(LISTING)):
            return pause
        starts_paused = self.environment(self.outputs.queue_refreshes_function).get("START_PAUSED") == "true"
        return of_new if starts_paused else None

    @property
    def operations(self) -> Operations:
        """Return the operations on the stack, carried out as the present caller."""
        return Operations(services=self.services, actor=self.actor)

    @property
    def actor(self) -> Actor:
        """Return who uses the stack from this machine: the identity of the credentials."""
        return Actor(who=self.caller, source=f"{self.door} on {socket.gethostname()}")

    def used_by(self, door: str) -> Self:
        """Return the same stack, used in another way."""
        return replace(self, door=door)

    @cached_property
    def functions(self) -> "LambdaClient":
        """Return a Lambda client that waits for the end of a function, and does not run it again if that takes long."""
        config = Config(read_timeout=LONGEST_RUN, retries={"total_max_attempts": 1})
        return self.session.client("lambda", endpoint_url=self.endpoint, config=config)

    def invoke(self, function: str, event: Mapping[str, Any] | None = None) -> Any:
        """Run a function, such as one that is scheduled, and wait until it ends. Return what it returns.

        Raises:
            StackError: it failed.
        """
        response = self.functions.invoke(FunctionName=function, Payload=json.dumps(event or {}).encode())
        payload = json.loads(response["Payload"].read())
        if "FunctionError" in response:
            raise StackError(f"{function} failed: {payload.get('errorMessage', payload)}. See its log in CloudWatch.")
        return payload

    def environment(self, function: str) -> dict[str, str]:
        """Return the environment variables of a function."""
        return self._configuration(function).get("Environment", {}).get("Variables", {})

    def log_group(self, function: str) -> str:
        """Return the name of a function's log group."""
        return self._configuration(function).get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{function}")

    def secret(self, name: str) -> str:
        """Return the value of a secret, empty if none is stored."""
        client = self.session.client("ssm", endpoint_url=self.endpoint)
        try:
            return client.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        except client.exceptions.ParameterNotFound:
            return ""

    def _configuration(self, function: str) -> "FunctionConfigurationResponseTypeDef":
        client = self.session.client("lambda", endpoint_url=self.endpoint)
        return client.get_function_configuration(FunctionName=function)
