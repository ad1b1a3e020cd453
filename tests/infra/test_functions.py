from typing import Any

import pytest

from simulate.loop import TIMEOUT
from tests.infra.conftest import ALL
from tests.infra.template import Template, parameter, shown

TICK_VARIABLES = {
    "COMPANIES_TABLE": "TablesCompanies",
    "FEEDS_TABLE": "TablesFeeds",
    "DATASETS_TABLE": "TablesDatasets",
    "CONTROL_TABLE": "TablesControl",
    "CODAT_API_KEY_SECRET": "/CodatFreshness/codat-api-key",
    "CODAT_BASE_URL": "https://api.codat.io",
    "EVENT_BUS": "EventBus",
}
VARIABLES = {
    "CheckFreshness": TICK_VARIABLES | {"START_PAUSED": "true"},
    "QueueRefreshes": TICK_VARIABLES | {"DRY_RUN": "false", "START_PAUSED": "true"},
    "ServeApi": TICK_VARIABLES | {"DRY_RUN": "false", "WAITING_CALLERS": "2"},
    "ShowPage": TICK_VARIABLES | {"ACT_ON_PAGE_FUNCTION": "ActOnPageFunction"},
    "ActOnPage": {
        "COMPANIES_TABLE": "TablesCompanies",
        "FEEDS_TABLE": "TablesFeeds",
        "DATASETS_TABLE": "TablesDatasets",
        "CONTROL_TABLE": "TablesControl",
        "EVENT_BUS": "EventBus",
    },
    "ReceiveWebhook": {
        "WEBHOOK_SIGNING_SECRET": "/CodatFreshness/webhook-signing-secret",
        "WEBHOOK_QUEUE_URL": "WebhookIntakeQueue",
    },
    "ApplyWebhook": {
        "COMPANIES_TABLE": "TablesCompanies",
        "FEEDS_TABLE": "TablesFeeds",
        "DATASETS_TABLE": "TablesDatasets",
        "CONTROL_TABLE": "TablesControl",
        "EVENT_BUS": "EventBus",
        "WEBHOOK_DEAD_LETTER_QUEUE_URL": "WebhookIntakeDeadLetterQueue",
        "MAX_RECEIVE_COUNT": "20",
    },
}
ALLOWED = {
    "CheckFreshness": {
        ("dynamodb:GetItem", "TablesCompanies"),
        ("dynamodb:BatchGetItem", "TablesCompanies"),
        ("dynamodb:PutItem", "TablesCompanies"),
        ("dynamodb:Query", "TablesCompanies/index/due_for_check"),
        ("dynamodb:Query", "TablesFeeds/index/broken"),
        ("dynamodb:BatchGetItem", "TablesFeeds"),
        ("dynamodb:Query", "TablesFeeds"),
        ("dynamodb:PutItem", "TablesFeeds"),
        ("dynamodb:DeleteItem", "TablesFeeds"),
        ("dynamodb:PutItem", "TablesDatasets"),
        ("dynamodb:PartiQLInsert", "TablesDatasets"),
        ("dynamodb:PartiQLUpdate", "TablesDatasets"),
        ("dynamodb:GetItem", "TablesControl"),
        ("dynamodb:BatchGetItem", "TablesControl"),
        ("dynamodb:PutItem", "TablesControl"),
        ("dynamodb:UpdateItem", "TablesControl"),
        ("dynamodb:DeleteItem", "TablesControl"),
        ("ssm:GetParameter", parameter("codat-api-key")),
        ("events:PutEvents", "EventBus"),
    },
    "QueueRefreshes": {
        ("dynamodb:GetItem", "TablesCompanies"),
        ("dynamodb:BatchGetItem", "TablesCompanies"),
        ("dynamodb:PutItem", "TablesCompanies"),
        ("dynamodb:BatchGetItem", "TablesFeeds"),
        ("dynamodb:Query", "TablesFeeds"),
        ("dynamodb:PutItem", "TablesFeeds"),
        ("dynamodb:DeleteItem", "TablesFeeds"),
        ("dynamodb:Query", "TablesFeeds"),
        ("dynamodb:Query", "TablesFeeds/index/due"),
        ("dynamodb:PutItem", "TablesDatasets"),
        ("dynamodb:PartiQLInsert", "TablesDatasets"),
        ("dynamodb:PartiQLUpdate", "TablesDatasets"),
        ("dynamodb:GetItem", "TablesControl"),
        ("dynamodb:BatchGetItem", "TablesControl"),
        ("dynamodb:Query", "TablesControl/index/open"),
        ("dynamodb:PutItem", "TablesControl"),
        ("dynamodb:UpdateItem", "TablesControl"),
        ("dynamodb:DeleteItem", "TablesControl"),
        ("ssm:GetParameter", parameter("codat-api-key")),
        ("events:PutEvents", "EventBus"),
    },
    "ServeApi": {
        ("dynamodb:GetItem", "TablesCompanies"),
        ("dynamodb:BatchGetItem", "TablesCompanies"),
        ("dynamodb:PutItem", "TablesCompanies"),
        ("dynamodb:BatchGetItem", "TablesFeeds"),
        ("dynamodb:Query", "TablesFeeds"),
        ("dynamodb:PutItem", "TablesFeeds"),
        ("dynamodb:DeleteItem", "TablesFeeds"),
        ("dynamodb:PutItem", "TablesDatasets"),
        ("dynamodb:PartiQLInsert", "TablesDatasets"),
        ("dynamodb:PartiQLUpdate", "TablesDatasets"),
        ("dynamodb:GetItem", "TablesControl"),
        ("dynamodb:BatchGetItem", "TablesControl"),
        ("dynamodb:PutItem", "TablesControl"),
        ("dynamodb:UpdateItem", "TablesControl"),
        ("dynamodb:DeleteItem", "TablesControl"),
        ("ssm:GetParameter", parameter("codat-api-key")),
        ("events:PutEvents", "EventBus"),
    },
    "ShowPage": {
        ("dynamodb:GetItem", "TablesCompanies"),
        ("dynamodb:BatchGetItem", "TablesCompanies"),
        ("dynamodb:Query", "TablesCompanies/index/due_for_check"),
        ("dynamodb:Query", "TablesCompanies/index/needs_relink"),
        ("dynamodb:DescribeTable", "TablesCompanies"),
        ("dynamodb:DescribeTable", "TablesFeeds"),
        ("dynamodb:Query", "TablesFeeds"),
        ("dynamodb:Query", "TablesFeeds/index/broken"),
        ("dynamodb:Query", "TablesDatasets"),
        ("dynamodb:GetItem", "TablesControl"),
        ("dynamodb:BatchGetItem", "TablesControl"),
        ("dynamodb:PutItem", "TablesControl"),
        ("ssm:GetParameter", parameter("codat-api-key")),
    },
    "ActOnPage": {
        ("dynamodb:BatchGetItem", "TablesCompanies"),
        ("dynamodb:Query", "TablesCompanies/index/due_for_check"),
        ("dynamodb:Query", "TablesCompanies/index/needs_relink"),
        ("dynamodb:DescribeTable", "TablesCompanies"),
        ("dynamodb:DescribeTable", "TablesFeeds"),
        ("dynamodb:BatchGetItem", "TablesFeeds"),
        ("dynamodb:Query", "TablesFeeds"),
        ("dynamodb:PutItem", "TablesFeeds"),
        ("dynamodb:Query", "TablesFeeds/index/broken"),
        ("dynamodb:GetItem", "TablesControl"),
        ("dynamodb:BatchGetItem", "TablesControl"),
        ("dynamodb:PutItem", "TablesControl"),
        ("dynamodb:DeleteItem", "TablesControl"),
        ("events:PutEvents", "EventBus"),
    },
    "ReceiveWebhook": {
        ("ssm:GetParameter", parameter("webhook-signing-secret")),
        ("sqs:SendMessage", "WebhookIntakeQueue"),
    },
    "ApplyWebhook": {
        ("dynamodb:GetItem", "TablesCompanies"),
        ("dynamodb:BatchGetItem", "TablesCompanies"),
        ("dynamodb:PutItem", "TablesCompanies"),
        ("dynamodb:BatchGetItem", "TablesFeeds"),
        ("dynamodb:Query", "TablesFeeds"),
        ("dynamodb:PutItem", "TablesFeeds"),
        ("dynamodb:DeleteItem", "TablesFeeds"),
        ("dynamodb:PutItem", "TablesDatasets"),
        ("dynamodb:PartiQLUpdate", "TablesDatasets"),
        ("dynamodb:GetItem", "TablesControl"),
        ("dynamodb:BatchGetItem", "TablesControl"),
        ("dynamodb:Query", "TablesControl/index/open_of_company"),
        ("dynamodb:PutItem", "TablesControl"),
        ("dynamodb:UpdateItem", "TablesControl"),
        ("events:PutEvents", "EventBus"),
        ("sqs:SendMessage", "WebhookIntakeDeadLetterQueue"),
        ("sqs:ReceiveMessage", "WebhookIntakeQueue"),
        ("sqs:DeleteMessage", "WebhookIntakeQueue"),
        ("sqs:GetQueueAttributes", "WebhookIntakeQueue"),
    },
}


