"""Two stacks in one account and region share nothing."""

import json
from typing import Any

import pytest

from tests.infra.conftest import synthesise
from tests.infra.template import Template, shown

NAMED = ("Name", "QueueName", "LogGroupName", "DashboardName", "AlarmName", "TopicName", "TableName")
REFER = ("AWS::ApiGatewayV2::Api", "AWS::Logs::MetricFilter")
"""Types of which these names need not be unique: those of an API, and of the log groups that filters refer to."""


@pytest.fixture(scope="session")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return synthesise(tmp_path_factory.mktemp("staging"), has_deadlines=True, name="staging", dashboard="true")


def names(template: Template) -> set[str]:
    """Return the names that the template gives to resources, which must be unique in an account and region."""
    return {
        shown(resource["Properties"][name])
        for resource in template.body["Resources"].values()
        for name in NAMED
        if name in resource.get("Properties", {}) and resource["Type"] not in REFER
    }


def literals(value: Any) -> set[str]:
    """Return all texts in a part of a template."""
    match value:
        case dict():
            return set[str]().union(*(literals(each) for each in value.values()))
        case list():
            return set[str]().union(*(literals(each) for each in value))
        case _:
            return {str(value)}


def test_no_resources_of_two_stacks_have_the_same_name(template: Template, staging: Template) -> None:
    assert len(names(template)) == 2
    assert names(template) & names(staging) == set()


def test_the_metrics_of_a_stack_have_its_name_as_their_dimension(staging: Template) -> None:
    alarms = [json.dumps(alarm) for alarm in staging.properties("AWS::CloudWatch::Alarm").values()]
    ours = [alarm for alarm in alarms if '"service"' in alarm]
    assert len(ours) > 5
    assert all('"Value": "staging"' in alarm for alarm in ours)
    for function in staging.properties("AWS::Lambda::Function").values():
        assert function["Environment"]["Variables"]["STACK_NAME"] == "staging"


def test_logical_ids_do_not_depend_on_the_name(template: Template, staging: Template) -> None:
    assert staging.body["Resources"].keys() == template.body["Resources"].keys()


def test_a_stack_does_not_name_the_other(staging: Template) -> None:
    texts = {text.replace('"CodatFreshness",', "") for text in literals(staging.body["Resources"])}
    # The namespace of the metrics, which the stacks distinguish by the dimension, or by what follows in the namespace.
    assert {text for text in texts if "CodatFreshness" in text} == {"CodatFreshness", "CodatFreshness/staging"}
