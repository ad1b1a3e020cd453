"""The wheel, built once, and installed beside the packages of the environment that runs the tests."""

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def built(project: Path, folder: Path) -> Path:
    """Return the wheel of the project in a folder, built in another."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def install(folder: Path, *wheels: Path) -> Path:
    """Create a virtual environment with wheels, in which the packages of this environment can be imported."""
    venv.create(folder, symlinks=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    target = ["--python", str(folder / "bin" / "python")]
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", *target, "install", *options, *map(str, wheels)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a virtual environment with the wheel, in which the packages of this environment can be imported."""
    return install(tmp_path_factory.mktemp("environment"), wheel)


@pytest.fixture(scope="session")
def run(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs a command of that environment in an empty folder."""
    folder = tmp_path_factory.mktemp("empty")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "AWS_REGION")}

    def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [installed / "bin" / command, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
