import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.template import Template, shown

# If a logical id changes, CloudFormation replaces the resource: the table is empty, the webhook has another URL.
LOGICAL_IDS = {
    "TablesCompanies45C60337",
    "TablesFeedsCC965DAB",
    "TablesDatasetsBFB8A6D3",
    "TablesControlDF2E6BDD",
    "EventBus7B8748AA",
    "SchedulesDeadLetterQueue84E31400",
    "WebhookIntakeDeadLetterQueueF7FDA6A6",
    "WebhookIntakeQueue78544074",
    "WebhookIntakeApiBE240261",
}
STATEFUL = {"AWS::ApiGatewayV2::Api", "AWS::DynamoDB::Table", "AWS::Events::EventBus", "AWS::SQS::Queue"}


def test_stateful_resources_keep_their_logical_ids(template: Template) -> None:
    resources = template.body["Resources"].items()
    assert {logical_id for logical_id, resource in resources if resource["Type"] in STATEFUL} == LOGICAL_IDS


def test_the_stack_has_these_outputs(template: Template) -> None:
    outputs = {name: shown(output["Value"]) for name, output in template.body["Outputs"].items()}
    assert outputs == {
        "ApiUrl": "WebhookIntakeApi",
        "WebhookUrl": "WebhookIntakeApi/webhooks",
        "WebhookQueueUrl": "WebhookIntakeQueue",
        "WebhookDeadLetterQueueUrl": "WebhookIntakeDeadLetterQueue",
        "CompaniesTable": "TablesCompanies",
        "FeedsTable": "TablesFeeds",
        "DatasetsTable": "TablesDatasets",
        "ControlTable": "TablesControl",
        "EventBusName": "EventBus",
        "CodatApiKeySecret": "/CodatFreshness/codat-api-key",
        "WebhookSigningSecret": "/CodatFreshness/webhook-signing-secret",
        "CheckFreshnessFunction": "CheckFreshnessFunction",
        "QueueRefreshesFunction": "QueueRefreshesFunction",
        "ReceiveWebhookFunction": "ReceiveWebhookFunction",
        "ApplyWebhookFunction": "ApplyWebhookFunction",
        "ServeApiFunction": "ServeApiFunction",
        "ShowPageFunction": "ShowPageFunction",
        "ActOnPageFunction": "ActOnPageFunction",
        "WhatIsNext": "A new stack is paused: ./freshness plan shows what it would queue, "
        "./freshness resume starts it.",
    }


def test_secrets_are_only_named_by_the_template(template: Template) -> None:
    # CloudFormation can create neither an encrypted parameter nor, free of charge, another secret.
    assert template.resources("AWS::SSM::Parameter") == template.resources("AWS::SecretsManager::Secret") == {}


def test_cdk_nag_finds_nothing(template: Template, full: Template) -> None:
    for each in (template, full):
        report = json.loads((each.output / "validation-report.json").read_text())
        # The construct's own warnings are annotations.
        assert [found for found in report["pluginReports"] if found["pluginName"] != "Construct Annotations"] == []


def test_cdk_nag_fails_the_synthesis_of_an_unsafe_queue(tmp_path: Path) -> None:
    from aws_cdk import App, Stack, Validations
    from aws_cdk.aws_sqs import Queue
    from cdk_nag import AwsSolutionsChecks

    app = App(outdir=str(tmp_path))
    Queue(Stack(app, "Unsafe"), "Queue")
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()


def test_cfn_lint_finds_nothing(full: Template) -> None:
    # W3005: CDK adds dependencies that a reference already implies.
    cfn_lint = Path(sys.executable).with_name("cfn-lint")
    command: list[str | Path] = [cfn_lint, full.output / "CodatFreshness.template.json", "--ignore-checks", "W3005"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr, found.returncode) == ("", "", 0)


def test_the_bus_keeps_its_name(template: Template) -> None:
    # Consumers have rules on it, by its name.
    assert template.properties("AWS::Events::EventBus")["EventBus"]["Name"] == "CodatFreshnessEventBus4B7190D5"


@pytest.mark.parametrize("kind", ["AWS::DynamoDB::Table", "AWS::Lambda::Function", "AWS::SQS::Queue"])
def test_resources_have_the_tags_of_the_project_and_the_stack(template: Template, kind: str) -> None:
    for resource in template.properties(kind).values():
        tags = {tag["Key"]: tag["Value"] for tag in resource["Tags"]}
        assert tags == {"project": "codat-freshness", "stack": "CodatFreshness"}


def test_a_budget_notifies_the_topic_of_the_alarms(template: Template, bare: Template) -> None:
    assert bare.properties("AWS::Budgets::Budget") == {}
    [budget] = template.properties("AWS::Budgets::Budget").values()
    assert budget["Budget"]["BudgetLimit"] == {"Amount": 50, "Unit": "USD"}
    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": ["user:stack$CodatFreshness"]}
    [notification] = budget["NotificationsWithSubscribers"]
    assert [shown(each["Address"]) for each in notification["Subscribers"]] == ["AlarmsTopic"]


def test_the_synthesis_warns_of_a_platform_that_codat_does_not_have(bare: Template) -> None:
    manifests = "".join(path.read_text() for path in bare.output.glob("*.json"))
    assert "'Xerro' is no platform of Codat's that is known here" in manifests
