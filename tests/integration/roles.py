"""Enforcement of the functions' roles: a call that the synthesised role does not allow fails, as it would in AWS."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from freshness.aws.tables import Tables
from tests.infra.conftest import synthesise
from tests.infra.template import Template, parameter, shown

Permission = tuple[str, str]
"""An action and the resource of the template that it is allowed on."""
FUNCTIONS = ("CheckFreshness", "QueueRefreshes", "ReceiveWebhook", "ApplyWebhook")


@cache
def template() -> Template:
    """Return the template that is deployed to AWS."""
    with TemporaryDirectory() as folder:
        return synthesise(Path(folder))


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

    tables: Tables
    denied: set[tuple[str, Permission]] = field(default_factory=set)
    """Functions and permissions to deny although the template allows them."""
    used: set[tuple[str, Permission]] = field(default_factory=set)
    refused: set[tuple[str, Permission]] = field(default_factory=set)
    function: str | None = None

    @contextmanager
    def assumed(self, function: str) -> Iterator[None]:
        """Check all calls to AWS against the role of a function."""
        self.function = function
        try:
            yield
        finally:
            self.function = None

    def check(self, client: BaseClient, operation: str, request: dict[str, Any]) -> None:
        """Raise the error of AWS, if the role that is assumed does not allow a call."""
        if self.function is None:
            return
        service = str(client.meta.service_model.endpoint_prefix)
        for resource in self._resources(request):
            permission = (f"{service}:{operation}", resource)
            is_allowed = permission in allowed(self.function) and (self.function, permission) not in self.denied
            if not is_allowed:
                self.refused.add((self.function, permission))
                message = f"{self.function} may not {permission}"
                raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": message}}, operation)
            self.used.add((self.function, permission))

    def _resources(self, request: dict[str, Any]) -> list[str]:
        """Return the resources of the template that a call names."""
        tables = [*request.get("RequestItems", ()), *([request["TableName"]] if "TableName" in request else ())]
        if tables:
            index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
            return [f"Tables{re.split('-', table)[0].title()}{index}" for table in tables]
        if "Entries" in request:
            return ["EventBus"]
        name = request.get("QueueUrl") or request.get("Name")
        assert self.function
        named = [of for variable, of in variables(self.function).items() if os.environ.get(variable) == name]
        return [parameter(of.rpartition("/")[2]) if of.startswith("/") else of for of in named] or ["?"]


def enforce(roles: Roles, patch: pytest.MonkeyPatch) -> None:
    """Check every call that any client of boto3 makes while a role is assumed."""
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def checked(client: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        roles.check(client, operation, request)
        return call(client, operation, request)

    patch.setattr(BaseClient, "_make_api_call", checked)
