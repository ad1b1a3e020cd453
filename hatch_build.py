"""Lays the folders of the repository out as one package, `codat_freshness`, when a wheel is built.

The repository has them as top-level packages, whose names are too common for a wheel. Absolute imports of them are the
only text that changes.
"""

import ast
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "codat_freshness"
FOLDERS = {
    "functions/freshness": "",
    "cli": "cli",
    "infra": "infra",
    "stack_access": "stack_access",
    "estimate": "estimate",
}
"""Where each package of the repository is in the wheel's package."""
HANDLERS = "functions"
"""The folder of the handlers, which have no package of their own."""
DATA = ("functions/requirements.lock", "docs/policy.toml")
"""Files that have the same place in the repository and in the package."""
NAMES = {Path(folder).name: ".".join(filter(None, (PACKAGE, place))) for folder, place in FOLDERS.items()}
"""The name in the wheel of each package of the repository."""


class CustomBuildHook(BuildHookInterface[Any]):
    """Lets hatchling take the package from a folder where it is laid out."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - as hatchling calls it
        """Lay the package out in a temporary folder, and name the folder to hatchling."""
        self._folder = tempfile.mkdtemp()
        lay_out(Path(self.root), Path(self._folder))
        build_data["force_include"][self._folder] = PACKAGE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Delete the temporary folder."""
        shutil.rmtree(self._folder)


def lay_out(root: Path, target: Path) -> None:
    """Copy the folders of the repository to a folder as they are in the package, with their imports renamed."""
    for folder, place in FOLDERS.items():
        for source in (root / folder).rglob("*"):
            if source.is_file() and "__pycache__" not in source.parts:
                _copy(source, target / place / source.relative_to(root / folder))
    for source in (root / HANDLERS).glob("*.py"):
        _copy(source, target / HANDLERS / source.name)
    for name in DATA:
        _copy(root / name, target / name)
    (target / "py.typed").touch()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".py":
        target.write_text(renamed(source.read_text(encoding="utf-8"), source), encoding="utf-8")
    else:
        shutil.copyfile(source, target)


def renamed(module: str, path: Path) -> str:
    """Return the source of a module with `from` imports of the repository's packages renamed.

    Raises:
        ValueError: the module has `import` statements of these packages, which would bind different names.
    """
    lines = module.splitlines(keepends=True)
    for node in ast.walk(ast.parse(module)):
        if isinstance(node, ast.Import) and any(each.name.partition(".")[0] in NAMES for each in node.names):
            raise ValueError(f"{path}:{node.lineno}: expected 'from … import' for a package of this repository")
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            name = node.module.partition(".")[0]
            if name in NAMES:
                line, start = lines[node.lineno - 1], node.col_offset + len("from ")
                lines[node.lineno - 1] = line[:start] + NAMES[name] + line[start + len(name) :]
    return "".join(lines)
