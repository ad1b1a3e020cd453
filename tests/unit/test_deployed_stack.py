"""Which stack the command line finds in an account and region."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from stack_access.errors import StackError
from stack_access.outputs import Outputs
from stack_access.stack import DeployedStack


def described(name: str, bus: str) -> dict[str, Any]:
    """Return CloudFormation's description of a stack of Codat Freshness."""
    outputs = {field.alias: "x" for field in Outputs.model_fields.values()} | {"EventBusName": bus}
    return {
        "StackName": name,
        "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
    }


def stack_in(*stacks: dict[str, Any], name: str | None = None) -> DeployedStack:
    """Return the stack of a name, or the only one, in an account with these stacks."""
    cloudformation = Mock()

    def describe(StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        found = [stack for stack in stacks if stack["StackName"] == StackName]
        if not found:
            raise ClientError({"Error": {"Message": f"Stack {StackName} does not exist"}}, "DescribeStacks")
        return {"Stacks": found}

    cloudformation.describe_stacks.side_effect = describe
    cloudformation.get_paginator.return_value.paginate.return_value = [{"Stacks": [stack]} for stack in stacks]
    session = Mock(region_name="eu-west-2")
    session.client.return_value = cloudformation
    return DeployedStack(session, name, Path("freshness.toml"))


OTHER = {"StackName": "other", "Outputs": [{"OutputKey": "EventBusName", "OutputValue": "other"}]}


def test_the_only_stack_is_found_by_its_outputs() -> None:
    stack = stack_in(OTHER, described("staging", "bus-of-staging"))
    assert (stack.name, stack.outputs.event_bus_name) == ("staging", "bus-of-staging")


def test_a_stack_is_chosen_by_its_name() -> None:
    stack = stack_in(described("staging", "a"), described("CodatFreshness", "b"), name="CodatFreshness")
    assert (stack.name, stack.outputs.event_bus_name) == ("CodatFreshness", "b")


def test_of_several_stacks_one_must_be_chosen() -> None:
    stack = stack_in(described("staging", "a"), described("CodatFreshness", "b"))
    with pytest.raises(StackError, match="choose one of CodatFreshness, staging with --stack"):
        _ = stack.outputs


def test_the_error_says_where_to_look_if_there_is_no_stack() -> None:
    with pytest.raises(StackError, match="No stack of Codat Freshness in eu-west-2: use --region"):
        _ = stack_in(OTHER).outputs
    with pytest.raises(StackError, match="No stack staging in eu-west-2: use --region"):
        _ = stack_in(OTHER, name="staging").outputs
