import pytest

from tests.infra.template import Template, shown

TICKS = {"CheckFreshness": "cron(0/10 * * * ? *)", "QueueRefreshes": "cron(* * * * ? *)"}


@pytest.mark.parametrize("tick", TICKS)
def test_a_tick_runs_at_the_times_of_its_schedule_in_the_time_zone(template: Template, tick: str) -> None:
    schedule = template.properties("AWS::Scheduler::Schedule")[f"Schedules{tick}"]
    assert schedule["ScheduleExpression"] == TICKS[tick]
    assert schedule["ScheduleExpressionTimezone"] == "Europe/London"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert shown(schedule["Target"]["Arn"]) == f"{tick}Function"


@pytest.mark.parametrize("tick", TICKS)
def test_a_tick_that_cannot_start_is_retried_once_and_one_that_fails_is_not(template: Template, tick: str) -> None:
    target = template.properties("AWS::Scheduler::Schedule")[f"Schedules{tick}"]["Target"]
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 1, "MaximumEventAgeInSeconds": 300}
    assert shown(target["DeadLetterConfig"]["Arn"]) == "SchedulesDeadLetterQueue"
    configuration = template.properties("AWS::Lambda::EventInvokeConfig")[f"{tick}FunctionEventInvokeConfig"]
    assert shown(configuration["FunctionName"]) == f"{tick}Function"
    assert configuration["MaximumRetryAttempts"] == 0
    assert configuration["MaximumEventAgeInSeconds"] == 300


def test_the_schedules_may_invoke_the_ticks_and_write_to_the_dead_letter_queue(template: Template) -> None:
    assert template.allowed("SchedulesRole") == {
        ("lambda:InvokeFunction", "CheckFreshnessFunction"),
        ("lambda:InvokeFunction", "QueueRefreshesFunction"),
        ("sqs:SendMessage", "SchedulesDeadLetterQueue"),
    }


def test_only_schedules_of_this_account_may_assume_the_role(template: Template) -> None:
    [statement] = template.properties("AWS::IAM::Role")["SchedulesRole"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "scheduler.amazonaws.com"}
    condition = statement["Condition"]["StringEquals"]
    assert shown(condition["aws:SourceAccount"]) == "AWS::AccountId"
    assert shown(condition["aws:SourceArn"]).endswith(":schedule-group/default")


@pytest.mark.parametrize("tick", TICKS)
def test_a_schedule_is_created_once_its_role_may_invoke_the_tick(template: Template, tick: str) -> None:
    """EventBridge Scheduler refuses a target that its role may not invoke yet."""
    schedule = template.resources("AWS::Scheduler::Schedule")[f"Schedules{tick}"]
    depends_on = {shown({"Ref": name}) for name in schedule["DependsOn"]}
    assert depends_on >= {"SchedulesRole", "SchedulesRoleDefaultPolicy"}