def function(template: Template, name: str) -> dict[str, Any]:
    return template.properties("AWS::Lambda::Function")[f"{name}Function"]


def test_there_are_seven_functions(template: Template) -> None:
    assert set(template.resources("AWS::Lambda::Function")) == {f"{name}Function" for name in ALLOWED}


@pytest.mark.parametrize("name", ALLOWED)
def test_a_function_has_only_the_permissions_it_needs(template: Template, name: str) -> None:
    log = {("logs:CreateLogStream", f"{name}Logs"), ("logs:PutLogEvents", f"{name}Logs")}
    assert template.allowed(f"{name}Role") == ALLOWED[name] | log


def test_of_every_role_a_test_lists_all_that_it_allows(template: Template) -> None:
    # Removing an action from a role, or adding one, fails the test of that role.
    assert set(template.resources("AWS::IAM::Role")) == {f"{name}Role" for name in ALLOWED} | {"SchedulesRole"}


@pytest.mark.parametrize("name", ALLOWED)
def test_a_function_has_its_own_role_without_managed_policies(template: Template, name: str) -> None:
    assert shown(function(template, name)["Role"]) == f"{name}Role"
    role = template.properties("AWS::IAM::Role")[f"{name}Role"]
    assert role.keys() == {"AssumeRolePolicyDocument", "Tags"}


