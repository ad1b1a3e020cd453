import pytest

from simulate.loop import TIMEOUT
from tests.infra.conftest import ALL
from tests.infra.template import Template, parameter, shown

TABLES = {
    "COMPANIES_TABLE": "TablesCompanies",
    "FEEDS_TABLE": "TablesFeeds",
    "DATASETS_TABLE": "TablesDatasets",
    "CONTROL_TABLE": "TablesControl",
    "EVENT_BUS": "EventBus",
}
OF_CODAT = {"CODAT_API_KEY_SECRET": "/CodatFreshness/codat-api-key", "CODAT_BASE_URL": "https://api.codat.io"}
VARIABLES = {
    "CheckFreshness": TABLES | OF_CODAT | {"START_PAUSED": "true"},
    "QueueRefreshes": TABLES | OF_CODAT | {"DRY_RUN": "false", "START_PAUSED": "true"},
    "ServeApi": TABLES | OF_CODAT | {"DRY_RUN": "false", "WAITING_CALLERS": "2"},
    "ShowPage": TABLES | OF_CODAT | {"ACT_ON_PAGE_FUNCTION": "ActOnPageFunction"},
    "ActOnPage": TABLES,
    "ReceiveWebhook": {
        "WEBHOOK_SIGNING_SECRET": "/CodatFreshness/webhook-signing-secret",
        "WEBHOOK_QUEUE_URL": "WebhookIntakeQueue",
    },
    "ApplyWebhook": TABLES
    | {"WEBHOOK_DEAD_LETTER_QUEUE_URL": "WebhookIntakeDeadLetterQueue", "MAX_RECEIVE_COUNT": "20"},
}
ALLOWED = {
    "CheckFreshness": {
        "EventBus": "events:PutEvents",
        parameter("codat-api-key"): "ssm:GetParameter",
        "TablesCompanies": "BatchGetItem GetItem PutItem",
        "TablesCompanies/index/due_for_check": "Query",
        "TablesControl": "BatchGetItem DeleteItem GetItem PutItem UpdateItem",
        "TablesDatasets": "PartiQLInsert PartiQLUpdate PutItem",
        "TablesFeeds": "BatchGetItem DeleteItem PutItem Query",
        "TablesFeeds/index/broken": "Query",
    },
    "QueueRefreshes": {
        "EventBus": "events:PutEvents",
        parameter("codat-api-key"): "ssm:GetParameter",
        "TablesCompanies": "BatchGetItem GetItem PutItem",
        "TablesControl": "BatchGetItem DeleteItem GetItem PutItem UpdateItem",
        "TablesControl/index/open": "Query",
        "TablesDatasets": "PartiQLInsert PartiQLUpdate PutItem",
        "TablesFeeds": "BatchGetItem DeleteItem PutItem Query",
        "TablesFeeds/index/due": "Query",
    },
    "ServeApi": {
        "EventBus": "events:PutEvents",
        parameter("codat-api-key"): "ssm:GetParameter",
        "TablesCompanies": "BatchGetItem GetItem PutItem",
        "TablesControl": "BatchGetItem DeleteItem GetItem PutItem UpdateItem",
        "TablesDatasets": "PartiQLInsert PartiQLUpdate PutItem",
        "TablesFeeds": "BatchGetItem DeleteItem PutItem Query",
    },
    "ShowPage": {
        parameter("codat-api-key"): "ssm:GetParameter",
        "TablesCompanies": "BatchGetItem DescribeTable GetItem",
        "TablesCompanies/index/due_for_check": "Query",
        "TablesCompanies/index/needs_relink": "Query",
        "TablesControl": "BatchGetItem GetItem PutItem",
        "TablesDatasets": "Query",
        "TablesFeeds": "DescribeTable Query",
        "TablesFeeds/index/broken": "Query",
    },
    "ActOnPage": {
        "EventBus": "events:PutEvents",
        "TablesCompanies": "BatchGetItem DescribeTable",
        "TablesCompanies/index/due_for_check": "Query",
        "TablesCompanies/index/needs_relink": "Query",
        "TablesControl": "BatchGetItem DeleteItem GetItem PutItem",
        "TablesFeeds": "BatchGetItem DescribeTable PutItem Query",
        "TablesFeeds/index/broken": "Query",
    },
    "ReceiveWebhook": {
        parameter("webhook-signing-secret"): "ssm:GetParameter",
        "WebhookIntakeQueue": "sqs:SendMessage",
    },
    "ApplyWebhook": {
        "EventBus": "events:PutEvents",
        "TablesCompanies": "BatchGetItem GetItem PutItem",
        "TablesControl": "BatchGetItem GetItem PutItem UpdateItem",
        "TablesControl/index/open_of_company": "Query",
        "TablesDatasets": "PartiQLUpdate PutItem",
        "TablesFeeds": "BatchGetItem DeleteItem PutItem Query",
        "WebhookIntakeDeadLetterQueue": "sqs:SendMessage",
        "WebhookIntakeQueue": "sqs:DeleteMessage sqs:GetQueueAttributes sqs:ReceiveMessage",
    },
}
"""The actions that each function's role allows, by resource. Those without a service are DynamoDB's."""
TIMEOUTS_AND_MEMORY = {
    "CheckFreshness": (TIMEOUT.seconds, 256),
    "QueueRefreshes": (TIMEOUT.seconds, 256),
    "ServeApi": (29, 512),
    "ShowPage": (30, 512),
    "ActOnPage": (30, 512),
    "ReceiveWebhook": (10, 256),
    "ApplyWebhook": (30, 256),
}
"""In seconds and megabytes."""


