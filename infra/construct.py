"""Codat Freshness as a construct for any stack: its resources, and the permissions of each function."""

from datetime import UTC, datetime
from pathlib import Path

from aws_cdk import Annotations, CfnOutput, Duration, Stack, Tags
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from freshness.app.policy_in_force import DEPLOYED_ONLY
from freshness.aws.dynamodb.companies import DUE_FOR_CHECK, NEEDS_RELINK
from freshness.aws.dynamodb.control_items.freshness_requests import OPEN, OPEN_OF_COMPANY
from freshness.aws.dynamodb.feeds import BROKEN, DUE
from freshness.policy.loader import load
from freshness.policy.unmatched import warnings
from infra import bundling
from infra.alarms import Alarms
from infra.api import Api
from infra.dashboard import Dashboard
from infra.function import Function
from infra.notify import Notify
from infra.schedules import Schedules
from infra.settings import Settings
from infra.tables import Tables
from infra.webhook_intake import WebhookIntake

DEFAULTS = Settings()
TICK_TIMEOUT = Duration.seconds(5 * 60 + 25)
"""A tick ends its work half a minute before, just before the next run starts. The lease of a run that was killed delays
work for so long."""
TICK_MEMORY = 256
"""Megabytes. A tick takes 87 (`bench/lambda_runtime.py`), and its share of a processor, a seventh, queues three times
as many refreshes a minute as Codat accepts."""
WHAT_IS_NEXT = "A new stack is paused: ./freshness plan shows what it would queue, ./freshness resume starts it."


