"""Codat Freshness in a stack of somebody else, beside another one."""

import json
from pathlib import Path

import pytest

from freshness.app.api.routes import Route
from infra.settings import Settings
from stack_access.outputs import Outputs
from tests.infra.template import Template, shown
from tests.infra.test_two_stacks import literals, names

OTHER = "Bookkeeping-of-all-our-customers"


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Template]:
    from aws_cdk import App

    from tests.infra.lending import Lending, bundle_in

    folder = tmp_path_factory.mktemp("lending")
    app = App(outdir=str(folder / "cdk.out"), builtin_cloud_formation_validation=False)
    settings = Settings(alarm_email="oncall@example.com", dashboard=False)
    Lending(app, "Lending", bundle_in(folder), settings, "ap-southeast-2")
    Lending(app, OTHER, bundle_in(folder), Settings(), "ap-southeast-2")
    synthesised = app.synth()
    return {stack.stack_name: Template(stack.template) for stack in synthesised.stacks}


def test_the_command_line_recognises_the_stack_by_its_outputs(templates: dict[str, Template]) -> None:
    for template in templates.values():
        required = {field.alias for field in Outputs.model_fields.values() if field.is_required()}
        assert required <= template.body["Outputs"].keys()


def test_two_in_one_account_share_no_name_and_no_metric(templates: dict[str, Template]) -> None:
    first, second = templates["Lending"], templates[OTHER]
    assert names(first)
    assert names(first) & names(second) == set()
    assert not [text for text in literals(second.body["Resources"]) if "Lending" in text]


def test_settings_are_properties_of_the_construct(templates: dict[str, Template]) -> None:
    [subscription] = templates["Lending"].properties("AWS::SNS::Subscription").values()
    assert subscription["Endpoint"] == "oncall@example.com"
    assert templates["Lending"].resources("AWS::CloudWatch::Dashboard") == {}


def test_who_may_ensure_fresh_data_may_call_all_routes_and_do_nothing_else(templates: dict[str, Template]) -> None:
    allowed = templates["Lending"].allowed("Decide")
    assert {action for action, _ in allowed} == {"execute-api:Invoke"}
    called = {resource.partition("/$default/")[2] for _, resource in allowed}
    assert called == {f"{route.method}{route.pattern}" for route in Route}


def test_no_resource_of_the_app_names_a_region(templates: dict[str, Template]) -> None:
    assert "us-east-1" not in json.dumps(templates["Lending"].body["Resources"])


def test_its_parts_can_be_used_by_the_stack(tmp_path: Path) -> None:
    from aws_cdk import App

    from tests.infra.lending import Lending, bundle_in

    app = App(outdir=str(tmp_path / "out"), builtin_cloud_formation_validation=False)
    stack = Lending(app, "Lending", bundle_in(tmp_path), Settings(), "eu-west-2")
    freshness = stack.freshness
    used = {
        "AWS::Events::EventBus": freshness.bus.event_bus_name,
        "AWS::ApiGatewayV2::Api": freshness.api.api_id,
        "AWS::DynamoDB::Table": freshness.tables.companies.table_name,
        "AWS::SNS::Topic": freshness.alarm_topic.topic_arn,
    }
    template = Template(app.synth().get_stack_by_name("Lending").template)
    for kind, reference in used.items():
        assert shown(stack.resolve(reference)) in template.resources(kind)


def test_a_second_one_in_a_stack_is_refused(tmp_path: Path) -> None:
    from aws_cdk import App

    from infra.construct import CodatFreshness
    from tests.infra.lending import POLICY, Lending, bundle_in

    stack = Lending(App(outdir=str(tmp_path / "cdk.out")), "Lending", bundle_in(tmp_path), Settings(), "eu-west-2")
    with pytest.raises(ValueError, match=r"^The stack Lending has Codat Freshness already, as Freshness: create Again"):
        CodatFreshness(stack, "Again", policy=POLICY, bundle=bundle_in(tmp_path))
