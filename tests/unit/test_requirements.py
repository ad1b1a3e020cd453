"""The files that pip installs from."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^([\w-]+)(?:\[[^\]]*\])?==(\S+)", re.MULTILINE)


def pinned(file: Path) -> dict[str, str]:
    """Return the versions in a file of requirements, by package."""
    return dict(PINNED.findall(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("functions/requirements.lock", ["functions/requirements.txt"]),
        ("requirements.lock", ["functions/requirements.txt", "requirements.txt"]),
        ("tests/sandbox/official_client.lock", ["tests/sandbox/official_client.txt"]),
        ("requirements-dev.lock", ["functions/requirements.txt", "requirements.txt", "requirements-dev.txt"]),
    ],
)
def test_a_lock_has_the_versions_of_its_requirements_with_hashes(lock: str, requirements: list[str]) -> None:
    locked = pinned(ROOT / lock)
    required = {name: version for file in requirements for name, version in pinned(ROOT / file).items()}
    assert required
    # If this fails: the command in the lock's second line writes it again.
    assert required.items() <= locked.items()
    blocks = re.split(r"\n(?=[\w-]+==)", (ROOT / lock).read_text(encoding="utf-8"))[1:]
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


def test_who_deploys_installs_what_was_tested() -> None:
    tested = pinned(ROOT / "requirements-dev.lock")
    assert pinned(ROOT / "requirements.lock").items() <= tested.items()
    assert "pip install -r requirements.lock" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_make_run_needs_no_package_of_the_tests() -> None:
    run = pinned(ROOT / "requirements.lock")
    assert not run.keys() & {"pytest", "playwright", "hypothesis", "mypy", "numpy", "matplotlib", "cfn-lint"}
    assert json.loads((ROOT / "package.json").read_text())["devDependencies"].keys() == {"aws-cdk"}


def test_make_installs_only_packages_whose_hashes_are_known() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in makefile.splitlines() if "pip install" in line]
    assert installs
    assert all("--require-hashes -r" in line for line in installs)
    assert re.findall(r"^\$\(\w+\): (requirements\S*)", makefile, re.MULTILINE) == [
        "requirements.lock",
        "requirements-dev.lock",
    ]


@pytest.mark.parametrize(
    ("version", "status", "message"),
    [(18, 2, "Node.js 20 or newer is needed"), (20, 0, "warning: Node.js 20 gets no more security fixes"), (22, 0, "")],
)
def test_make_warns_of_an_old_node_and_refuses_one_that_is_older(
    tmp_path: Path, version: int, status: int, message: str
) -> None:
    node = tmp_path / "node"
    # It answers the comparisons of the Makefile as a Node.js of that version would.
    node.write_text(f'#!/bin/sh\nleast=$(echo "$2" | sed "s/.*< \\([0-9]*\\).*/\\1/")\n[ {version} -ge "$least" ]\n')
    node.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    done = subprocess.run(
        ["make", "--no-print-directory", "node"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == status
    assert message in done.stderr
    assert bool(done.stderr) is bool(message)
