"""The intake of Codat's webhooks: a route, the function that queues them, and the function that applies them."""

import json

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from infra.function import Function, encryption_key
from infra.queue import Queue
from infra.settings import Settings

BATCHING_WINDOW = Duration.seconds(15)
"""How long Lambda collects messages into a batch. This delays the result of a refresh, which takes minutes, by seconds,
and most of the requests to SQS and invocations are saved."""
MAX_RECEIVE_COUNT = 20
"""Tries, about three minutes apart: an outage of an hour leaves nothing in the dead-letter queue."""
_ACCESS_LOG = {
    # CloudWatch has the time of each record.
    "requestId": "$context.requestId",
    "caller": "$context.identity.userArn",
    "sourceIp": "$context.identity.sourceIp",
    "route": "$context.routeKey",
    "status": "$context.status",
    "latency": "$context.responseLatency",
    # Statuses and kinds only: API Gateway does not escape a message, which may have quotation marks.
    "functionStatus": "$context.integration.status",
    "lambdaStatus": "$context.integration.integrationStatus",
    "error": "$context.error.responseType",
}


class WebhookIntake(Construct):
    """`POST /webhooks` invokes `receive`, which queues the webhook. `apply` processes the queue.

    `api` is the HTTP API, to which other routes may be added, and `stage` its only stage.
    """

    def __init__(self, scope: Construct, *, receive: Function, apply: Function, settings: Settings) -> None:
        super().__init__(scope, "WebhookIntake")
        # It cannot name the queue whose messages it takes: that queue names it already.
        self.dead_letter_queue = Queue(self, "DeadLetterQueue", local=settings.local, takes_dead_letters=True)
        self.queue = Queue(
            self,
            "Queue",
            local=settings.local,
            # As AWS recommends: a message must not reappear while a throttled function is still retrying it.
            visibility_timeout=Duration.seconds(6 * apply.timeout.to_seconds() + BATCHING_WINDOW.to_seconds()),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letter_queue, max_receive_count=MAX_RECEIVE_COUNT),
        )
        self.api = apigateway.HttpApi(
            self, "Api", description="Codat's webhooks, and fresh data on demand", create_default_stage=False
        )
        self._add_route(receive)
        self.stage = self._stage(settings)
        self.url = f"{self.api.api_endpoint}/webhooks"
        receive.set("WEBHOOK_QUEUE_URL", self.queue.queue_url)
        receive.allow(self.queue.queue_arn, "sqs:SendMessage")
        apply.set("WEBHOOK_DEAD_LETTER_QUEUE_URL", self.dead_letter_queue.queue_url)
        apply.set("MAX_RECEIVE_COUNT", str(MAX_RECEIVE_COUNT))
        apply.allow(self.dead_letter_queue.queue_arn, "sqs:SendMessage")
        apply.allow(self.queue.queue_arn, "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
        lambda_.EventSourceMapping(
            self,
            "Messages",
            target=apply.function,
            event_source_arn=self.queue.queue_arn,
            batch_size=25,
            max_batching_window=BATCHING_WINDOW,
            report_batch_item_failures=True,
            max_concurrency=settings.webhook_batches_at_once,
        )

    def _add_route(self, receive: Function) -> None:
        [route] = self.api.add_routes(
            path="/webhooks",
            methods=[apigateway.HttpMethod.POST],
            integration=HttpLambdaIntegration("ReceiveWebhook", receive.function),
        )
        Validations.of(route).acknowledge(
            Acknowledgment(
                id="AwsSolutions-APIG4",
                reason="Codat signs its webhooks, not its requests to AWS; receive_webhook verifies the signature",
            )
        )

    def _stage(self, settings: Settings) -> apigateway.CfnStage:
        access_log = logs.LogGroup(
            self,
            "Requests",
            # API Gateway adds a statement for each log group to a policy of limited size, except below this prefix.
            log_group_name=f"/aws/vendedlogs/{Stack.of(self).stack_name}/requests",
            # At half the price: Logs Insights can query it, and nothing else reads it.
            log_group_class=logs.LogGroupClass.INFREQUENT_ACCESS,
            encryption_key=encryption_key(self, settings),
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        return apigateway.CfnStage(
            self,
            "Stage",
            api_id=self.api.api_id,
            stage_name="$default",
            auto_deploy=True,
            default_route_settings=apigateway.CfnStage.RouteSettingsProperty(
                throttling_rate_limit=settings.webhooks_per_second, throttling_burst_limit=settings.webhooks_at_once
            ),
            access_log_settings=apigateway.CfnStage.AccessLogSettingsProperty(
                destination_arn=access_log.log_group_arn, format=json.dumps(_ACCESS_LOG)
            ),
        )