@pytest.mark.parametrize("name", ALLOWED)
def test_a_function_has_only_the_environment_variables_it_needs(template: Template, name: str) -> None:
    variables = function(template, name)["Environment"]["Variables"]
    ours = {key: shown(value) for key, value in variables.items()}
    assert ours == VARIABLES[name] | {"STACK_NAME": "CodatFreshness"}


@pytest.mark.parametrize(
    ("name", "seconds", "memory"),
    [
        ("CheckFreshness", TIMEOUT.seconds, 256),
        ("QueueRefreshes", TIMEOUT.seconds, 256),
        ("ServeApi", 29, 512),
        ("ShowPage", 30, 512),
        ("ActOnPage", 30, 512),
        ("ReceiveWebhook", 10, 256),
        ("ApplyWebhook", 30, 256),
    ],
)
def test_a_function_has_this_timeout_and_memory(template: Template, name: str, seconds: int, memory: int) -> None:
    assert function(template, name)["Timeout"] == seconds
    assert function(template, name)["MemorySize"] == memory


@pytest.mark.parametrize("name", ALLOWED)
def test_a_function_runs_on_arm64_and_python_3_14(template: Template, name: str) -> None:
    assert function(template, name)["Architectures"] == ["arm64"]
    assert function(template, name)["Runtime"] == "python3.14"


@pytest.mark.parametrize("name", ALLOWED)
def test_a_function_reserves_no_concurrency_so_that_a_new_account_can_deploy_it(template: Template, name: str) -> None:
    assert "ReservedConcurrentExecutions" not in function(template, name)


def test_all_functions_share_one_bundle(template: Template) -> None:
    keys = {shown(each["Code"]["S3Key"]) for each in template.properties("AWS::Lambda::Function").values()}
    assert len(keys) == 1


@pytest.mark.parametrize("name", ALLOWED)
def test_a_function_has_a_log_group_that_is_kept_for_30_days(template: Template, name: str) -> None:
    assert shown(function(template, name)["LoggingConfig"]["LogGroup"]) == f"{name}Logs"
    assert template.properties("AWS::Logs::LogGroup")[f"{name}Logs"]["RetentionInDays"] == 30


def test_a_dry_run_is_set_on_the_function_that_queues(local_template: Template) -> None:
    assert function(local_template, "QueueRefreshes")["Environment"]["Variables"]["DRY_RUN"] == "true"


@pytest.mark.parametrize("name", ALLOWED)
def test_lambda_logs_no_record_of_each_start_and_end(template: Template, name: str) -> None:
    logging = function(template, name)["LoggingConfig"]
    assert (logging["LogFormat"], logging["SystemLogLevel"]) == ("JSON", "WARN")
    assert logging["ApplicationLogLevel"] == "INFO"


def test_requests_may_end_tasks_of_the_state_machines_that_are_named_and_of_no_other(full: Template) -> None:
    arn = ALL["task_tokens_of"]
    for name in ALLOWED:
        ends = {"states:SendTaskSuccess", "states:SendTaskFailure"}
        expected = (
            {(action, arn) for action in ends} if name in ("ServeApi", "ApplyWebhook", "QueueRefreshes") else set()
        )
        assert {each for each in full.allowed(f"{name}Role") if each[0] in ends} == expected
