"""Who is told: the receivers of alarms, and the endpoint that events are sent to."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from freshness.domain.transitions.notifications import KINDS, Notification
from infra.event_schemas import schema
from infra.settings import Deployment, Settings, SettingsError
from tests.event_schemas import check
from tests.infra.conftest import ALL, ROOT, TEAMS
from tests.infra.template import Properties, Template, shown

OFF_BY_DEFAULT = {
    name
    for name, field in Settings.model_fields.items()
    if not field.default and name not in ("dry_run", "local", "notify_token_url")
}
"""Settings that add something. OAuth takes the place of the header, and is tried in a stack of its own."""
KINDS_OF_RESOURCES = {
    "AWS::Chatbot::MicrosoftTeamsChannelConfiguration",
    "AWS::Chatbot::SlackChannelConfiguration",
    "AWS::Events::ApiDestination",
    "AWS::Events::Connection",
    "AWS::Events::Rule",
    "AWS::SNS::Subscription",
}


def small(folder: Path, **given: str) -> Template:
    """Return the template of a small stack with the receivers of alarms, and the endpoint that events are sent to."""
    from aws_cdk import App, Stack
    from aws_cdk.aws_events import EventBus
    from aws_cdk.aws_sns import Topic

    from infra.alarm_receivers import tell_of_alarms
    from infra.notify import Notify

    app = App(outdir=str(folder), builtin_cloud_formation_validation=False)
    stack, settings = Stack(app, "Small"), Deployment.read(ROOT / "deployment.toml", given)
    tell_of_alarms(stack, Topic(stack, "Topic"), settings)
    if settings.notify_url:
        Notify(stack, EventBus(stack, "EventBus"), settings, "/CodatFreshness/notify")
    return Template(app.synth().get_stack_by_name("Small").template)


def kinds(template: Template) -> set[str]:
    return {resource["Type"] for resource in template.body["Resources"].values()}


def rule(template: Template, kind: type[Notification]) -> Properties:
    return template.properties("AWS::Events::Rule")[f"Notify{kind.__name__}"]


def test_a_stack_without_the_settings_has_none_of_their_resources(template: Template) -> None:
    assert not kinds(template) & KINDS_OF_RESOURCES


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ({"alarm_email": "oncall@example.com"}, "AWS::SNS::Subscription"),
        ({"alarm_https": "https://example.com/alarms"}, "AWS::SNS::Subscription"),
        ({"slack_workspace": "T0123ABCD", "slack_channel": "C0123ABCD"}, "AWS::Chatbot::SlackChannelConfiguration"),
        ({"teams_channel": TEAMS}, "AWS::Chatbot::MicrosoftTeamsChannelConfiguration"),
    ],
    ids=["mail", "https", "slack", "teams"],
)
def test_a_receiver_of_alarms_adds_only_its_own_resource(tmp_path: Path, given: dict[str, str], added: str) -> None:
    assert kinds(small(tmp_path, **given)) & KINDS_OF_RESOURCES == {added}


def test_alarms_are_sent_to_each_receiver(full: Template) -> None:
    subscriptions = full.properties("AWS::SNS::Subscription").values()
    assert {(each["Protocol"], each["Endpoint"]) for each in subscriptions} == {
        ("email", ALL["alarm_email"]),
        ("https", ALL["alarm_https"]),
    }
    [slack] = full.properties("AWS::Chatbot::SlackChannelConfiguration").values()
    assert (slack["SlackWorkspaceId"], slack["SlackChannelId"]) == ("T0123ABCD", "C0123ABCD")
    [teams] = full.properties("AWS::Chatbot::MicrosoftTeamsChannelConfiguration").values()
    assert teams["TeamsChannelId"] == "19%3aabc%40thread.tacv2"
    assert (teams["TeamId"][0], teams["TeamsTenantId"][0]) == ("1", "2")
    for channel in (slack, teams):
        assert [shown(topic) for topic in channel["SnsTopicArns"]] == ["AlarmsTopic"]
        assert "CloudWatchReadOnlyAccess" in str(channel["GuardrailPolicies"])


def test_whoever_is_in_a_channel_may_do_nothing(full: Template) -> None:
    for role in ("AlarmsSlackRole", "AlarmsTeamsRole"):
        assert full.allowed(role) == set()
        assert "ManagedPolicyArns" not in full.properties("AWS::IAM::Role")[role]


def test_every_role_may_be_assumed_only_for_this_account(full: Template) -> None:
    for role in full.properties("AWS::IAM::Role").values():
        [statement] = role["AssumeRolePolicyDocument"]["Statement"]
        assert shown(statement["Condition"]["StringEquals"]["aws:SourceAccount"]) == "AWS::AccountId"


def test_eventbridge_may_only_invoke_the_endpoint(full: Template) -> None:
    assert full.allowed("NotifyRole") == {("events:InvokeApiDestination", "NotifyDestinationApiDestination")}


def test_whatever_a_setting_can_add_is_in_the_full_template() -> None:
    assert ALL.keys() >= OFF_BY_DEFAULT


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.detail_type)
def test_an_event_is_sent_for_24_hours_and_kept_if_it_could_not_be(full: Template, kind: type[Notification]) -> None:
    sent = rule(full, kind)
    [target] = sent["Targets"]
    assert shown(sent["EventBusName"]) == "EventBus"
    assert sent["EventPattern"] == {"source": ["codat-freshness"], "detail-type": [kind.detail_type]}
    assert shown(target["Arn"]) == "NotifyDestinationApiDestination"
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 24 * 3600, "MaximumRetryAttempts": 185}
    assert shown(target["DeadLetterConfig"]["Arn"]) == "NotifyDeadLetterQueue"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.detail_type)
def test_what_is_sent_is_flat_and_has_all_that_the_schema_of_the_event_says(
    full: Template, kind: type[Notification]
) -> None:
    detail = example(schema(kind), schema(kind))
    check(kind.detail_type, detail)
    [target] = rule(full, kind)["Targets"]
    event = {"detail-type": kind.detail_type, "time": "2026-11-23T12:00:00Z", "detail": detail}

    sent = transformed(target["InputTransformer"], event)

    assert (sent.pop("event"), sent.pop("time")) == (kind.detail_type, "2026-11-23T12:00:00Z")
    check(kind.detail_type, sent)
    assert sent == detail


def transformed(transformer: Properties, event: dict[str, Any]) -> Any:
    """Return what EventBridge sends: it puts the JSON of each value in the place of its name."""
    assert len(transformer["InputPathsMap"]) <= 100
    values = {name: _at(path, event) for name, path in transformer["InputPathsMap"].items()}
    return json.loads(re.sub(r"<([^>]+)>", lambda found: json.dumps(values[found[1]]), transformer["InputTemplate"]))


def _at(path: str, event: Any) -> Any:
    for key in path.split(".")[1:]:
        event = event[key]
    return event


def example(described: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return a value as a schema describes it."""
    match described:
        case {"$ref": str(name)}:
            return example(root["$defs"][name.rpartition("/")[2]], root)
        case {"const": value} | {"enum": [value, *_]}:
            return value
        case {"anyOf": [first, *_]}:
            return example(first, root)
        case {"type": "object", "properties": dict(properties)}:
            return {name: example(each, root) for name, each in properties.items()}
        case {"type": "object"}:
            return {"plan": "gold"}
        case {"type": "array", "items": dict(items)}:
            return [example(items, root)]
        case {"type": "boolean"}:
            return True
        case {"type": "string", "format": "date-time"}:
            return "2026-11-23T12:00:00.000000Z"
        case _:
            return 'Toft "stores"'


