"""Codat Freshness in a stack of somebody else, beside another one in the same account and region."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from freshness.app.api.routes import Route
from infra.settings import Settings
from stack_access.outputs import Outputs
from tests.infra.template import Template, shown

if TYPE_CHECKING:
    from tests.infra.lending import Lending

OTHER = "Bookkeeping-of-all-our-customers"
NAMED = ("Name", "QueueName", "LogGroupName", "DashboardName", "AlarmName", "TopicName", "TableName")
REFER = ("AWS::ApiGatewayV2::Api", "AWS::Logs::MetricFilter")
"""Types whose names may repeat: an API, and a filter, which refers to its log group by name."""


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> "dict[str, tuple[Lending, Template]]":
    from aws_cdk import App

    from tests.infra.lending import Lending

    folder = tmp_path_factory.mktemp("lending")
    (folder / "bundle").mkdir()
    app = App(outdir=str(folder / "cdk.out"), builtin_cloud_formation_validation=False)
    found = [
        Lending(app, name, folder / "bundle", Settings(dashboard=True, **more))
        for name, more in (("Lending", {"alarm_email": "oncall@example.com"}), (OTHER, dict[str, Any]()))
    ]
    synthesised = app.synth()
    return {
        each.stack_name: (each, Template(synthesised.get_stack_by_name(each.stack_name).template)) for each in found
    }


@pytest.fixture
def lending(stacks: "dict[str, tuple[Lending, Template]]") -> Template:
    return stacks["Lending"][1]


@pytest.fixture
def other(stacks: "dict[str, tuple[Lending, Template]]") -> Template:
    return stacks[OTHER][1]


def names(template: Template) -> set[str]:
    """Return the names that the template gives to resources, which must be unique in an account and region."""
    return {
        shown(resource["Properties"][name])
        for resource in template.body["Resources"].values()
        for name in NAMED
        if name in resource.get("Properties", {}) and resource["Type"] not in REFER
    }


def test_the_command_line_recognises_the_stack_by_its_outputs(lending: Template, other: Template) -> None:
    required = {field.alias for field in Outputs.model_fields.values() if field.is_required()}
    assert required <= lending.body["Outputs"].keys() & other.body["Outputs"].keys()


def test_two_in_one_account_share_no_name_and_no_metric(lending: Template, other: Template) -> None:
    assert len(names(lending)) == len(names(other)) == 2
    assert names(lending) & names(other) == set()
    assert "Lending" not in json.dumps(other.body["Resources"])


def test_logical_ids_do_not_depend_on_the_name_and_settings_are_properties(lending: Template, other: Template) -> None:
    [subscription] = lending.properties("AWS::SNS::Subscription").values()
    assert subscription["Endpoint"] == "oncall@example.com"
    [added] = lending.body["Resources"].keys() - other.body["Resources"].keys()
    assert "oncallexamplecom" in added
    assert other.body["Resources"].keys() <= lending.body["Resources"].keys()


def test_who_may_ensure_fresh_data_may_call_all_routes_and_do_nothing_else(lending: Template) -> None:
    allowed = lending.allowed("Decide")
    assert {action for action, _ in allowed} == {"execute-api:Invoke"}
    called = {resource.partition("/$default/")[2] for _, resource in allowed}
    assert called == {f"{route.method}{route.pattern}" for route in Route}


def test_no_resource_of_the_app_names_a_region(lending: Template) -> None:
    assert "us-east-1" not in json.dumps(lending.body["Resources"])


def test_its_parts_can_be_used_by_the_stack(stacks: "dict[str, tuple[Lending, Template]]") -> None:
    stack, template = stacks["Lending"]
    freshness = stack.freshness
    used = {
        "AWS::Events::EventBus": freshness.bus.event_bus_name,
        "AWS::ApiGatewayV2::Api": freshness.api.api_id,
        "AWS::DynamoDB::Table": freshness.tables.companies.table_name,
        "AWS::SNS::Topic": freshness.alarm_topic.topic_arn,
    }
    for kind, reference in used.items():
        assert shown(stack.resolve(reference)) in template.resources(kind)


def test_a_second_one_in_a_stack_is_refused(stacks: "dict[str, tuple[Lending, Template]]") -> None:
    from infra.construct import CodatFreshness
    from tests.infra.lending import POLICY

    with pytest.raises(ValueError, match=r"^The stack Lending has Codat Freshness already, as Freshness: create Again"):
        CodatFreshness(stacks["Lending"][0], "Again", policy=POLICY)
