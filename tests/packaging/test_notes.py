import pytest

from tests.packaging.conftest import ROOT
from tests.packaging.notes import notes

CHANGELOG = """# Changelog

## [Unreleased]

- later

## [0.2.0] - 2026-12-01

### Added

- this

## [0.1.0] - 2026-11-30

- before
"""


def test_the_notes_of_a_release_are_its_part_of_the_changelog() -> None:
    assert notes(CHANGELOG, "v0.2.0", "0.2.0") == "### Added\n\n- this"
    assert notes(CHANGELOG, "v0.1.0", "0.1.0") == "- before"


def test_a_tag_of_another_version_is_not_released() -> None:
    with pytest.raises(ValueError, match=r"the tag is v0\.3\.0, and the version in pyproject\.toml is 0\.2\.0"):
        notes(CHANGELOG, "v0.3.0", "0.2.0")


def test_a_version_without_notes_is_not_released() -> None:
    with pytest.raises(ValueError, match=r"CHANGELOG\.md has nothing about 0\.3\.0"):
        notes(CHANGELOG, "v0.3.0", "0.3.0")


def test_the_changelog_has_parts_that_can_be_released() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
