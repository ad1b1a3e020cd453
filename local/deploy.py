"""Deploying the stack to the local AWS with the CDK command line, and setting up what ministack leaves out."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from pydantic import TypeAdapter

from local import local_aws
from local.processes import Processes
from local.settings import ROOT
from stack_access.outputs import Outputs
from stack_access.stack import LOCAL_STACK

_CDK = str(ROOT / "node_modules" / ".bin" / "cdk")
_PROGRAMS = Path(sys.executable).parent
"""The folder of the Python that runs this program. `cdk.json` runs `python`, which must be the same."""


def create_asset_bucket() -> None:
    """Create the bucket that the CDK stores bundles in. `cdk bootstrap` would also make roles, which take seconds."""
    boto3.client("s3").create_bucket(Bucket=f"cdk-hnb659fds-assets-{local_aws.ACCOUNT}-{local_aws.REGION}")


def deploy(
    processes: Processes, context: Mapping[str, str], scratch: Path, app: Path = ROOT, programs: Path = _PROGRAMS
) -> Outputs:
    """Deploy the stack with the settings of `context` in place of those in `deployment.toml`, and return its outputs.

    `app` is the folder of the CDK app, and `programs` that of the Python which runs it.

    Raises:
        LocalRunError: the command failed.
    """
    outputs_file = scratch / "cdk-outputs.json"
    name = context.get("name", LOCAL_STACK)
    # Without a change set, which takes longer.
    arguments = [name, "--method", "direct", "--require-approval", "never", "--progress", "events", "--no-staging"]
    arguments += ["--output", str(scratch / "cdk.out"), "--outputs-file", str(outputs_file)]
    for setting, value in context.items():
        arguments += ["--context", f"{setting}={value}"]
    environment = {
        **os.environ,
        "CDK_HOME": str(scratch / "cdk-home"),
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        # The checks of the template take half of the time of a synthesis, and are made before a deployment to AWS.
        "CDK_VALIDATION": "false",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "true",
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    processes.run("cdk deploy", [_CDK, "deploy", *arguments, "--no-notices", "--no-color"], environment, app)
    stacks = TypeAdapter(dict[str, Outputs]).validate_json(outputs_file.read_bytes())
    outputs = stacks[name]
    urls = {"webhook_url": _loopback_url(outputs.webhook_url), "api_url": _loopback_url(outputs.api_url)}
    return outputs.model_copy(update=urls)


def _loopback_url(url: str) -> str:
    """Return the URL of an HTTP API with an IP address: not every machine resolves names below `.localhost`."""
    parts = urlsplit(url)
    api_id = parts.netloc.partition(".")[0]
    return f"http://127.0.0.1:{parts.port}/_aws/execute-api/{api_id}/$default{parts.path}"


def enable_time_to_live(outputs: Outputs) -> None:
    """Make the records of datasets and requests expire: ministack ignores this setting of the template."""
    for table in (outputs.datasets_table, outputs.control_table):
        boto3.client("dynamodb").update_time_to_live(
            TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
        )


def put_secrets(outputs: Outputs, api_key: str, signing_secret: str) -> None:
    """Store the key for Codat's API and the signing secret of Codat's webhooks as the stack's secrets."""
    systems_manager = boto3.client("ssm")
    for name, value in ((outputs.codat_api_key_secret, api_key), (outputs.webhook_signing_secret, signing_secret)):
        systems_manager.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
