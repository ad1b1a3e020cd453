import json

import pytest

from tests.infra.template import Template, parameter, shown

QUEUES = ("SchedulesDeadLetterQueue", "WebhookIntakeDeadLetterQueue", "WebhookIntakeQueue")


ROUTES = {
    "POST /webhooks": "ReceiveWebhookFunction",
    "POST /companies/{companyId}/ensure-fresh": "ServeApiFunction",
    "GET /companies/{companyId}/ensure-fresh/{id}": "ServeApiFunction",
    "GET /companies/{companyId}/freshness": "ServeApiFunction",
    "GET /openapi.json": "ServeApiFunction",
}


def test_only_the_queue_for_failed_webhooks_takes_dead_letters_of_other_queues(full: Template) -> None:
    queues = full.properties("AWS::SQS::Queue")
    named = {shown(each["RedrivePolicy"]["deadLetterTargetArn"]) for each in queues.values() if "RedrivePolicy" in each}
    refuse = {
        name for name, each in queues.items() if each.get("RedriveAllowPolicy") == {"redrivePermission": "denyAll"}
    }
    assert named == {"WebhookIntakeDeadLetterQueue"}
    assert refuse == queues.keys() - named


def test_the_api_has_these_routes_to_these_functions(template: Template) -> None:
    routes = template.properties("AWS::ApiGatewayV2::Route").values()
    integrations = template.properties("AWS::ApiGatewayV2::Integration")
    targets = {
        route["RouteKey"]: shown(integrations[shown(route["Target"]).removeprefix("integrations/")]["IntegrationUri"])
        for route in routes
    }
    assert targets == ROUTES
    assert {integration["PayloadFormatVersion"] for integration in integrations.values()} == {"2.0"}


def test_every_route_but_that_of_webhooks_requires_iam_authorisation(template: Template) -> None:
    authorisations = {
        route["RouteKey"]: route.get("AuthorizationType", "NONE")
        for route in template.properties("AWS::ApiGatewayV2::Route").values()
    }
    assert authorisations == {key: "NONE" if key == "POST /webhooks" else "AWS_IAM" for key in ROUTES}


def test_the_api_is_throttled_and_logs_each_request(template: Template) -> None:
    stage = template.properties("AWS::ApiGatewayV2::Stage")["WebhookIntakeStage"]
    assert stage["DefaultRouteSettings"] == {"ThrottlingRateLimit": 25, "ThrottlingBurstLimit": 100}
    assert shown(stage["AccessLogSettings"]["DestinationArn"]) == "WebhookIntakeRequests"
    logged = json.loads(stage["AccessLogSettings"]["Format"])
    assert logged["status"] == "$context.status"
    # API Gateway puts a message in as it is: one with a quotation mark would end the JSON.
    assert not [value for value in logged.values() if "message" in value.lower()]
    assert template.properties("AWS::Logs::LogGroup")["WebhookIntakeRequests"]["RetentionInDays"] == 30


