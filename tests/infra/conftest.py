"""Syntheses of the stack.

The CDK is imported where it is used: every process collects these tests, and importing it starts a Node.js.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from freshness.domain.transitions.notifications import KINDS
from infra.settings import Deployment
from tests.infra.template import Template

ROOT = Path(__file__).parents[2]
DEADLINE = """
[[deadlines]]
name = "at nine"
by = "09:00"
fresh_within = "2 hours"
data_types = ["balanceSheet"]
"""
TEAMS = "https://teams.microsoft.com/l/channel/19%3aabc%40thread.tacv2/Alarms?groupId=1b2c3d4e-5f60-4789-8abc-def012345678&tenantId=2b2c3d4e-5f60-4789-8abc-def012345678"
ALL = {
    "alarm_email": "oncall@example.com",
    "alarm_https": "https://events.pagerduty.com/integration/key/enqueue",
    "slack_workspace": "T0123ABCD",
    "slack_channel": "C0123ABCD",
    "teams_channel": TEAMS,
    "notify_url": "https://example.com/events",
    "notify_events": ", ".join(kind.detail_type for kind in KINDS),
    "policy_source": "deployed only",
    "kms_key": "arn:aws:kms:eu-west-2:111122223333:key/1b2c3d4e-5f60-4789-8abc-def012345678",
    "lambda_insights": "true",
    "dashboard": "true",
    "protect_tables": "true",
    "task_tokens_of": "arn:aws:states:eu-west-2:111122223333:stateMachine:decide",
    "webhook_addresses": "4.159.114.108 20.117.190.191",
    "webhook_header": "X-Our-Key",
}
"""Whatever a setting can add. OAuth takes the place of the header, and is tried in a stack of its own."""


def synthesise(folder: Path, *, has_deadlines: bool = False, is_validated: bool = False, **context: str) -> Template:
    """Return the template with the settings of `deployment.toml`, overridden by `context`, and with a dummy bundle.

    cdk-nag's AwsSolutions pack checks it, and fails the synthesis if it finds anything; unless it is for a local AWS,
    which speaks HTTP. If it `is_validated`, the CDK's own rules check it too, which takes a second.
    """
    from aws_cdk import App, Validations
    from cdk_nag import AwsSolutionsChecks

    from infra.freshness_stack import FreshnessStack

    bundle = folder / "bundle"
    bundle.mkdir()
    (bundle / "check_freshness.py").touch()
    defaults: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = App(
        outdir=str(folder / "cdk.out"), context=defaults | context, builtin_cloud_formation_validation=is_validated
    )
    if has_deadlines:
        policy = folder / "freshness.toml"
        policy.write_text((ROOT / "freshness.toml").read_text() + DEADLINE)
        context["policy"] = str(policy)
    stack = FreshnessStack(app, Deployment.read(ROOT / "deployment.toml", context), bundle)
    if context.get("local") != "true":
        Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return Template(app.synth().get_stack_by_name(stack.stack_name).template, folder / "cdk.out")


@pytest.fixture(scope="session", autouse=True)
def _template_of_all(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    """Synthesise here what tests of other folders need too: their processes then need not start the CDK."""
    if worker_id != "master":
        from tests.integration.roles import synthesise_once

        synthesise_once(tmp_path_factory.getbasetemp().parent)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Return the template that is deployed to AWS, for a policy with deadlines."""
    return synthesise(
        tmp_path_factory.mktemp("aws"),
        has_deadlines=True,
        is_validated=True,
        dashboard="true",
        check_schedule="cron(0/10 * * * ? *)",
        time_zone="Europe/London",
    )


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Return the template of a stack that tells everybody, and has whatever else a setting adds."""
    return synthesise(tmp_path_factory.mktemp("full"), has_deadlines=True, is_validated=True, **ALL)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Return the template without deadlines, dashboard, budget and pause at the start, and with other limits.

    Its policy names a platform that Codat does not have.
    """
    folder = tmp_path_factory.mktemp("bare")
    policy = folder / "freshness.toml"
    policy.write_text('[default]\nfresh_within = "1 day"\n[[rules]]\nname = "a"\nplatforms = ["Xerro"]\nweight = 2\n')
    return synthesise(
        folder,
        policy=str(policy),
        monthly_budget="0",
        start_paused="false",
        webhooks_per_second="50",
        webhooks_at_once="200",
        api_calls_per_second="10",
        api_calls_at_once="20",
        webhook_batches_at_once="30",
        waiting_callers="40",
    )


@pytest.fixture(scope="session")
def local_template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Return the template that is deployed to a local AWS, with whatever else a setting adds there."""
    given: dict[str, Any] = ALL | {"local": "true", "dry_run": "true", "protect_tables": "false"}
    return synthesise(tmp_path_factory.mktemp("local"), **given)
