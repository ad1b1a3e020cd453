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


def test_there_is_an_alarm_for_each_thing_that_goes_wrong(template: Template) -> None:
    assert alarms(template).keys() == WATCHED


@pytest.mark.parametrize("name", sorted(WATCHED))
def test_an_alarm_reads_a_metric_that_there_is(template: Template, name: str) -> None:
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
def test_an_alarm_says_what_is_wrong_and_what_to_do_and_tells_the_topic(template: Template, name: str) -> None:
    alarm = alarms(template)[name]
    assert alarm["AlarmDescription"].count(".") >= 2
    assert [shown(action) for action in alarm["AlarmActions"]] == ["AlarmsTopic"]
    assert alarm["OKActions"] == alarm["AlarmActions"]


@pytest.mark.parametrize("name", sorted(WATCHED))
def test_the_manual_says_what_an_alarm_asks_for(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "operating.md").read_text()


@pytest.mark.parametrize("name", sorted(WATCHED))
def test_only_a_missing_tick_is_told_by_missing_data(template: Template, name: str) -> None:
    missing = alarms(template)[name]["TreatMissingData"]
    assert missing == ("breaching" if name in ("NoCheckFreshness", "NoQueueRefreshes") else "notBreaching")


def test_a_tick_is_missed_after_the_longest_time_between_two(template: Template) -> None:
    assert alarms(template)["NoQueueRefreshes"]["Period"] == 15 * 60


def test_cloudwatch_may_publish_alarms_and_no_one_without_tls(template: Template) -> None:
    [policy] = template.properties("AWS::SNS::TopicPolicy").values()
    allowed, denied = sorted(policy["PolicyDocument"]["Statement"], key=lambda statement: str(statement["Effect"]))
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allowed["Action"] == "sns:Publish"
    assert shown(allowed["Condition"]["StringEquals"]["aws:SourceAccount"]) == "AWS::AccountId"
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_no_one_is_told_by_mail_unless_named(template: Template, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert template.properties("AWS::SNS::Subscription") == {}
    told = synthesise(tmp_path_factory.mktemp("email"), alarm_email="oncall@example.com")
    [subscription] = told.properties("AWS::SNS::Subscription").values()
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "oncall@example.com")
    assert shown(subscription["TopicArn"]) == "AlarmsTopic"
