"""Syntheses of the stack.

The CDK is imported where it is used: every process collects these tests, and importing it starts a Node.js.
"""

import json
from pathlib import Path
from typing import Any

import pytest

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


def synthesise(folder: Path, *, has_deadlines: bool = False, **context: str) -> Template:
    """Return the template with the settings of `deployment.toml`, overridden by `context`, and with a dummy bundle.

    cdk-nag's AwsSolutions pack checks it, and fails the synthesis if it finds anything; unless it is for a local AWS,
    which speaks HTTP.
    """
    from aws_cdk import App, Validations
    from cdk_nag import AwsSolutionsChecks

    from infra.freshness_stack import FreshnessStack

    bundle = folder / "bundle"
    bundle.mkdir()
    (bundle / "check_freshness.py").touch()
    defaults: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = App(outdir=str(folder / "cdk.out"), context=defaults | context)
    if has_deadlines:
        policy = folder / "freshness.toml"
        policy.write_text((ROOT / "freshness.toml").read_text() + DEADLINE)
        context["policy"] = str(policy)
    stack = FreshnessStack(app, Deployment.read(ROOT / "deployment.toml", context), bundle)
    if context.get("local") != "true":
        Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return Template(app.synth().get_stack_by_name(stack.stack_name).template)


@pytest.fixture(scope="session", autouse=True)
def _template_of_all(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    """Synthesise here what tests of other folders need too: their processes then need not start the CDK."""
    if worker_id != "master":
        from tests.integration.roles import synthesise_once

        synthesise_once(tmp_path_factory.getbasetemp().parent)


@pytest.fixture(scope="session")
def synthesised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the synthesis for AWS."""
    return tmp_path_factory.mktemp("aws")


@pytest.fixture(scope="session")
def template(synthesised: Path) -> Template:
    """Return the template that is deployed to AWS, for a policy with deadlines."""
    return synthesise(
        synthesised,
        has_deadlines=True,
        dashboard="true",
        check_schedule="cron(0/10 * * * ? *)",
        time_zone="Europe/London",
    )


@pytest.fixture(scope="session")
def local_template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Return the template that is deployed to a local AWS."""
    return synthesise(tmp_path_factory.mktemp("local"), local="true", dry_run="true", dashboard="true")
