"""Policies of IAM for the people and programs that work with a stack, with the exact names of its resources."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from freshness.app.api.routes import Route
from stack_access.outputs import Outputs
from stack_access.recovery import new_table

Statement = Mapping[str, Any]


class Role(StrEnum):
    """Who a policy is for."""

    READER = "reader"
    """Runs `policy show`, `diff`, `history`, `status`, `report`, `explain`, `dataset`, `export`, `page`, `audit` and
    `receipt`."""
    SECRETS = "secrets"
    """Also runs `doctor`, and with `operator` `register-webhook`.

    They read secrets with which one can do anything at Codat.
    """
    OPERATOR = "operator"
    """Also runs what changes something, but not `restore`."""
    RESTORER = "restorer"
    """Is an operator who also runs `restore`."""
    PAGE = "page"
    """Sees the page on the dashboard."""
    BUTTONS = "buttons"
    """Also uses the buttons of the page."""
    CALLER = "caller"
    """Calls the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What the policies name: the outputs of a stack, where it is, and the names of its functions' log groups."""

    outputs: Outputs
    partition: str
    region: str
    log_groups: Sequence[str]

    def policy(self, role: Role) -> dict[str, Any]:
        """Return the IAM policy document of a role."""
        return {"Version": "2012-10-17", "Statement": [*self._statements(role), *self._using_key(role)]}

    def _using_key(self, role: Role) -> Sequence[Statement]:
        """Return the permissions on the stack's own KMS key, if any, that a role needs for tables and secrets."""
        if not self.outputs.kms_key:
            return []
        match role:
            case Role.READER | Role.SECRETS:
                actions = ["kms:Decrypt", "kms:DescribeKey"]
            case Role.OPERATOR:
                actions = ["kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
            case Role.RESTORER:
                # DynamoDB needs a grant for each new table.
                actions = ["kms:CreateGrant"]
            case _:
                return []
        return [_allow(actions, [self.outputs.kms_key])]

    def _statements(self, role: Role) -> Sequence[Statement]:
        outputs = self.outputs
        match role:
            case Role.READER:
                return self._reading()
            case Role.SECRETS:
                secrets = (outputs.codat_api_key_secret, outputs.webhook_signing_secret)
                return [_allow(["ssm:GetParameter"], [self._arn("ssm", f"parameter{name}") for name in secrets])]
            case Role.OPERATOR:
                return self._operating()
            case Role.RESTORER:
                return self._restoring()
            case Role.PAGE:
                return [_allow(["lambda:InvokeFunction"], self._functions(outputs.show_page_function))]
            case Role.BUTTONS:
                return [_allow(["lambda:InvokeFunction"], self._functions(outputs.act_on_page_function))]
            case Role.CALLER:
                api = str(urlsplit(outputs.api_url).hostname).split(".")[0]
                routes = [f"{route.method}{route.pattern}" for route in Route]
                resources = [self._arn("execute-api", f"{api}/$default/{route}") for route in routes]
                return [_allow(["execute-api:Invoke"], resources)]

    def _reading(self) -> list[Statement]:
        outputs, tables = self.outputs, astuple(self.outputs.tables)
        functions = (
            outputs.check_freshness_function,
            outputs.queue_refreshes_function,
            outputs.receive_webhook_function,
            outputs.apply_webhook_function,
            outputs.serve_api_function,
        )
        everywhere = (
            "cloudformation:DescribeStacks",
            "lambda:GetAccountSettings",
            "lambda:ListEventSourceMappings",
            "scheduler:ListSchedules",
        )
        read = ("GetItem", "BatchGetItem", "Query", "Scan", "DescribeTable")
        # IAM needs a log group both with and without the suffix.
        logs = [self._arn("logs", f"log-group:{name}{suffix}") for name in self.log_groups for suffix in ("", ":*")]
        return [
            _allow(everywhere, ["*"]),
            _allow([f"dynamodb:{action}" for action in read], self._tables(*tables) + self._indexes(*tables)),
            _allow(["lambda:GetFunctionConfiguration"], self._functions(*functions)),
            _allow(["logs:FilterLogEvents"], logs),
            _allow(["sqs:GetQueueAttributes"], self._queues(outputs.webhook_dead_letter_queue_url)),
        ]

    def _operating(self) -> list[Statement]:
        outputs = self.outputs
        tables = self._tables(outputs.companies_table, outputs.feeds_table, outputs.control_table)
        functions = (outputs.check_freshness_function, outputs.queue_refreshes_function, outputs.serve_api_function)
        urls = outputs.webhook_dead_letter_queue_url, outputs.notify_dead_letter_queue_url
        return [
            _allow(["dynamodb:PutItem", "dynamodb:DeleteItem"], tables),
            _allow(["events:PutEvents"], [self._arn("events", f"event-bus/{outputs.event_bus_name}")]),
            _allow(["lambda:InvokeFunction"], self._functions(*functions)),
            _allow(["sqs:ReceiveMessage", "sqs:DeleteMessage"], self._queues(*filter(None, urls))),
            _allow(["sqs:SendMessage"], self._queues(outputs.webhook_queue_url)),
        ]

    def _restoring(self) -> list[Statement]:
        names = astuple(self.outputs.tables)
        new = self._tables(*map(new_table, names))
        # AWS fills a new table with the permissions of whoever restores it.
        fill = ("BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan", "UpdateItem")
        used = ("DescribeTable", "DeleteTable", "RestoreTableToPointInTime")
        return [
            _allow(["dynamodb:RestoreTableToPointInTime"], self._tables(*names)),
            _allow(["dynamodb:PutItem"], self._tables(self.outputs.datasets_table)),
            _allow([f"dynamodb:{action}" for action in (*fill, *used)], new),
        ]

    def _tables(self, *names: str) -> list[str]:
        return [self._arn("dynamodb", f"table/{name}") for name in names]

    def _indexes(self, *tables: str) -> list[str]:
        return [f"{arn}/index/*" for arn in self._tables(*tables)]

    def _functions(self, *names: str) -> list[str]:
        return [self._arn("lambda", f"function:{name}") for name in names]

    def _queues(self, *urls: str) -> list[str]:
        return [self._arn("sqs", url.rpartition("/")[2]) for url in urls]

    def _arn(self, service: str, resource: str) -> str:
        account = self.outputs.webhook_queue_url.split("/")[-2]
        return f"arn:{self.partition}:{service}:{self.region}:{account}:{resource}"


def _allow(actions: Sequence[str], resources: Sequence[str]) -> Statement:
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
