"""The notes of a release: the part of CHANGELOG.md about a version."""

import re
import sys
import tomllib

from tests.packaging.conftest import ROOT


def notes(changelog: str, tag: str, version: str) -> str:
    """Return the notes of the version that a tag names.

    Raises:
        ValueError: the tag names another version than the project's, or the changelog has nothing about it.
    """
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, and the version in pyproject.toml is {version}")
    parts = re.split(r"^## \[(.+?)\].*\n", changelog, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True)).get(version, "").strip()
    if not found:
        raise ValueError(f"CHANGELOG.md has nothing about {version}")
    return found


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    print(notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), sys.argv[1], project["version"]))
