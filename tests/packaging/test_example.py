"""The example, synthesised from a folder of its own with nothing of ours but the wheel."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from infra import bundling
from tests.infra.template import Template, shown
from tests.packaging.conftest import ROOT

CONTEXT = {"local": "true", "aws:cdk:disable-asset-staging": True}
LOCAL = {"CDK_CONTEXT_JSON": json.dumps(CONTEXT), "CDK_VALIDATION": "false"}
"""The variables with which a deployment to the local AWS runs an app."""


def copied_example(folder: Path) -> Path:
    """Return a copy of the example, which takes the functions' dependencies from the cache of the repository."""
    example = folder / "lender"
    shutil.copytree(ROOT / "examples" / "lender", example)
    bundling.build_for(ROOT / "freshness.toml", ROOT / ".build", local=True)
    (example / ".build").symlink_to(ROOT / ".build")
    return example


def names_in(folder: Path) -> set[str]:
    """Return the names in a folder of a package, without bytecode."""
    return {path.name for path in folder.iterdir()} - {"__pycache__"}


@pytest.fixture(scope="module")
def synthesised(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with what the example's app synthesises."""
    folder = tmp_path_factory.mktemp("example")
    output = folder / "cdk.out"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [installed / "bin" / "python", "app.py"],
        cwd=copied_example(folder),
        env=environment | LOCAL | {"CDK_OUTDIR": str(output)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def template(synthesised: Path) -> Template:
    return Template(json.loads((synthesised / "Lender.template.json").read_text()))


def test_an_app_of_somebody_else_is_synthesised_with_the_wheel(
    installed: Path, synthesised: Path, template: Template, tmp_path: Path
) -> None:
    assert {"ApiUrl", "DecideFunction"} <= template.body["Outputs"].keys()
    assets = json.loads((synthesised / "Lender.assets.json").read_text())["files"].values()
    [archive] = [each["source"]["path"] for each in assets if each["source"]["path"].endswith(".zip")]
    functions = tmp_path / "functions"
    shutil.unpack_archive(synthesised / archive, functions)
    assert "from codat_freshness.app" in (functions / "serve_api.py").read_text()
    assert names_in(functions / "codat_freshness") == names_in(ROOT / "functions" / "freshness")
    program = f"import sys; sys.path.append({str(functions)!r}); import serve_api"
    command = [str(installed / "bin" / "python"), "-I", "-S", "-c", program]
    ran = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_its_state_machine_calls_the_api_with_a_token_and_its_roles_allow_that(template: Template) -> None:
    [machine] = template.properties("AWS::StepFunctions::StateMachine").values()
    ensure = json.loads(shown(machine["DefinitionString"]))["States"]["EnsureFresh"]
    assert ensure["Resource"] == "arn:aws:states:::apigateway:invoke.waitForTaskToken"
    assert ensure["Parameters"]["AuthType"] == "IAM_ROLE"
    assert ensure["Parameters"]["Path.$"] == "States.Format('/companies/{}/ensure-fresh', $.companyId)"
    assert ensure["Parameters"]["RequestBody"]["taskToken.$"] == "$$.Task.Token"
    assert ensure["ResultPath"] == "$.freshness"  # What decides needs the company.
    called = {resource.rpartition("/$default/")[2] for _, resource in template.allowed(shown(machine["RoleArn"]))}
    assert "POST/companies/*/ensure-fresh" in called
    ended = {("states:SendTaskSuccess", "Apply"), ("states:SendTaskFailure", "Apply")}
    for function in ("ServeApi", "ApplyWebhook", "QueueRefreshes"):
        assert ended <= template.allowed(f"Freshness{function}Role")
