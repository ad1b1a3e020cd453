import json
import os
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_app(tmp_path: Path, **context: str) -> subprocess.CompletedProcess[str]:
    """Run the app as the CDK CLI does, with the context and the output folder in environment variables."""
    environment = os.environ | {
        "CDK_CONTEXT_JSON": json.dumps(context),
        "CDK_OUTDIR": str(tmp_path / "cdk.out"),
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
    }
    return subprocess.run(
        [sys.executable, ROOT / "app.py"], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_an_invalid_policy_fails_the_synthesis_with_its_line(tmp_path: Path) -> None:
    policy = tmp_path / "mistaken.toml"
    policy.write_text('[default]\nfresh_within = "6 ours"\n')
    before = os.times()
    app = run_app(tmp_path, policy=str(policy))
    after = os.times()
    assert app.returncode == 2
    # The CDK alone takes several seconds of processor time to import.
    assert after.children_user + after.children_system - before.children_user - before.children_system < 2
    assert f"{policy}:2: " in app.stderr
    assert "Traceback" not in app.stderr
    assert not (tmp_path / "cdk.out" / "CodatFreshness.template.json").exists()


def test_the_app_writes_the_template(tmp_path: Path) -> None:
    app = run_app(tmp_path, local="true")
    assert (app.returncode, app.stdout) == (0, "")
    template = json.loads((tmp_path / "cdk.out" / "CodatFreshness.template.json").read_text())
    assert "WebhookUrl" in template["Outputs"]


def test_the_context_of_cdk_has_all_recommended_feature_flags() -> None:
    spec = find_spec("aws_cdk")
    assert spec
    assert spec.origin
    [archive] = (Path(spec.origin).parent / "_jsii").glob("aws-cdk-lib@*.jsii.tgz")
    with tarfile.open(archive) as files:
        member = files.extractfile("package/recommended-feature-flags.json")
        assert member
        recommended = json.load(member)
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    assert recommended.keys() <= context.keys()


def test_without_the_virtual_environment_the_app_says_what_to_do() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    app = subprocess.run(
        [sys.executable, "-S", ROOT / "app.py"], env=environment, capture_output=True, text=True, check=False
    )
    assert app.returncode == 2
    assert app.stderr.startswith("The package ")
    assert "virtual environment" in app.stderr
    assert len(app.stderr.splitlines()) == 1
