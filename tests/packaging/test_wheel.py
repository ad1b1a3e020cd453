import ast
import subprocess
import tomllib
import zipfile
from collections.abc import Callable
from email.parser import Parser
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hatch_build
from tests.packaging.conftest import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]
BASE = {"aws-lambda-powertools", "boto3", "httpx", "pydantic"}
EVERY_MODULE = """
import importlib, pathlib, codat_freshness
root = pathlib.Path(codat_freshness.__file__).parent
for path in sorted(root.rglob("*.py")):
    parts = path.relative_to(root.parent).with_suffix("").parts
    if path.name != "__main__.py":
        importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
print(root)
"""


def metadata(wheel: Path) -> dict[str, list[str]]:
    """Return the values of each field of the wheel's metadata."""
    with zipfile.ZipFile(wheel) as files:
        [name] = [name for name in files.namelist() if name.endswith("METADATA")]
        message = Parser().parsestr(files.read(name).decode())
    return {field: message.get_all(field) or [] for field in message}


def test_everything_in_the_wheel_is_below_one_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        paths = [PurePosixPath(name) for name in files.namelist()]
    assert {path.parts[0].partition("-")[0] for path in paths} == {"codat_freshness"}
    assert PurePosixPath("codat_freshness/py.typed") in paths
    assert PurePosixPath("codat_freshness/app/page/page.html") in paths
    assert not [path for path in paths if {"tests", "local", "codat_sandbox", "__pycache__"} & set(path.parts)]


def test_the_version_is_that_of_the_project(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata(wheel)["Version"] == [project["version"]]


def test_without_extras_it_needs_four_packages(wheel: Path) -> None:
    required = [each for each in metadata(wheel)["Requires-Dist"] if "extra ==" not in each]
    assert {Requirement(each).name for each in required} == BASE


def test_without_extras_the_client_imports_nothing_else(run: Run) -> None:
    # Where click is installed, httpx imports a command line of its own.
    program = "import sys; sys.modules['click'] = None; import codat_freshness.client; print(*sys.modules)"
    done = run("python", "-c", program)
    assert done.returncode == 0, done.stderr
    distributions, modules = packages_distributions(), {name.partition(".")[0] for name in done.stdout.split()}
    imported = {canonicalize_name(distributions[name][0]) for name in (modules - {"click"}) & distributions.keys()}
    assert {"boto3", "httpx", "pydantic"} <= imported <= needed(BASE)


def needed(packages: set[str]) -> set[str]:
    """Return packages with those that they need, without extras."""
    found, left = set[str](), list(packages)
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            requirements = [Requirement(each) for each in requires(name) or ()]
            left += [
                canonicalize_name(each.name)
                for each in requirements
                if not each.marker or each.marker.evaluate({"extra": ""})
            ]
    return found


def test_every_module_can_be_imported_from_the_installed_wheel(run: Run, installed: Path) -> None:
    done = run("python", "-W", "error", "-c", EVERY_MODULE)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed)


def test_no_module_of_the_wheel_imports_a_package_of_the_repository(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        modules = {name: files.read(name).decode() for name in files.namelist() if name.endswith(".py")}
    assert len(modules) > 100
    packages = {folder.name for folder in ROOT.iterdir() if any(folder.glob("*.py"))} | hatch_build.NAMES.keys()
    for name, module in modules.items():
        for node in ast.walk(ast.parse(module)):
            imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            assert not {each.partition(".")[0] for each in imported} & packages, name


def test_only_imports_are_renamed() -> None:
    module = 'from freshness.a import x  # freshness\nif x:\n    from cli.a import (\n        b\n    )\n"from infra"\n'
    renamed = module.replace("from freshness.", "from codat_freshness.").replace("cli", "codat_freshness.cli")
    assert hatch_build.renamed(module, Path("m.py")) == renamed


def test_an_import_that_cannot_be_renamed_fails_the_build() -> None:
    with pytest.raises(ValueError, match=r"^m\.py:1: expected 'from … import'"):
        hatch_build.renamed("import freshness.domain\n", Path("m.py"))


def test_the_packages_that_it_needs_are_those_that_it_is_tested_with(wheel: Path) -> None:
    for requirement in map(Requirement, metadata(wheel)["Requires-Dist"]):
        assert requirement.extras or requirement.specifier.contains(version(requirement.name)), requirement


def test_the_command_line_finds_its_stack_and_its_policy_from_any_folder(run: Run) -> None:
    local = run("codat-freshness", "--local", "status")
    assert local.returncode == 1
    assert local.stderr.startswith("codat-freshness: No local run is running")
    assert run("codat-freshness", "policy", "reference").stdout == (ROOT / "docs" / "policy.md").read_text()


def test_the_command_line_says_which_extra_is_missing(run: Run) -> None:
    program = "import sys; sys.modules['typer'] = None; from codat_freshness.cli.__main__ import main; main()"
    done = run("python", "-c", program)
    assert (done.returncode, done.stderr) == (
        1,
        'The package typer is missing: pip install "codat-freshness[cli]".\n',
    )