@pytest.mark.parametrize("name", ALLOWED)
def test_a_function_has_only_the_permissions_it_needs(template: Template, name: str) -> None:
    log = {("logs:CreateLogStream", f"{name}Logs"), ("logs:PutLogEvents", f"{name}Logs")}
    assert template.allowed(f"{name}Role") == log | {
        (action if ":" in action else f"dynamodb:{action}", resource)
        for resource, actions in ALLOWED[name].items()
        for action in actions.split()
    }


def test_of_every_role_a_test_lists_all_that_it_allows(template: Template) -> None:
    # Removing an action from a role, or adding one, fails the test of that role.
    assert template.properties("AWS::IAM::Role").keys() == {f"{name}Role" for name in ALLOWED} | {"SchedulesRole"}


def test_each_function_has_its_own_role_and_only_the_variables_it_needs(template: Template) -> None:
    assert template.functions.keys() == ALLOWED.keys()
    for name, function in template.functions.items():
        assert shown(function["Role"]) == f"{name}Role"
        # No managed policies.
        assert template.properties("AWS::IAM::Role")[f"{name}Role"].keys() == {"AssumeRolePolicyDocument", "Tags"}
        assert template.variables(name) == VARIABLES[name] | {"STACK_NAME": "CodatFreshness"}


def test_the_functions_run_the_same_bundle_on_arm64_and_python_3_14_with_these_timeouts(template: Template) -> None:
    functions = template.functions
    assert {name: (each["Timeout"], each["MemorySize"]) for name, each in functions.items()} == TIMEOUTS_AND_MEMORY
    assert len({shown(each["Code"]["S3Key"]) for each in functions.values()}) == 1
    for function in functions.values():
        assert (function["Architectures"], function["Runtime"]) == (["arm64"], "python3.14")
        # A new account could not deploy it.
        assert "ReservedConcurrentExecutions" not in function


def test_each_function_has_a_log_group_for_30_days_without_a_record_of_each_start_and_end(template: Template) -> None:
    for name, function in template.functions.items():
        logging = function["LoggingConfig"]
        assert shown(logging["LogGroup"]) == f"{name}Logs"
        assert (logging["LogFormat"], logging["SystemLogLevel"]) == ("JSON", "WARN")
        assert logging["ApplicationLogLevel"] == "INFO"
        assert template.properties("AWS::Logs::LogGroup")[f"{name}Logs"]["RetentionInDays"] == 30


def test_a_dry_run_is_set_on_the_function_that_queues(local_template: Template) -> None:
    assert local_template.variables("QueueRefreshes")["DRY_RUN"] == "true"


def test_requests_may_end_tasks_of_the_state_machines_that_are_named_and_of_no_other(full: Template) -> None:
    ends = {"states:SendTaskSuccess", "states:SendTaskFailure"}
    for name in ALLOWED:
        expected = ends if name in ("ServeApi", "ApplyWebhook", "QueueRefreshes") else set[str]()
        found = {each for each in full.allowed(f"{name}Role") if each[0] in ends}
        assert found == {(action, ALL["task_tokens_of"]) for action in expected}
