"""What a deployment would remove from the deployed stack, such as what a forgotten setting had added."""

import json
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

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
        session = boto3.Session(region_name=region)
        # The CDK may deploy with other credentials than those of the environment.
        if session.client("sts").get_caller_identity()["Account"] != account:
            return None
        body = session.client("cloudformation").get_template(StackName=name)["TemplateBody"]
    except (ClientError, BotoCoreError):
        return None
    return json.loads(body) if isinstance(body, str) else body


def _variables(resource: Mapping[str, Any]) -> set[str]:
    return set(resource.get("Properties", {}).get("Environment", {}).get("Variables", {}))
