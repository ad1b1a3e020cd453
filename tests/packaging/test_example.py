"""The example, synthesised from a folder of its own with nothing of ours but the wheel."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from infra import bundling
from tests.packaging.conftest import ROOT


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


def test_an_app_of_somebody_else_is_synthesised_with_the_wheel(installed: Path, tmp_path: Path) -> None:
    output = tmp_path / "cdk.out"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [installed / "bin" / "python", "app.py"],
        cwd=copied_example(tmp_path),
        env=environment | {"CDK_CONTEXT_JSON": json.dumps({"local": "true"}), "CDK_OUTDIR": str(output)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    template = json.loads((output / "Lender.template.json").read_text())
    assert {"ApiUrl", "DecideFunction"} <= template["Outputs"].keys()
    assets = json.loads((output / "Lender.assets.json").read_text())["files"].values()
    bundles = [output / each["source"]["path"] for each in assets if each["source"]["packaging"] == "zip"]
    functions = next(each for each in bundles if (each / "serve_api.py").exists())
    assert "from codat_freshness.app" in (functions / "serve_api.py").read_text()
    assert names_in(functions / "codat_freshness") == names_in(ROOT / "functions" / "freshness")
    program = f"import sys; sys.path.append({str(functions)!r}); import serve_api"
    command = [str(installed / "bin" / "python"), "-I", "-S", "-c", program]
    ran = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
