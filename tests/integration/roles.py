"""Enforcement of the functions' roles: a call that the synthesised role does not allow fails, as it would in AWS.

A fixture enforces them on every handler that an integration test runs.
"""

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

import act_on_page
import apply_webhook
import check_freshness
import queue_refreshes
import receive_webhook
import serve_api
import show_page
from estimate.memory_dynamodb import Item, MemoryDynamoDB
from tests.infra.conftest import synthesise
from tests.infra.template import Template, parameter, shown

Permission = tuple[str, str]
"""An action and the resource of the template that it is allowed on."""
FUNCTIONS = ("CheckFreshness", "QueueRefreshes", "ReceiveWebhook", "ApplyWebhook")
HANDLERS = (
    act_on_page,
    apply_webhook,
    check_freshness,
    queue_refreshes,
    receive_webhook,
    serve_api,
    show_page,
)
STATE_MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:Decide"
"""The state machine whose tasks requests may end."""
_function: ContextVar[str | None] = ContextVar("function", default=None)
"""The function whose role is assumed."""
_synthesised: list[Template] = []


def synthesise_once(folder: Path) -> None:
    """Have `template` return what the first process that shares a folder synthesises into it."""
    file = folder / "template.json"
    with (folder / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            settings = {"dashboard": "true", "webhook_header": "X-Our-Key", "task_tokens_of": STATE_MACHINE}
            with TemporaryDirectory() as output:
                template = synthesise(Path(output), has_deadlines=True, is_validated=False, **settings)
            file.write_text(json.dumps(template.body))
    _synthesised.append(Template(json.loads(file.read_text())))


def template() -> Template:
    """Return the template that is deployed to AWS, with all that settings add to the functions and the alarms."""
    return _synthesised[-1]


@cache
def allowed(function: str) -> frozenset[Permission]:
    """Return what the role of a function allows it."""
    return frozenset(template().allowed(f"{function}Role"))


@cache
def variables(function: str) -> dict[str, str]:
    """Return the environment variables of a function, which name resources of the template."""
    properties = template().properties("AWS::Lambda::Function")[f"{function}Function"]
    return {name: shown(value) for name, value in properties["Environment"]["Variables"].items()}


@dataclass
class Roles:
    """The role with which handlers make their calls to AWS, and the permissions that were used of each."""

    denied: set[tuple[str, Permission]] = field(default_factory=set)
    """Functions and permissions to deny although the template allows them."""
    used: set[tuple[str, Permission]] = field(default_factory=set)
    refused: set[tuple[str, Permission]] = field(default_factory=set)

    @contextmanager
    def assumed(self, function: str) -> Iterator[None]:
        """Check all calls to AWS against the role of a function, also in the threads that it waits for."""
        before = _function.set(function)
        try:
            yield
        finally:
            _function.reset(before)

    def check(self, service: str, operation: str, request: dict[str, Any]) -> None:
        """Raise the error of AWS, if the role that is assumed does not allow a call."""
        function = _function.get()
        if function is None:
            return
        for action, resource in _actions(function, operation, request):
            permission = (f"{service}:{action}", resource)
            is_allowed = permission in allowed(function) and (function, permission) not in self.denied
            if not is_allowed:
                self.refused.add((function, permission))
                message = f"{function} may not {permission}"
                raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": message}}, operation)
            self.used.add((function, permission))


class MemoryDynamoDBWithRoles:
    """Tables in memory that threads share, with each call checked against the role that is assumed."""

    exceptions = MemoryDynamoDB.exceptions

    def __init__(self, roles: Roles) -> None:
        self._roles, self._dynamodb, self._lock = roles, MemoryDynamoDB(), Lock()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = getattr(self._dynamodb, name)

        def call(**request: Any) -> Any:
            self._roles.check("dynamodb", name.title().replace("_", ""), request)
            with self._lock:
                return operation(**request)

        return call

    def get_paginator(self, operation: str) -> SimpleNamespace:
        """Return the paginator of `query` or `scan`."""
        paginate = self._dynamodb.get_paginator(operation).paginate

        def pages(**request: Any) -> list[Item]:
            self._roles.check("dynamodb", operation.title(), request)
            with self._lock:
                return list(paginate(**request))

        return SimpleNamespace(paginate=pages)


def _actions(function: str, operation: str, request: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the actions of a function's call, each on a resource of the template."""
    if operation != "BatchExecuteStatement":
        return {(operation, resource) for resource in _resources(function, request)}
    statements = (each["Statement"].split('"') for each in request["Statements"])
    return {(f"PartiQL{verb.split()[0].title()}", _table(table)) for verb, table, *_ in statements}


def _table(name: str, index: str = "") -> str:
    return f"Tables{re.split('-', name)[0].title()}{index}"


def _resources(function: str, request: dict[str, Any]) -> list[str]:
    """Return the resources of the template that a function's call names."""
    tables = [*request.get("RequestItems", ()), *([request["TableName"]] if "TableName" in request else ())]
    if tables:
        index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
        return [_table(table, index) for table in tables]
    if "Entries" in request:
        return ["EventBus"]
    if "taskToken" in request:
        return [STATE_MACHINE]
    name = request.get("QueueUrl") or request.get("Name")
    named = [of for variable, of in variables(function).items() if os.environ.get(variable) == name]
    return [parameter(of.rpartition("/")[2]) if of.startswith("/") else of for of in named] or ["?"]


def enforce(roles: Roles, patch: pytest.MonkeyPatch) -> None:
    """Run every handler with its role, and check each call that any client of boto3 makes meanwhile."""
    for module in HANDLERS:
        patch.setattr(module, "handler", _with_role(roles, module))
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def checked(client: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        roles.check(client.meta.service_model.endpoint_prefix, operation, request)
        return call(client, operation, request)

    patch.setattr(BaseClient, "_make_api_call", checked)


def _with_role(roles: Roles, module: ModuleType) -> Callable[[Any, Any], Any]:
    handler: Callable[[Any, Any], Any] = module.handler

    def run(event: Any, context: Any) -> Any:
        with roles.assumed(module.__name__.title().replace("_", "")):
            return handler(event, context)

    return run
