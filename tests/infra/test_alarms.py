import re

import pytest

from freshness.aws.metrics import DIMENSION, NAMESPACE, Metric
from tests.infra.conftest import ROOT, synthesise
from tests.infra.template import Properties, Template, shown

FUNCTIONS = {"check_freshness", "queue_refreshes", "receive_webhook", "apply_webhook"}
AWS_METRICS = {
    ("AWS/Lambda", "Errors", "FunctionName"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName"),
}
WATCHED = {
    "PromisesBroken",
    "DataTooOld",
    "RefreshesNotTaken",
    "QuotaNearlySpent",
    *(f"No{tick}" for tick in ("CheckFreshness", "QueueRefreshes")),
    *(f"{tick}Overrunning" for tick in ("CheckFreshness", "QueueRefreshes")),
    *(f"{tick}KeyRefused" for tick in ("CheckFreshness", "QueueRefreshes")),
    *(f"{tick}AccountRefused" for tick in ("CheckFreshness", "QueueRefreshes")),
    *(f"{name}Failing" for name in ("CheckFreshness", "QueueRefreshes", "ReceiveWebhook", "ApplyWebhook")),
    "WebhooksSilent",
    "SignaturesFailing",
    "TicksNotStarted",
    "WebhooksNotApplied",
    *(f"ManyCompaniesBlocked{name}" for name in ("CheckFreshness", "ApplyWebhook")),
}


def alarms(template: Template) -> dict[str, Properties]:
    return {name.removeprefix("Alarms"): alarm for name, alarm in template.properties("AWS::CloudWatch::Alarm").items()}


def documented_alarms() -> dict[str, str]:
    """Return what `docs/operating.md` says of each alarm: what it means, and what to do."""
    _, section = (ROOT / "docs" / "operating.md").read_text().split("\n## Alarms\n")
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {name: f"{meaning} {remedy}" for names, meaning, remedy in rows for name in re.findall(r"`(\w+)`", names)}


def test_the_stack_has_these_alarms(template: Template) -> None:
    assert alarms(template).keys() == WATCHED


@pytest.mark.parametrize("name", sorted(WATCHED))
def test_an_alarm_watches_a_metric_that_is_emitted(template: Template, name: str) -> None:
    alarm = alarms(template)[name]
    [dimension] = alarm["Dimensions"]
    if alarm["Namespace"] == NAMESPACE:
        assert alarm["MetricName"] in set(Metric)
        assert dimension["Name"] == DIMENSION
        assert dimension["Value"] in FUNCTIONS
    else:
        assert (alarm["Namespace"], alarm["MetricName"], dimension["Name"]) in AWS_METRICS
        assert "Fn::GetAtt" in dimension["Value"] or "Ref" in dimension["Value"]


@pytest.mark.parametrize("name", sorted(WATCHED))
def test_an_alarm_has_a_description_and_notifies_the_topic(template: Template, name: str) -> None:
    alarm = alarms(template)[name]
    assert alarm["AlarmDescription"].count(".") >= 2
    assert [shown(action) for action in alarm["AlarmActions"]] == ["AlarmsTopic"]
    assert alarm["OKActions"] == alarm["AlarmActions"]


def test_the_manuals_table_has_the_descriptions_of_all_alarms(template: Template) -> None:
    descriptions = {name: alarm["AlarmDescription"] for name, alarm in alarms(template).items()}
    assert documented_alarms() == descriptions


@pytest.mark.parametrize("name", sorted(WATCHED))
def test_only_the_alarms_on_missing_ticks_treat_missing_data_as_breaching(template: Template, name: str) -> None:
    missing = alarms(template)[name]["TreatMissingData"]
    assert missing == ("breaching" if name in ("NoCheckFreshness", "NoQueueRefreshes") else "notBreaching")


def test_a_tick_is_missing_after_the_longest_time_between_two_ticks(template: Template) -> None:
    assert alarms(template)["NoQueueRefreshes"]["Period"] == 15 * 60


def test_cloudwatch_may_publish_to_the_topic_and_tls_is_required(template: Template) -> None:
    [policy] = template.properties("AWS::SNS::TopicPolicy").values()
    allowed, denied = sorted(policy["PolicyDocument"]["Statement"], key=lambda statement: str(statement["Effect"]))
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allowed["Action"] == "sns:Publish"
    assert shown(allowed["Condition"]["StringEquals"]["aws:SourceAccount"]) == "AWS::AccountId"
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_alarms_are_mailed_only_to_the_configured_address(
    template: Template, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert template.properties("AWS::SNS::Subscription") == {}
    with_email = synthesise(tmp_path_factory.mktemp("email"), alarm_email="oncall@example.com")
    [subscription] = with_email.properties("AWS::SNS::Subscription").values()
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "oncall@example.com")
    assert shown(subscription["TopicArn"]) == "AlarmsTopic"
