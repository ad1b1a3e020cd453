"""Limits that keep what runs in Lambda easy to enter."""

import ast
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).parents[2] / "functions"
MODULES = sorted(FUNCTIONS.rglob("*.py"))
FOLDERS = sorted({module.parent for module in MODULES})
LONGEST_MODULE = 400
MOST_MODULES = 12
LONGEST_FUNCTION = 60


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(FUNCTIONS)))
def test_modules_and_functions_are_short(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(FUNCTIONS)))
def test_a_folder_holds_few_modules(folder: Path) -> None:
    assert len([module for module in folder.glob("*.py") if module.name != "__init__.py"]) <= MOST_MODULES
