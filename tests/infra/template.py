"""A synthesised template, read the way the tests ask."""

import re
from dataclasses import dataclass
from typing import Any

Properties = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """A CloudFormation template. Resources are named by their logical ids, without the hash that CDK appends."""

    body: dict[str, Any]

    def resources(self, kind: str) -> dict[str, Properties]:
        """All resources of a type such as `AWS::SQS::Queue`, by name."""
        return {
            _name(logical_id): resource
            for logical_id, resource in self.body["Resources"].items()
            if resource["Type"] == kind
        }

    def properties(self, kind: str) -> dict[str, Properties]:
        """The properties of all resources of a type, by name."""
        return {name: resource["Properties"] for name, resource in self.resources(kind).items()}

    def allowed(self, role: str) -> set[tuple[str, str]]:
        """What a role may do: pairs of an action and the resource it is allowed on."""
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
    """A value of the template as text: a reference as the name of what it refers to."""
    match value:
        case {"Ref": str(logical_id)} | {"Fn::GetAtt": [str(logical_id), *_]}:
            return _name(logical_id)
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(shown(part) for part in parts)
        case _:
            return str(value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _name(logical_id: str) -> str:
    return re.sub(r"[0-9A-F]{8}$", "", logical_id)