class CodatFreshness(Construct):
    """Everything that keeps companies' data at Codat as fresh as the policy promises. A stack has at most one.

    Its secrets, metrics and outputs are named after the stack.

        freshness = CodatFreshness(self, "Freshness", policy="freshness.toml")
        freshness.grant_ensure_fresh(my_function)
    """

    bus: events.EventBus
    """The bus with the events of `docs/events.md`."""
    api: apigateway.HttpApi
    """The API that answers how fresh data is, and ensures it."""
    tables: Tables
    alarm_topic: sns.Topic

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        policy: str | Path,
        settings: Settings = DEFAULTS,
        bundle: Path | None = None,
    ) -> None:
        """Create the construct for a policy file.

        `bundle` is the folder with the code of all functions; without it, it is built in the folder `.build`.

        Raises:
            ValueError: the stack has one already.
            freshness.policy.errors.PolicyError: the policy is not valid.
            infra.bundling.BundlingError: the dependencies of the functions could not be installed.
        """
        super().__init__(scope, construct_id)
        name = Stack.of(self).stack_name
        self._require_to_be_alone(name)
        loaded = load(Path(policy))
        for warning in (*settings.warnings, *warnings(loaded, datetime.now(UTC).date())):
            Annotations.of(self).add_warning_v2("codat-freshness", warning)
        Tags.of(self).add("project", "codat-freshness")
        Tags.of(self).add("stack", name)
        self._settings = settings
        self._bundle = bundling.archive(
            bundle or bundling.build_for(Path(policy), Path(".build"), local=settings.local)
        )
        self.tables = Tables(
            self, disposable=settings.local, protected=settings.protect_tables, kms_key=settings.kms_key
        )
        self._functions: list[Function] = []
        self.bus = events.EventBus(self, "EventBus", description="Events about companies' data at Codat")

        check_freshness = self._check_freshness()
        queue_refreshes = self._queue_refreshes()
        schedules = Schedules(self, settings.time_zone, local=settings.local)
        schedules.run(check_freshness, settings.check_schedule)
        schedules.run(queue_refreshes, settings.queue_schedule)

        receive_webhook = self._receive_webhook()
        apply_webhook = self._apply_webhook()
        intake = WebhookIntake(self, receive=receive_webhook, apply=apply_webhook, settings=settings)
        serve_api = self._serve_api()
        self._routes = Api(self, intake.api, intake.stage, serve_api, settings)
        self.api = intake.api
        self._end_requests = (serve_api, apply_webhook, queue_refreshes)
        if settings.task_tokens_of:
            self.end_tasks_of(*settings.task_tokens_of)

        alarms = Alarms(self, settings)
        self.alarm_topic = alarms.topic
        alarms.watch_promises(has_deadlines=bool(loaded.deadlines))
        alarms.watch_codat()
        alarms.watch_runs(check_freshness, queue_refreshes)
        alarms.watch_webhooks(intake.dead_letter_queue)
        # The local AWS has no API destinations.
        if settings.notify_url and not settings.local:
            notify = Notify(self, self.bus, settings, self._secret("notify"))
            alarms.watch_events(notify.dead_letter_queue)
            self._output("NotifyDeadLetterQueueUrl", notify.dead_letter_queue.queue_url)
        # The local AWS has no budgets.
        if settings.monthly_budget and not settings.local:
            alarms.watch_cost(settings.monthly_budget)
        if settings.dashboard:
            act_on_page = self._act_on_page()
            show_page = self._show_page(act_on_page)
            Dashboard(
                self,
                show_page=show_page,
                check_freshness=check_freshness,
                queue_refreshes=queue_refreshes,
                receive_webhook=receive_webhook,
                apply_webhook=apply_webhook,
                webhooks=intake.queue,
                dead_letters=(schedules.dead_letter_queue, intake.dead_letter_queue),
                tables=self.tables,
            )

        # The local AWS has no Lambda Insights.
        if settings.lambda_insights and not settings.local:
            alarms.watch_memory(self._functions)
        if settings.kms_key:
            self._output("KmsKey", settings.kms_key)
        outputs = {
            "ApiUrl": self.api.api_endpoint,
            "WebhookUrl": intake.url,
            "WebhookQueueUrl": intake.queue.queue_url,
            "WebhookDeadLetterQueueUrl": intake.dead_letter_queue.queue_url,
            "CompaniesTable": self.tables.companies.table_name,
            "FeedsTable": self.tables.feeds.table_name,
            "DatasetsTable": self.tables.datasets.table_name,
            "ControlTable": self.tables.control.table_name,
            "EventBusName": self.bus.event_bus_name,
            "CodatApiKeySecret": self._secret("codat-api-key"),
            "WebhookSigningSecret": self._secret("webhook-signing-secret"),
        }
        for output, value in outputs.items():
            self._output(output, value)
        for function in self._functions:
            self._output(function.node.id + "Function", function.function.function_name)
        if settings.start_paused:
            check_freshness.set("START_PAUSED", "true")
            queue_refreshes.set("START_PAUSED", "true")
            # The CDK prints the outputs in the order of their names: this one comes last.
            self._output("WhatIsNext", WHAT_IS_NEXT)

    def end_tasks_of(self, *state_machine_arns: str) -> None:
        """Let requests end tasks of these state machines, by their `taskToken`."""
        for function in self._end_requests:
            function.set("ENDS_TASKS", "true")
            # The local AWS cannot tell which state machine a token belongs to.
            for arn in (*state_machine_arns, *("*" if self._settings.local else ())):
                function.allow(arn, "states:SendTaskSuccess", "states:SendTaskFailure")

    def grant_ensure_fresh(self, grantee: iam.IGrantable) -> iam.Grant:
        return self._routes.grant(grantee)

    def _function(self, name: str, *, timeout: Duration, memory_size: int) -> Function:
        function = Function(self, name, self._bundle, self._settings, timeout=timeout, memory_size=memory_size)
        self._functions.append(function)
        return function

    def _require_to_be_alone(self, stack_name: str) -> None:
        for other in Stack.of(self).node.find_all():
            if isinstance(other, CodatFreshness) and other is not self:
                raise ValueError(
                    f"The stack {stack_name} has Codat Freshness already, as {other.node.id}: create {self.node.id} in "
                    "a stack of its own, since its secrets, metrics and outputs have the name of the stack."
                )

    def _check_freshness(self) -> Function:
        function = self._function("check_freshness", timeout=TICK_TIMEOUT, memory_size=TICK_MEMORY)
        self._let_record(function)
        self._let_call_codat(function)
        function.use_index(self.tables.companies, DUE_FOR_CHECK)
        function.use_index(self.tables.feeds, BROKEN)
        return function

    def _queue_refreshes(self) -> Function:
        function = self._function("queue_refreshes", timeout=TICK_TIMEOUT, memory_size=TICK_MEMORY)
        self._let_record(function)
        self._let_call_codat(function)
        function.use_index(self.tables.feeds, DUE)
        function.use_index(self.tables.control, OPEN)
        function.set("DRY_RUN", str(self._settings.dry_run).lower())
        return function

    def _receive_webhook(self) -> Function:
        function = self._function("receive_webhook", timeout=Duration.seconds(10), memory_size=256)
        function.use_secret("WEBHOOK_SIGNING_SECRET", self._secret("webhook-signing-secret"))
        if self._settings.webhook_addresses:
            function.set("WEBHOOK_ADDRESSES", " ".join(map(str, self._settings.webhook_addresses)))
        if self._settings.webhook_header:
            function.set("WEBHOOK_HEADER", self._settings.webhook_header)
            function.use_secret("WEBHOOK_HEADER_SECRET", self._secret("webhook-header"))
            self._output("WebhookHeaderSecret", self._secret("webhook-header"))
        return function

    def _apply_webhook(self) -> Function:
        function = self._function("apply_webhook", timeout=Duration.seconds(30), memory_size=256)
        self._let_record(function)
        function.use_index(self.tables.control, OPEN_OF_COMPANY)
        return function

    def _serve_api(self) -> Function:
        function = self._function("serve_api", timeout=Duration.seconds(29), memory_size=512)
        self._let_record(function)
        self._let_call_codat(function)
        function.set("WAITING_CALLERS", str(self._settings.waiting_callers))
        function.set("DRY_RUN", str(self._settings.dry_run).lower())
        return function

    def _let_record(self, function: Function) -> None:
        """Let a function record facts, and publish what follows from them."""
        function.use_table("COMPANIES_TABLE", self.tables.companies, "GetItem", "BatchGetItem", "PutItem")
        function.use_table("FEEDS_TABLE", self.tables.feeds, "BatchGetItem", "Query", "PutItem", "DeleteItem")
        function.use_table("DATASETS_TABLE", self.tables.datasets, "PutItem", "PartiQLUpdate")
        if self._settings.local:
            # The local AWS has a permission of its own for statements, whatever they do and on which table.
            function.allow("*", "dynamodb:BatchExecuteStatement")
        function.use_table("CONTROL_TABLE", self.tables.control, "GetItem", "BatchGetItem", "PutItem", "UpdateItem")
        function.use_bus("EVENT_BUS", self.bus)
        self._let_load_policy(function)

    def _let_load_policy(self, function: Function) -> None:
        """Let a function load only the deployed policy, if the settings say so."""
        if self._settings.policy_source == DEPLOYED_ONLY:
            function.set("POLICY_SOURCE", DEPLOYED_ONLY)

    def _let_call_codat(self, function: Function) -> None:
        """Let a function call Codat, take leases and give them back, and record datasets that run."""
        function.use_table("CONTROL_TABLE", self.tables.control, "DeleteItem")
        function.use_table("DATASETS_TABLE", self.tables.datasets, "PartiQLInsert")
        function.use_secret("CODAT_API_KEY_SECRET", self._secret("codat-api-key"))
        function.set("CODAT_BASE_URL", self._settings.codat_base_url)

    def _show_page(self, act_on_page: Function) -> Function:
        function = self._function("show_page", timeout=Duration.seconds(30), memory_size=512)
        self._let_read_page(function)
        function.use_table("COMPANIES_TABLE", self.tables.companies, "GetItem")
        function.use_table("DATASETS_TABLE", self.tables.datasets, "Query")
        function.use_table("CONTROL_TABLE", self.tables.control, "PutItem")
        function.use_secret("CODAT_API_KEY_SECRET", self._secret("codat-api-key"))
        function.set("CODAT_BASE_URL", self._settings.codat_base_url)
        function.set("EVENT_BUS", self.bus.event_bus_name)
        function.set("ACT_ON_PAGE_FUNCTION", act_on_page.function.function_arn)
        return function

    def _act_on_page(self) -> Function:
        function = self._function("act_on_page", timeout=Duration.seconds(30), memory_size=512)
        self._let_read_page(function)
        function.use_table("FEEDS_TABLE", self.tables.feeds, "BatchGetItem", "PutItem")
        function.set("DATASETS_TABLE", self.tables.datasets.table_name)
        function.use_table("CONTROL_TABLE", self.tables.control, "PutItem", "DeleteItem")
        function.use_bus("EVENT_BUS", self.bus)
        return function

    def _let_read_page(self, function: Function) -> None:
        function.use_table("COMPANIES_TABLE", self.tables.companies, "DescribeTable", "BatchGetItem")
        function.use_index(self.tables.companies, DUE_FOR_CHECK)
        function.use_index(self.tables.companies, NEEDS_RELINK)
        function.use_table("FEEDS_TABLE", self.tables.feeds, "DescribeTable", "Query")
        function.use_index(self.tables.feeds, BROKEN)
        function.use_table("CONTROL_TABLE", self.tables.control, "GetItem", "BatchGetItem")
        self._let_load_policy(function)

    def _secret(self, name: str) -> str:
        """Return the name of a secret that the user stores after the first deployment, and that outlives the stack.

        It is a parameter of Systems Manager, which CloudFormation cannot create encrypted. Unlike the secrets of
        Secrets Manager, where only that of `notify_url` is, because EventBridge reads it there, it is free of charge.
        """
        return f"/{Stack.of(self).stack_name}/{name}"

    def _output(self, name: str, value: str) -> None:
        # The command line recognises a stack by these names, whatever the construct is called.
        CfnOutput(self, name, value=value).override_logical_id(name)
