import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.settings import Settings
from infra.stack import CodatFreshness
from tests.infra.template import Template

ROOT = Path(__file__).parents[2]


def synthesise(folder: Path, *, has_deadlines: bool = False, **context: str) -> Template:
    """Return the template with the settings of `deployment.toml`, overridden by `context`, and with a dummy bundle.

    cdk-nag's AwsSolutions pack checks it, and fails the synthesis if it finds anything; unless it is for a local AWS,
    which speaks HTTP.
    """
    bundle = folder / "bundle"
    bundle.mkdir()
    (bundle / "check_freshness.py").touch()
    defaults: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = App(outdir=str(folder / "cdk.out"), context=defaults | context)
    stack = CodatFreshness(app, Settings.read(ROOT / "deployment.toml", context), bundle, has_deadlines=has_deadlines)
    if context.get("local") != "true":
        Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return Template(app.synth().get_stack_by_name(stack.stack_name).template)


@pytest.fixture(scope="session")
def synthesised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the synthesis for AWS."""
    return tmp_path_factory.mktemp("aws")


@pytest.fixture(scope="session")
def template(synthesised: Path) -> Template:
    """Return the template that is deployed to AWS, for a policy with deadlines."""
    return synthesise(synthesised, has_deadlines=True, check_schedule="cron(0/10 * * * ? *)", time_zone="Europe/London")


@pytest.fixture(scope="session")
def local_template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Return the template that is deployed to a local AWS."""
    return synthesise(tmp_path_factory.mktemp("local"), local="true", dry_run="true")
