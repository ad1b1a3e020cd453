"""Deploys the stack to the local AWS with the ordinary CDK command line, and supplies what ministack leaves out."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from pydantic import TypeAdapter

from cli.outputs import Outputs
from local import local_aws
from local.processes import Processes
from local.settings import ROOT

STACK = "CodatFreshness"
_CDK = str(ROOT / "node_modules" / ".bin" / "cdk")


def bootstrap(processes: Processes, scratch: Path) -> None:
    """Prepare the local AWS for the CDK.

    Raises:
        LocalRunError: the command failed.
    """
    # Where there is no `cdk.json`, the command does not synthesise the stack, which takes seconds and is not needed.
    _cdk(processes, scratch, scratch, "bootstrap", f"aws://{local_aws.ACCOUNT}/{local_aws.REGION}")


def deploy(processes: Processes, context: Mapping[str, str], scratch: Path) -> Outputs:
    """Deploy the stack with CDK context that differs from `cdk.json`.

    Raises:
        LocalRunError: the command failed.
    """
    outputs_file = scratch / "cdk-outputs.json"
    arguments = [STACK, "--require-approval", "never", "--progress", "events", "--no-staging"]
    arguments += ["--output", str(scratch / "cdk.out"), "--outputs-file", str(outputs_file)]
    for name, value in context.items():
        arguments += ["--context", f"{name}={value}"]
    _cdk(processes, scratch, ROOT, "deploy", *arguments)
    stacks = TypeAdapter(dict[str, Outputs]).validate_json(outputs_file.read_bytes())
    outputs = stacks[STACK]
    return outputs.model_copy(update={"webhook_url": _loopback_url(outputs.webhook_url)})


def _cdk(processes: Processes, scratch: Path, folder: Path, command: str, *arguments: str) -> None:
    environment = {
        **os.environ,
        "CDK_HOME": str(scratch / "cdk-home"),
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "true",
        # `cdk.json` names `python`: the one that runs this.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    processes.run(f"cdk {command}", [_CDK, command, *arguments, "--no-notices", "--no-color"], environment, folder)


def _loopback_url(url: str) -> str:
    """A URL of an HTTP API such that no name under `.localhost` has to be resolved: not every machine can."""
    parts = urlsplit(url)
    api_id = parts.netloc.partition(".")[0]
    return f"http://127.0.0.1:{parts.port}/_aws/execute-api/{api_id}/$default{parts.path}"


def enable_time_to_live(outputs: Outputs) -> None:
    """Have datasets and webhooks applied expire: ministack ignores the setting in the template."""
    dynamodb = boto3.client("dynamodb")
    for table in (outputs.datasets_table, outputs.control_table):
        dynamodb.update_time_to_live(
            TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
        )


def put_secrets(outputs: Outputs, api_key: str, signing_secret: str) -> None:
    """Give the stack the Codat API key and the secret with which Codat signs webhooks."""
    secrets_manager = boto3.client("secretsmanager")
    secrets_manager.put_secret_value(SecretId=outputs.codat_api_key_secret, SecretString=api_key)
    secrets_manager.put_secret_value(SecretId=outputs.webhook_signing_secret, SecretString=signing_secret)
