from pathlib import Path

from infra.removals import removals
from tests.infra.conftest import synthesise
from tests.infra.template import Template


def test_a_deployment_of_the_same_settings_removes_nothing(template: Template) -> None:
    assert removals(template.body, template.body) == []


def test_a_first_deployment_removes_nothing(template: Template) -> None:
    assert removals({}, template.body) == []


def test_what_forgotten_settings_had_added_is_listed(template: Template, tmp_path: Path) -> None:
    deployed = synthesise(tmp_path, alarm_email="oncall@example.com", webhook_header="X-Our-Key")
    found = [name.rsplit(" ", 1)[0] for name in removals(deployed.body, template.body)]
    assert found == [
        "AWS::SNS::Subscription",
        "variable WEBHOOK_HEADER of",
        "variable WEBHOOK_HEADER_SECRET of",
    ]
