"""What the settings about the policy and the start of a stack add to its functions."""

from tests.infra.template import Template

LOADING = ("CheckFreshness", "QueueRefreshes", "ApplyWebhook", "ServeApi", "ShowPage", "ActOnPage")


def test_no_function_that_loads_a_policy_takes_a_pushed_one_if_only_deployed_ones_are_to_be_in_force(
    template: Template, full: Template
) -> None:
    for function in LOADING:
        assert full.variables(function)["POLICY_SOURCE"] == "deployed only"
        assert "POLICY_SOURCE" not in template.variables(function)


def test_a_new_stack_starts_paused_and_its_last_output_says_what_to_do(template: Template, bare: Template) -> None:
    assert template.variables("CheckFreshness")["START_PAUSED"] == "true"
    assert template.variables("QueueRefreshes")["START_PAUSED"] == "true"
    outputs = template.body["Outputs"]
    assert max(outputs) == "WhatIsNext"  # The CDK prints them in this order.
    assert "./freshness plan" in outputs["WhatIsNext"]["Value"]

    assert "START_PAUSED" not in bare.variables("QueueRefreshes")
    assert "WhatIsNext" not in bare.body["Outputs"]
