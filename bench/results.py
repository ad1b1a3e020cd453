"""What benchmarks measured, with the date and the commit: `measured.json`, and the two pages that are written from it.

A digest of the code that a benchmark ran tells later whether its figures are older than the code.

`results.md` is for users: figures by topic, each with what it is compared with. `details.md` has all, by benchmark.
"""

import ast
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from bench import goals
from bench.figures import Figure, Topic, markdown

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
OURS = ("functions/", "codat-sandbox/", "simulate/", "estimate/", "bench/")
"""The folders of the code that benchmarks run."""
DEPLOYED = {"cold_starts", "lambda_runtime"}
"""Benchmarks that run the functions in other processes, and do not import them."""
NOT_MEASURED = {"bench/__init__.py", "bench/figures.py", "bench/goals.py", "bench/results.py"}
"""Files that show figures, and change none."""
_LISTED = """
import importlib, sys
importlib.import_module("bench." + sys.argv[1])
print(*(each.__file__ for each in list(sys.modules.values()) if getattr(each, "__file__", None)), sep="\\n")
"""


class Measured(BaseModel):
    """The figures of a benchmark, with the date, the commit and the code of the measurement."""

    model_config = ConfigDict(frozen=True)

    on: date
    commit: str
    code: str
    """`digest_of` the benchmark's files."""
    python: str
    seconds: float
    """By how much it prolongs a run of all."""
    figures: tuple[Figure, ...]


_ADAPTER = TypeAdapter(dict[str, Measured])


def measured_now(name: str, figures: Sequence[Figure], seconds: float) -> Measured:
    """Return figures that a benchmark just measured, with the present date, commit and code."""
    return Measured(
        on=datetime.now(UTC).date(),
        commit=_output("git", "rev-parse", "--short=12", "HEAD").strip(),
        code=digest_of(files_of(name)),
        python=platform.python_version(),
        seconds=round(seconds, 1),
        figures=tuple(figures),
    )


def load(folder: Path = FOLDER) -> dict[str, Measured]:
    """Return what was measured, by benchmark."""
    return _ADAPTER.validate_json((folder / "measured.json").read_bytes())


def save(measured: Mapping[str, Measured], names: Iterable[str], folder: Path = FOLDER) -> None:
    """Write what was measured, and both pages, in the order of the names."""
    kept = {name: measured[name] for name in names if name in measured}
    (folder / "measured.json").write_bytes(_ADAPTER.dump_json(kept, indent=1, exclude_defaults=True) + b"\n")
    (folder / "results.md").write_text(page_for_users(kept), "utf-8")
    (folder / "details.md").write_text(page_for_maintainers(kept), "utf-8")


def page_for_users(measured: Mapping[str, Measured]) -> str:
    """Return the page for users: by topic, each figure with what it is compared with."""
    parts = [
        f"# What it does for you, measured\n\nWritten by `make bench`, on {platform.machine()} with two processors, "
        "against a local AWS and the Codat sandbox: nothing here was measured on a real account. Each figure stands "
        "beside a rival or a floor that was measured in the same run. The ratio is of the two. "
        "[`details.md`](details.md) has all figures and their targets, with the date and the commit of each, and "
        "[`README.md`](README.md) what was assumed.\n"
    ]
    for topic in Topic:
        figures = [figure for each in measured.values() for figure in each.figures if figure.topic is topic]
        if figures:
            parts.append(f"\n## {topic.value}\n\n{markdown(figures, with_targets=False)}")
    return "".join(parts)


def page_for_maintainers(measured: Mapping[str, Measured]) -> str:
    """Return the page of all figures, by benchmark, with their targets."""
    missed = [figure for each in measured.values() for figure in each.figures if not figure.is_met]
    took = sum(each.seconds for each in measured.values())
    figures = [figure for each in measured.values() for figure in each.figures]
    parts = [
        f"# All figures\n\nWritten by `make bench`; a run of all takes {took / 60:.0f} minutes on two processors. A "
        f"ratio is the figure divided by the one it is compared with. Targets missed: {len(missed)}.\n"
        f"\n## Goals\n\n{goals.markdown(figures)}"
    ]
    for name, each in measured.items():
        parts.append(f"\n## {name}\n\n{each.on:%d %B %Y}, commit {each.commit}, Python {each.python}.\n\n")
        parts.append(markdown(each.figures))
    return "".join(parts)


def stale(measured: Mapping[str, Measured]) -> list[str]:
    """Return the benchmarks whose code has changed since they were measured."""
    return [name for name, each in measured.items() if each.code != digest_of(files_of(name))]


def files_of(name: str) -> list[str]:
    """Return our own files that a benchmark runs."""
    files = [Path(line) for line in _output(sys.executable, "-c", _LISTED, name).splitlines()]
    if name in DEPLOYED:
        files += (ROOT / "functions").rglob("*.py")
    ours = {str(file.relative_to(ROOT)) for file in files if file.is_relative_to(ROOT)}
    return sorted(file for file in ours - NOT_MEASURED if file.startswith(OURS))


def digest_of(files: Iterable[str], folder: Path = ROOT) -> str:
    """Return a digest of the statements in files, which comments, docstrings and line breaks do not change."""
    digest = sha256()
    for file in files:
        digest.update(f"{file} {_statements(ast.parse((folder / file).read_bytes()))}\n".encode())
    return digest.hexdigest()[:16]


def _statements(node: object) -> object:
    """Return the syntax below a node without texts that stand alone, and without empty fields.

    Newer versions of Python add fields, which are empty in older code.
    """
    match node:
        case ast.AST():
            fields = [(name, _statements(value)) for name, value in ast.iter_fields(node) if value not in (None, [])]
            return (type(node).__name__, fields)
        case list():
            return [_statements(each) for each in node if not _is_text(each)]
        case _:
            return node


def _is_text(node: object) -> bool:
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case _:
            return False


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own code
