"""The size of the bundle that each function has."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure, show
from infra import bundling
from local.settings import ROOT

BOTO3 = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six.py")
"""boto3 and its dependencies."""
MB = 1_000_000


def build() -> Path:
    """Build the deployed bundle for this machine, and return its folder, which `make run` uses as well."""
    return bundling.build(ROOT / "functions", ROOT / "freshness.toml", bundling.THIS_MACHINE, ROOT / ".build")


@contextmanager
def without_bytecode(bundle: Path) -> Iterator[Path]:
    """Yield a copy of a bundle without bytecode, as built by a Python of another version than Lambda's."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "bundle")
        shutil.copytree(bundle, copy, ignore=shutil.ignore_patterns("__pycache__"))
        yield copy


def measure() -> list[Figure]:
    """Measure the bundle for this machine, with and without boto3."""
    bundle = build()
    boto3 = sum(_size(bundle / name) for name in BOTO3)
    return [
        Figure(
            what="bundle unzipped, without boto3",
            value=(_size(bundle) - boto3) / MB,
            unit="MB",
            against="modules and their bytecode",
            at_most=25,
        ),
        Figure(what="bundle unzipped", value=_size(bundle) / MB, unit="MB"),
    ]


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())


if __name__ == "__main__":
    show("Bundle", measure())
