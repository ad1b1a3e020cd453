from typing import Any

from infra.removals import removals

TICK = {"Type": "AWS::Lambda::Function", "Properties": {"Environment": {"Variables": {"KEPT": "1"}}}}


def template(**resources: Any) -> dict[str, Any]:
    return {"Resources": resources}


def test_what_forgotten_settings_had_added_is_listed() -> None:
    asked = {"Type": TICK["Type"], "Properties": {"Environment": {"Variables": {"KEPT": "2", "WEBHOOK_HEADER": "X"}}}}
    deployed = template(Tick=asked, Table={"Type": "AWS::DynamoDB::Table"}, Mail={"Type": "AWS::SNS::Subscription"})
    new = template(Tick=TICK, Table={"Type": "AWS::DynamoDB::Table"}, Added={"Type": "AWS::SQS::Queue"})

    assert removals(deployed, new) == ["AWS::SNS::Subscription Mail", "variable WEBHOOK_HEADER of Tick"]
    assert removals(new, new) == []


def test_a_first_deployment_removes_nothing() -> None:
    assert removals({}, template(Tick=TICK)) == []
