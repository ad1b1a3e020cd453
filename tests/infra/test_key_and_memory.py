"""A key of one's own, and Lambda Insights: what the settings add to the stack, and only they."""

import pytest

from tests.infra.conftest import ALL
from tests.infra.template import Template, shown
from tests.infra.test_alarms import alarms

KEY = ALL["kms_key"]
OF_TABLES = {"Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo"}
FUNCTIONS = {
    "CheckFreshness": {"dynamodb": OF_TABLES, "ssm": {"Decrypt"}},
    "QueueRefreshes": {"dynamodb": OF_TABLES, "ssm": {"Decrypt"}},
    "ServeApi": {"dynamodb": OF_TABLES, "ssm": {"Decrypt"}},
    "ReceiveWebhook": {"ssm": {"Decrypt"}},
    "ApplyWebhook": {"dynamodb": OF_TABLES},
    "ShowPage": {"dynamodb": OF_TABLES, "ssm": {"Decrypt"}},
    "ActOnPage": {"dynamodb": OF_TABLES},
}


def test_tables_are_encrypted_with_the_key(full: Template) -> None:
    tables = full.properties("AWS::DynamoDB::Table").values()
    expected = {"KMSMasterKeyId": KEY, "SSEEnabled": True, "SSEType": "KMS"}
    assert [table["SSESpecification"] for table in tables] == [expected] * 4
    assert full.body["Outputs"]["KmsKey"]["Value"] == KEY


def test_logs_are_encrypted_with_the_key(full: Template) -> None:
    groups = full.properties("AWS::Logs::LogGroup")
    assert groups.keys() == {*(f"{name}Logs" for name in FUNCTIONS), "WebhookIntakeRequests"}
    assert {group["KmsKeyId"] for group in groups.values()} == {KEY}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_use_the_key_through_the_services_that_it_needs_it_for(full: Template, name: str) -> None:
    [policy] = [
        each for each in full.properties("AWS::IAM::Policy").values() if shown(each["Roles"][0]) == f"{name}Role"
    ]
    of_key = [each for each in policy["PolicyDocument"]["Statement"] if each["Resource"] == KEY]
    allowed = {
        shown(each["Condition"]["StringEquals"]["kms:ViaService"]).split(".")[0]: each["Action"] for each in of_key
    }
    listed = {service: {actions} if isinstance(actions, str) else set(actions) for service, actions in allowed.items()}
    assert listed == {service: {f"kms:{each}" for each in actions} for service, actions in FUNCTIONS[name].items()}


def test_lambda_insights_reports_the_memory_of_all_functions_and_one_alarm_watches_it(full: Template) -> None:
    functions = full.functions
    assert functions.keys() == FUNCTIONS.keys()
    assert [len(each["Layers"]) for each in functions.values()] == [1] * len(functions)
    alarm = alarms(full)["MemoryNearlyUsed"]
    watched = [each["MetricStat"]["Metric"] for each in alarm["Metrics"] if "MetricStat" in each]
    assert {(each["Namespace"], each["MetricName"]) for each in watched} == {("LambdaInsights", "memory_utilization")}
    assert {shown(each["Dimensions"][0]["Value"]) for each in watched} == {f"{name}Function" for name in functions}


def test_a_stack_without_the_settings_has_neither(template: Template) -> None:
    assert "kms:" not in str(template.body)
    assert "KmsKey" not in template.body["Outputs"]
    assert "KmsKeyId" not in str(template.body)
    assert "Insights" not in str([each for each in template.body["Resources"].values() if "Lambda" in each["Type"]])
    assert "Mappings" not in template.body
