"""How large the bundle is that each function unpacks when it starts."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure, show
from infra import bundling
from local.settings import ROOT

OF_BOTO3 = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six.py")
"""boto3 and what it brings."""
MB = 1_000_000


def build() -> Path:
    """The real bundle, for this machine, where `make run` keeps it."""
    return bundling.build(ROOT / "functions", ROOT / "freshness.toml", bundling.THIS_MACHINE, ROOT / ".build")


@contextmanager
def without_bytecode(bundle: Path) -> Iterator[Path]:
    """A copy of a bundle without compiled modules: what an interpreter other than Lambda's own builds."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "bundle")
        shutil.copytree(bundle, copy, ignore=shutil.ignore_patterns("__pycache__"))
        yield copy


def measure() -> list[Figure]:
    """The sizes of the bundle for this machine, with and without what boto3 brings."""
    bundle = build()
    boto3 = sum(_size(bundle / name) for name in OF_BOTO3)
    return [
        Figure(
            what="bundle unzipped, boto3 excepted",
            value=(_size(bundle) - boto3) / MB,
            unit="MB",
            against="modules and their bytecode",
            at_most=25,
        ),
        Figure(what="bundle unzipped, whole", value=_size(bundle) / MB, unit="MB"),
    ]


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())


if __name__ == "__main__":
    show("Bundle", measure())