def test_what_could_not_be_sent_raises_an_alarm_and_can_be_redriven(full: Template) -> None:
    [alarm] = [each for name, each in full.properties("AWS::CloudWatch::Alarm").items() if "EventsNotSent" in name]
    [dimension] = alarm["Dimensions"]
    assert shown(dimension["Value"]) == "NotifyDeadLetterQueue"
    assert shown(full.body["Outputs"]["NotifyDeadLetterQueueUrl"]["Value"]) == "NotifyDeadLetterQueue"


def test_the_secret_of_the_endpoint_is_only_named_and_may_be_a_header_or_oauth(full: Template, tmp_path: Path) -> None:
    [header] = full.properties("AWS::Events::Connection").values()
    assert header["AuthParameters"]["ApiKeyAuthParameters"] == {
        "ApiKeyName": "Authorization",
        "ApiKeyValue": "{{resolve:secretsmanager:/CodatFreshness/notify:SecretString:::}}",
    }
    with_oauth = small(tmp_path, notify_url=ALL["notify_url"], notify_token_url="https://example.com/token")
    [oauth] = with_oauth.properties("AWS::Events::Connection").values()
    parameters = oauth["AuthParameters"]["OAuthParameters"]
    assert parameters["AuthorizationEndpoint"] == "https://example.com/token"
    assert parameters["ClientParameters"] == {
        "ClientID": "{{resolve:secretsmanager:/CodatFreshness/notify:SecretString:client_id::}}",
        "ClientSecret": "{{resolve:secretsmanager:/CodatFreshness/notify:SecretString:client_secret::}}",
    }
    # By default, only the events are sent that a person must act on.
    rules = with_oauth.properties("AWS::Events::Rule")
    assert rules.keys() == {"NotifyRelinkNeeded", "NotifyRelinkDueSoon", "NotifyPromiseBroken"}


def test_the_local_aws_gets_none_of_what_it_lacks_and_a_warning_says_so(local_template: Template) -> None:
    assert kinds(local_template) & KINDS_OF_RESOURCES == {"AWS::SNS::Subscription"}
    settings = Deployment.read(ROOT / "deployment.toml", {"local": "true", **ALL})
    assert [each for each in settings.warnings if "notify_url" in each] == [
        "notify_url is left out: the local AWS sends no events to other endpoints."
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"notify_events": "Relink neded"}, "such as 'Relink needed'"),
        ({"notify_url": "http://example.com"}, "notify_url"),
        ({"alarm_https": "example.com"}, "alarm_https"),
        ({"slack_channel": "C0123ABCD"}, "expected slack_workspace with it"),
        ({"slack_workspace": "#alarms", "slack_channel": "C0123ABCD"}, "slack_workspace"),
        ({"teams_channel": "Alarms"}, "expected the link to a channel of Teams"),
    ],
)
def test_a_mistaken_receiver_is_reported_by_name(given: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Deployment.read(ROOT / "deployment.toml", given)
