import json
import re

from freshness.aws.metrics import NAMESPACE, Metric
from tests.infra.template import Template, shown

QUESTIONS = [
    "Is the promise kept?",
    "Is the quota enough?",
    "Does Codat respond?",
    "Do webhooks arrive?",
    "Does it run?",
    "What does it cost?",
]


def body(template: Template) -> str:
    [dashboard] = template.properties("AWS::CloudWatch::Dashboard").values()
    return shown(dashboard["DashboardBody"])


def test_each_question_has_a_row(template: Template) -> None:
    assert re.findall(r"## ([^\"]+)", body(template)) == QUESTIONS


def test_the_page_is_a_widget_that_invokes_its_function(template: Template) -> None:
    [widget] = [each for each in json.loads(body(template))["widgets"] if each["type"] == "custom"]
    assert (widget["properties"]["endpoint"], widget["y"]) == ("ShowPageFunction", 0)


def test_the_dashboard_shows_no_metric_that_is_charged(template: Template) -> None:
    assert NAMESPACE not in {namespace for namespace, _ in re.findall(r'\["([\w/]+)","(\w+)"', body(template))}


def test_the_dashboard_queries_counts_from_the_log_records_of_the_functions(template: Template) -> None:
    queried = set(re.findall(r"counts\.(\w+)", body(template)))
    assert len(queried) > 15
    assert queried <= set(Metric)


def test_the_dashboard_has_no_more_metrics_than_a_free_one_may_have(template: Template) -> None:
    series = re.findall(r'\["(?:AWS/\w+|CodatFreshness)","', body(template))
    assert 20 < len(series) <= 50


def test_there_is_a_dashboard_only_if_it_is_asked_for_because_it_costs(bare: Template) -> None:
    assert bare.properties("AWS::CloudWatch::Dashboard") == {}
