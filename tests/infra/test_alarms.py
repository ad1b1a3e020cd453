import re

from freshness.app.policy_in_force import NOT_LOADED
from freshness.aws import metrics
from freshness.aws.metrics import DIMENSION, NAMESPACE
from tests.infra.conftest import ROOT
from tests.infra.template import Properties, Template, shown

AWS_METRICS = {("AWS/Lambda", "Errors", "FunctionName"), ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName")}
WATCHED = {
    "ErrorBudgetBurning",
    "DataTooOld",
    "DeadlinesAtRisk",
    "RefreshesNotQueued",
    "QuotaNearlySpent",
    "AccessRefused",
    "ListingDoubted",
    "TicksOverrunning",
    "CheckFreshnessFailing",
    "QueueRefreshesFailing",
    "FunctionsFailing",
    "WebhooksSilent",
    "SignaturesFailing",
    "WebhooksNotApplied",
    "ManyCompaniesBlocked",
}


def alarms(template: Template) -> dict[str, Properties]:
    return {name.removeprefix("Alarms"): alarm for name, alarm in template.properties("AWS::CloudWatch::Alarm").items()}


def documented_alarms() -> dict[str, str]:
    """Return what `docs/operate.md` says of each alarm: what it means, and what to do."""
    _, section = (ROOT / "docs" / "operate.md").read_text().split("\n## Alarms\n")
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {name: f"{meaning} {remedy}" for names, meaning, remedy in rows for name in re.findall(r"`(\w+)`", names)}


def test_the_stack_has_these_alarms(template: Template) -> None:
    assert alarms(template).keys() == WATCHED


def test_deadlines_are_watched_only_if_the_policy_has_any(bare: Template) -> None:
    assert alarms(bare).keys() == WATCHED - {"DeadlinesAtRisk"}


def metrics_of(alarm: Properties) -> list[Properties]:
    """Return the metrics that an alarm watches, by itself or in an expression."""
    stats = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", ()) if "MetricStat" in each]
    return stats or [alarm]


def test_an_alarm_watches_metrics_that_are_emitted(template: Template) -> None:
    for metric in (each for name in WATCHED - {"FunctionsFailing"} for each in metrics_of(alarms(template)[name])):
        [dimension] = metric["Dimensions"]
        if metric["Namespace"] == NAMESPACE:
            assert metric["MetricName"] in metrics.WATCHED
            assert (dimension["Name"], dimension["Value"]) == (DIMENSION, "CodatFreshness")
        else:
            assert (metric["Namespace"], metric["MetricName"], dimension["Name"]) in AWS_METRICS
            assert "Fn::GetAtt" in dimension["Value"] or "Ref" in dimension["Value"]


def test_one_alarm_watches_the_failed_runs_and_the_policies_not_loaded_that_are_counted_in_the_logs_of_all_functions(
    template: Template,
) -> None:
    alarm = alarms(template)["FunctionsFailing"]
    filters = template.properties("AWS::Logs::MetricFilter").values()
    assert {shown(each["LogGroupName"]) for each in filters} == {f"{name}Logs" for name in template.functions}
    for each in filters:
        assert each["FilterPattern"] == (
            f'{{ (($.type = "platform.report") && ($.record.status != "success")) || ($.message = "{NOT_LOADED}") }}'
        )
        [counted] = each["MetricTransformations"]
        assert (counted["MetricNamespace"], counted["MetricName"]) == (alarm["Namespace"], alarm["MetricName"])
        assert counted["MetricValue"] == "1"
    assert (alarm["Namespace"], alarm.get("Dimensions")) == (f"{NAMESPACE}/CodatFreshness", None)


def test_every_emitted_metric_is_watched_by_an_alarm(template: Template) -> None:
    watched = {metric["MetricName"] for alarm in alarms(template).values() for metric in metrics_of(alarm)}
    assert watched >= metrics.WATCHED


def test_every_alarm_notifies_the_topic_and_only_those_on_ticks_treat_missing_data_as_breaching(
    template: Template,
) -> None:
    for name, alarm in alarms(template).items():
        assert [shown(action) for action in alarm["AlarmActions"]] == ["AlarmsTopic"]
        assert alarm["OKActions"] == alarm["AlarmActions"]
        is_of_tick = name in ("CheckFreshnessFailing", "QueueRefreshesFailing")
        assert alarm["TreatMissingData"] == ("breaching" if is_of_tick else "notBreaching")


def test_the_manuals_table_has_the_descriptions_of_all_alarms(full: Template) -> None:
    descriptions = {name: alarm["AlarmDescription"] for name, alarm in alarms(full).items()}
    assert documented_alarms() == descriptions
    assert all(each.count(".") >= 2 for each in descriptions.values())


def test_a_tick_is_missing_after_the_longest_time_between_two_ticks(template: Template) -> None:
    assert alarms(template)["QueueRefreshesFailing"]["Period"] == 15 * 60


def test_cloudwatch_and_the_budget_may_publish_to_the_topic_and_tls_is_required(template: Template) -> None:
    [policy] = template.properties("AWS::SNS::TopicPolicy").values()
    allowed, denied = sorted(policy["PolicyDocument"]["Statement"], key=lambda statement: str(statement["Effect"]))
    assert allowed["Principal"] == {"Service": ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]}
    assert allowed["Action"] == "sns:Publish"
    assert shown(allowed["Condition"]["StringEquals"]["aws:SourceAccount"]) == "AWS::AccountId"
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
