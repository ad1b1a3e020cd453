import re

from freshness.aws.metrics import NAMESPACE, Metric
from tests.infra.template import Template, shown

QUESTIONS = [
    "Is the promise kept?",
    "Is the quota enough?",
    "Is Codat well?",
    "Are webhooks coming?",
    "Does it run?",
    "What does it cost?",
]


def body(template: Template) -> str:
    [dashboard] = template.properties("AWS::CloudWatch::Dashboard").values()
    return shown(dashboard["DashboardBody"])


def test_each_question_has_a_row(template: Template) -> None:
    assert re.findall(r"## ([^\"]+)", body(template)) == QUESTIONS


def test_the_dashboard_shows_metrics_that_are_emitted(template: Template) -> None:
    shown_metrics = set(re.findall(rf'\["{NAMESPACE}","(\w+)","service","\w+"', body(template)))
    assert len(shown_metrics) > 20
    assert shown_metrics <= set(Metric)
