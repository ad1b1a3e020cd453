"""A synthesised template, with the queries that the tests make."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Properties = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """A CloudFormation template. Resources are named by their logical id without the hash that CDK appends."""

    body: dict[str, Any]
    output: Path = Path()
    """The folder that it was synthesised into."""

    def resources(self, kind: str) -> dict[str, Properties]:
        """Return all resources of a type such as `AWS::SQS::Queue` by name."""
        return {
            _name(logical_id): resource
            for logical_id, resource in self.body["Resources"].items()
            if resource["Type"] == kind
        }

    def properties(self, kind: str) -> dict[str, Properties]:
        """Return the properties of all resources of a type by name."""
        return {name: resource["Properties"] for name, resource in self.resources(kind).items()}

    @property
    def functions(self) -> dict[str, Properties]:
        """Return the properties of all functions by name, such as `ServeApi`."""
        named = self.properties("AWS::Lambda::Function").items()
        return {name.removesuffix("Function"): function for name, function in named}

    def variables(self, function: str) -> dict[str, str]:
        return {name: shown(value) for name, value in self.functions[function]["Environment"]["Variables"].items()}

    def allowed(self, role: str) -> set[tuple[str, str]]:
        """Return the permissions of a role as pairs of an action and a resource."""
        policies = [
            policy
            for policy in self.properties("AWS::IAM::Policy").values()
            if role in [shown(attached) for attached in policy["Roles"]]
        ]
        return {
            (action, shown(resource))
            for policy in policies
            for statement in policy["PolicyDocument"]["Statement"]
            for action in _listed(statement["Action"])
            for resource in _listed(statement["Resource"])
        }


def shown(value: Any) -> str:
    """Return a value of the template as text, with references replaced by the names of their resources."""
    match value:
        case {"Ref": str(logical_id)} | {"Fn::GetAtt": [str(logical_id), *_]}:
            return _name(logical_id)
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(shown(part) for part in parts)
        case _:
            return str(value)


def parameter(name: str) -> str:
    """Return a parameter of Systems Manager of the stack, as `shown` returns its ARN."""
    return f"arn:AWS::Partition:ssm:AWS::Region:AWS::AccountId:parameter/CodatFreshness/{name}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _name(logical_id: str) -> str:
    return re.sub(r"[0-9A-F]{8}$", "", logical_id)