def test_only_the_failed_messages_of_a_batch_return_to_the_queue(template: Template) -> None:
    mapping = template.properties("AWS::Lambda::EventSourceMapping")["WebhookIntakeMessages"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert shown(mapping["EventSourceArn"]) == "WebhookIntakeQueue"
    assert shown(mapping["FunctionName"]) == "ApplyWebhookFunction"


def test_a_message_moves_to_the_dead_letter_queue_after_twenty_attempts(template: Template) -> None:
    redrive = template.properties("AWS::SQS::Queue")["WebhookIntakeQueue"]["RedrivePolicy"]
    assert shown(redrive["deadLetterTargetArn"]) == "WebhookIntakeDeadLetterQueue"
    assert redrive["maxReceiveCount"] == 20


def test_the_visibility_timeout_covers_the_batching_window_and_six_times_the_functions_timeout(
    template: Template,
) -> None:
    timeout = template.properties("AWS::Lambda::Function")["ApplyWebhookFunction"]["Timeout"]
    mapping = template.properties("AWS::Lambda::EventSourceMapping")["WebhookIntakeMessages"]
    hidden = template.properties("AWS::SQS::Queue")["WebhookIntakeQueue"]["VisibilityTimeout"]
    assert hidden >= 6 * timeout + mapping["MaximumBatchingWindowInSeconds"]


def test_calls_of_the_api_have_a_limit_of_their_own_for_each_route(template: Template) -> None:
    stage = template.resources("AWS::ApiGatewayV2::Stage")["WebhookIntakeStage"]
    limit = {"ThrottlingRateLimit": 5, "ThrottlingBurstLimit": 5}
    assert stage["Properties"]["RouteSettings"] == {key: limit for key in ROUTES if key != "POST /webhooks"}
    # API Gateway refuses settings of a route that does not exist yet.
    known = {template.body["Resources"][name].get("Properties", {}).get("RouteKey") for name in stage["DependsOn"]}
    assert known >= stage["Properties"]["RouteSettings"].keys()


def test_limits_and_concurrency_are_settings(bare: Template) -> None:
    stage = bare.properties("AWS::ApiGatewayV2::Stage")["WebhookIntakeStage"]
    assert stage["DefaultRouteSettings"] == {"ThrottlingRateLimit": 50, "ThrottlingBurstLimit": 200}
    limits = {"ThrottlingRateLimit": 10, "ThrottlingBurstLimit": 20}
    assert stage["RouteSettings"]["GET /companies/{companyId}/ensure-fresh/{id}"] == limits
    mapping = bare.properties("AWS::Lambda::EventSourceMapping")["WebhookIntakeMessages"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 30}
    serve = bare.properties("AWS::Lambda::Function")["ServeApiFunction"]
    assert serve["Environment"]["Variables"]["WAITING_CALLERS"] == "40"


def test_apply_webhook_has_a_maximum_concurrency(template: Template) -> None:
    mapping = template.properties("AWS::Lambda::EventSourceMapping")["WebhookIntakeMessages"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 4}


@pytest.mark.parametrize("name", QUEUES)
def test_a_queue_is_encrypted_and_keeps_messages_for_14_days(template: Template, name: str) -> None:
    queue = template.properties("AWS::SQS::Queue")[name]
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 60 * 60


@pytest.mark.parametrize("name", QUEUES)
def test_a_queue_denies_requests_without_tls(template: Template, name: str) -> None:
    policy = template.properties("AWS::SQS::QueuePolicy")[f"{name}Policy"]
    assert [shown(queue) for queue in policy["Queues"]] == [name]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Action"] == "sqs:*"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_webhook_senders_can_be_restricted_by_address_and_header(full: Template) -> None:
    function = full.properties("AWS::Lambda::Function")["ReceiveWebhookFunction"]
    variables = {name: shown(value) for name, value in function["Environment"]["Variables"].items()}
    assert variables["WEBHOOK_ADDRESSES"] == "4.159.114.108 20.117.190.191"
    assert (variables["WEBHOOK_HEADER"], variables["WEBHOOK_HEADER_SECRET"]) == (
        "X-Our-Key",
        "/CodatFreshness/webhook-header",
    )
    assert ("ssm:GetParameter", parameter("webhook-header")) in full.allowed("ReceiveWebhookRole")


def test_the_log_of_the_api_is_below_the_prefix_for_logs_that_services_deliver(template: Template) -> None:
    log = template.properties("AWS::Logs::LogGroup")["WebhookIntakeRequests"]
    assert log["LogGroupName"] == "/aws/vendedlogs/CodatFreshness/requests"


def test_the_log_of_the_api_is_of_the_class_at_half_the_price(template: Template) -> None:
    assert template.properties("AWS::Logs::LogGroup")["WebhookIntakeRequests"]["LogGroupClass"] == "INFREQUENT_ACCESS"


def test_no_queue_has_a_name_that_sqs_refuses_for_a_minute_after_a_failed_deployment(template: Template) -> None:
    for queue in template.properties("AWS::SQS::Queue").values():
        assert "QueueName" not in queue
