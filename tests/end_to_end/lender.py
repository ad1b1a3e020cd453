"""The example of a lender, deployed from a folder of its own with nothing of ours but the wheel.

The local AWS has no integration of Step Functions with API Gateway, so here a queue takes the place of the API in the
state that waits with a token, and the test makes the call that it receives, as the role of the state machine. That the
example deploys the real integration is tested in `tests/packaging/test_example.py`.
"""

import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
from botocore.config import Config

from freshness.api_client.steps import SigV4
from local import deploy
from local.codat import Codat
from local.stack import RunningStack
from local.watch import running_ticks
from stack_access.stack import DeployedStack
from tests.end_to_end.conftest import answered, wait_for
from tests.packaging.test_example import copied_example

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

NAME = "Lender"
QUEUE = "calls-of-the-lender"
LONGEST = Config(read_timeout=900, retries={"total_max_attempts": 1})


@dataclass(frozen=True, slots=True)
class Lender:
    """The deployed example. `function` decides."""

    deployed: DeployedStack
    function: str

    def decide(self, company_id: str) -> dict[str, Any]:
        """Return what its function decides about a company, after it waited for fresh data."""
        client = boto3.client("lambda", config=LONGEST)
        response = client.invoke(FunctionName=self.function, Payload=json.dumps({"companyId": company_id}).encode())
        decided: dict[str, Any] = json.loads(response["Payload"].read())
        assert "FunctionError" not in response, decided
        return decided

    def apply(self, company_id: str) -> dict[str, Any]:
        """Return what its state machine decides about a company, after a task that waited with a token."""
        client, sqs = boto3.client("stepfunctions"), boto3.client("sqs")
        [arn] = [each["stateMachineArn"] for each in client.list_state_machines()["stateMachines"]]
        machine = client.describe_state_machine(stateMachineArn=arn)
        queue = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
        client.update_state_machine(stateMachineArn=arn, definition=_by_queue(machine["definition"], queue))
        execution = client.start_execution(stateMachineArn=arn, input=json.dumps({"companyId": company_id}))
        receive = partial(sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=5)
        [message] = wait_for(lambda: receive().get("Messages"))
        self._call(json.loads(message["Body"]), machine["roleArn"])

        def ended() -> "DescribeExecutionOutputTypeDef | None":
            described = client.describe_execution(executionArn=execution["executionArn"])
            return None if described["status"] == "RUNNING" else described

        with running_ticks(self.deployed):
            last = wait_for(ended)
        assert last["status"] == "SUCCEEDED", last
        decided: dict[str, Any] = json.loads(last["output"])
        return decided

    def _call(self, call: dict[str, Any], role_arn: str) -> None:
        """Call the API as the state machine would, with the role that its own trust policy keeps from others."""
        trust = {"Effect": "Allow", "Principal": {"AWS": self.deployed.caller}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        name = role_arn.rpartition("/")[2]
        boto3.client("iam").update_assume_role_policy(RoleName=name, PolicyDocument=document)
        role = boto3.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="Apply")["Credentials"]
        session = boto3.Session(role["AccessKeyId"], role["SecretAccessKey"], role["SessionToken"])
        api_url = self.deployed.outputs.api_url
        auth = SigV4(api_url, session)
        url, body = f"{api_url}{call['Path']}", call["RequestBody"]
        answer = answered(lambda: httpx.post(url, json=body, auth=auth, timeout=60))
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text


def _by_queue(definition: str, queue: str) -> str:
    """Return the definition of the state machine with a queue in place of the API."""
    changed: dict[str, Any] = json.loads(definition)
    ensure = changed["States"]["EnsureFresh"]
    assert ensure["Resource"] == "arn:aws:states:::apigateway:invoke.waitForTaskToken"
    ensure["Resource"] = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"
    call = {name: value for name, value in ensure["Parameters"].items() if name in ("Path.$", "RequestBody")}
    ensure["Parameters"] = {"QueueUrl": queue, "MessageBody": call}
    return json.dumps(changed)


def deploy_lender(stack: RunningStack, codat: Codat, environment: Path, folder: Path) -> Lender:
    """Deploy the example beside the stack of a local run, for a Codat of its own."""
    example = copied_example(folder)
    [package] = environment.glob("lib/python*/site-packages/codat_freshness")
    shutil.copytree(package, example / "decide" / package.name)
    context = {"name": NAME, "local": "true", "codat_base_url": codat.base_url}
    outputs = deploy.deploy(stack.processes, context, folder, example, environment / "bin")
    deploy.put_secrets(outputs, codat.api_key, codat.signing_secret)
    codat.register_webhook(outputs.webhook_url)
    function = str((outputs.model_extra or {})["DecideFunction"])
    # Not every machine resolves the names below `.localhost` that the local AWS gives APIs.
    client = boto3.client("lambda")
    variables = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    client.update_function_configuration(
        FunctionName=function, Environment={"Variables": variables | {"API_URL": outputs.api_url}}
    )
    (folder / "outputs.json").write_text(outputs.model_dump_json(by_alias=True))
    session, endpoint = stack.deployed.session, stack.deployed.endpoint
    deployed = DeployedStack(session, NAME, example / "freshness.toml", endpoint, folder / "outputs.json")
    return Lender(deployed, function)
