"""The app that the CDK CLI runs. The end-to-end tests deploy what it writes."""

import json
import os
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_an_invalid_policy_fails_the_synthesis_with_its_line(tmp_path: Path) -> None:
    policy = tmp_path / "mistaken.toml"
    policy.write_text('[default]\nfresh_within = "6 ours"\n')
    environment = os.environ | {
        "CDK_CONTEXT_JSON": json.dumps({"policy": str(policy)}),
        "CDK_OUTDIR": str(tmp_path / "cdk.out"),
    }
    before = os.times()
    app = subprocess.run(
        [sys.executable, ROOT / "app.py"], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    after = os.times()
    assert (app.returncode, app.stdout) == (2, "")
    # The CDK alone takes several seconds of processor time to import.
    assert after.children_user + after.children_system - before.children_user - before.children_system < 2
    assert f"{policy}:2: " in app.stderr
    assert "Traceback" not in app.stderr
    assert not (tmp_path / "cdk.out" / "CodatFreshness.template.json").exists()


def test_the_context_of_cdk_has_all_recommended_feature_flags() -> None:
    spec = find_spec("aws_cdk")
    assert spec
    assert spec.origin
    [archive] = (Path(spec.origin).parent / "_jsii").glob("aws-cdk-lib@*.jsii.tgz")
    with tarfile.open(archive, "r|gz") as files:
        member = files.extractfile(
            next(each for each in files if each.name == "package/recommended-feature-flags.json")
        )
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
