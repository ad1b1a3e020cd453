"""The parts of the bill that the template decides."""

from tests.infra.template import Template


def test_alarms_watch_at_most_14_metrics_and_one_more_if_the_policy_has_deadlines(template: Template) -> None:
    alarms = template.properties("AWS::CloudWatch::Alarm").values()
    watched = [sum("MetricStat" in each for each in alarm.get("Metrics", ())) or 1 for alarm in alarms]
    assert sum(watched) <= 14 + 1


def test_no_secret_is_charged(template: Template) -> None:
    assert "secretsmanager" not in str(template.body).lower()


def test_no_resource_has_a_key_of_kms_whose_calls_are_charged(template: Template) -> None:
    assert "KmsMasterKeyId" not in str(template.body)
    assert "KMSMasterKeyId" not in str(template.body)
