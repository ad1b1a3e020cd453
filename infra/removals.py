"""What a deployment would remove from the deployed stack: what a forgotten setting had added, or a pushed policy."""

import json
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from freshness.aws.dynamodb.control_items.policy_versions import PolicyVersions
from freshness.aws.dynamodb.table import Table
from freshness.policy.policy import Policy

Template = Mapping[str, Any]


def removals(deployed: Template, new: Template) -> list[str]:
    """Return the resources and the functions' variables that only the deployed template has, sorted."""
    old_resources, new_resources = deployed.get("Resources", {}), new.get("Resources", {})
    gone = [
        f"{resource['Type']} {logical_id}"
        for logical_id, resource in old_resources.items()
        if logical_id not in new_resources
    ]
    for logical_id in old_resources.keys() & new_resources.keys():
        variables = _variables(old_resources[logical_id]) - _variables(new_resources[logical_id])
        gone += [f"variable {name} of {logical_id}" for name in variables]
    return sorted(gone)


def deployed_template(name: str, account: str, region: str) -> Template | None:
    """Return the template of a deployed stack, or `None` if there is none, or it cannot be read."""
    try:
        if session := _session(account, region):
            body = session.client("cloudformation").get_template(StackName=name)["TemplateBody"]
            return json.loads(body) if isinstance(body, str) else body
    except (ClientError, BotoCoreError):
        pass
    return None


def deployed_policies(name: str, account: str, region: str) -> PolicyVersions | None:
    """Return the policies of a deployed stack, or `None` if there is none, or it cannot be read."""
    try:
        if session := _session(account, region):
            [stack] = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
            [table] = [each["OutputValue"] for each in stack["Outputs"] if each["OutputKey"] == "ControlTable"]
            return PolicyVersions(Table(session.client("dynamodb"), table))
    except (ClientError, BotoCoreError, KeyError, ValueError):
        pass
    return None


def replaced_policy(versions: PolicyVersions | None, policy: Policy) -> str:
    """Describe the pushed policy that a deployment of `policy` would replace; empty if none, or if it is unreadable."""
    try:
        latest = versions.in_force() if versions else None
    except (ClientError, BotoCoreError):
        return ""
    if latest is None or latest.is_deployed or policy.fingerprint in (latest.deployed, latest.fingerprint):
        return ""
    return f"version {latest.version}, which {latest.by} put in force at {latest.at:%Y-%m-%d %H:%M} UTC ({latest.how})"


def _session(account: str, region: str) -> boto3.Session | None:
    """Return a session with the environment's credentials; `None` if they are not of the account to deploy to."""
    session = boto3.Session(region_name=region)
    return session if session.client("sts").get_caller_identity()["Account"] == account else None


def _variables(resource: Mapping[str, Any]) -> set[str]:
    return set(resource.get("Properties", {}).get("Environment", {}).get("Variables", {}))
