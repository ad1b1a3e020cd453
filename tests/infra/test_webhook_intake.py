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


def test_webhooks_are_applied_in_batches_of_which_only_the_failed_messages_return_to_the_queue(
    template: Template,
) -> None:
    [mapping] = template.properties("AWS::Lambda::EventSourceMapping").values()
    assert shown(mapping["EventSourceArn"]) == "WebhookIntakeQueue"
    assert shown(mapping["FunctionName"]) == "ApplyWebhookFunction"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 4}
    # Fewer at once would cost more.
    assert (mapping["BatchSize"], mapping["MaximumBatchingWindowInSeconds"]) == (25, 15)


def test_a_message_moves_to_the_dead_letter_queue_after_twenty_attempts_and_returns_after_none_can_run(
    template: Template,
) -> None:
    queue = template.properties("AWS::SQS::Queue")["WebhookIntakeQueue"]
    assert shown(queue["RedrivePolicy"]["deadLetterTargetArn"]) == "WebhookIntakeDeadLetterQueue"
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 20
    # The batching window, and six times the function's timeout.
    assert queue["VisibilityTimeout"] >= 15 + 6 * template.functions["ApplyWebhook"]["Timeout"]


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
    assert bare.variables("ServeApi")["WAITING_CALLERS"] == "40"


@pytest.mark.parametrize("name", QUEUES)
def test_a_queue_is_encrypted_denies_requests_without_tls_and_keeps_messages_for_14_days(
    template: Template, name: str
) -> None:
    queue = template.properties("AWS::SQS::Queue")[name]
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 60 * 60
    # SQS refuses a name for a minute after a failed deployment.
    assert "QueueName" not in queue
    policy = template.properties("AWS::SQS::QueuePolicy")[f"{name}Policy"]
    assert [shown(queue) for queue in policy["Queues"]] == [name]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "sqs:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_webhook_senders_can_be_restricted_by_address_and_header(full: Template) -> None:
    variables = full.variables("ReceiveWebhook")
    assert variables["WEBHOOK_ADDRESSES"] == "4.159.114.108 20.117.190.191"
    assert (variables["WEBHOOK_HEADER"], variables["WEBHOOK_HEADER_SECRET"]) == (
        "X-Our-Key",
        "/CodatFreshness/webhook-header",
    )
    assert ("ssm:GetParameter", parameter("webhook-header")) in full.allowed("ReceiveWebhookRole")


def test_the_log_of_the_api_is_kept_for_30_days_at_half_the_price(template: Template) -> None:
    log = template.properties("AWS::Logs::LogGroup")["WebhookIntakeRequests"]
    # The prefix is for logs that services deliver.
    assert log["LogGroupName"] == "/aws/vendedlogs/CodatFreshness/requests"
    assert (log["RetentionInDays"], log["LogGroupClass"]) == (30, "INFREQUENT_ACCESS")
