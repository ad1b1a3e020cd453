"""The policies that `./freshness policies` prints."""

import json
from dataclasses import replace

import pytest

from stack_access.outputs import Outputs
from stack_access.policies import Resources, Role

QUEUES = "https://sqs.eu-west-2.amazonaws.com/123456789012/staging-Queue"
OUTPUTS = {
    **{field.alias or "": f"staging-{name}" for name, field in Outputs.model_fields.items()},
    "ApiUrl": "https://a1b2c3.execute-api.eu-west-2.amazonaws.com",
    "WebhookQueueUrl": f"{QUEUES}-1",
    "WebhookDeadLetterQueueUrl": f"{QUEUES}-2",
    "CodatApiKeySecret": "/staging/codat-api-key",
    "WebhookSigningSecret": "/staging/webhook-signing-secret",
    "KmsKey": "arn:aws:kms:eu-west-2:123456789012:key/0f1e",
}
RESOURCES = Resources(
    outputs=Outputs.model_validate(OUTPUTS), partition="aws", region="eu-west-2", log_groups=["staging-Logs"]
)
ONLY_EVERYWHERE = {
    "cloudformation:DescribeStacks",
    "lambda:GetAccountSettings",
    "lambda:ListEventSourceMappings",
    "scheduler:ListSchedules",
}
"""What IAM allows on every resource only, or what finds the stack."""


@pytest.mark.parametrize("role", Role)
def test_a_policy_names_nothing_that_a_stack_with_a_longer_name_may_have(role: Role) -> None:
    for statement in RESOURCES.policy(role)["Statement"]:
        for resource in statement["Resource"]:
            if resource == "*":
                assert set(statement["Action"]) == ONLY_EVERYWHERE
            else:
                assert resource.startswith("arn:aws:")
                assert ":eu-west-2:123456789012:" in resource
                assert "*" not in resource.replace("/index/*", "").removesuffix(":*").replace("/*", "")
                assert "staging-*" not in resource


def test_who_may_see_the_page_may_not_use_its_buttons() -> None:
    assert "staging-show_page_function" in json.dumps(RESOURCES.policy(Role.PAGE))
    assert "staging-act_on_page_function" not in json.dumps(RESOURCES.policy(Role.PAGE))
    assert "staging-act_on_page_function" in json.dumps(RESOURCES.policy(Role.BUTTONS))


def test_a_reader_changes_nothing_and_reads_no_secret() -> None:
    actions = {action for each in RESOURCES.policy(Role.READER)["Statement"] for action in each["Action"]}
    assert not [each for each in actions if each.split(":")[1].startswith(("Put", "Delete", "Invoke", "Send"))]
    assert "ssm:GetParameter" not in actions


@pytest.mark.parametrize("role", Role)
def test_who_reads_tables_or_secrets_may_decrypt_with_the_key_of_a_stack_that_has_one(role: Role) -> None:
    actions = {action for each in RESOURCES.policy(role)["Statement"] for action in each["Action"]}
    assert ("kms:Decrypt" in actions) == (role in (Role.READER, Role.SECRETS))
    without = replace(RESOURCES, outputs=Outputs.model_validate(OUTPUTS | {"KmsKey": ""}))
    assert "kms:" not in json.dumps(without.policy(role))
