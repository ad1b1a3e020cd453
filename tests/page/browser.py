"""A real Chromium, from the npm package `@sparticuz/chromium`, which carries it for Linux on x86-64."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
_PACKAGES = ROOT / "tests" / "node_modules"
AXE = _PACKAGES / "axe-core" / "axe.min.js"
_FOLDER = _PACKAGES / ".cache" / "chromium"
_UNPACK = 'import chromium from "@sparticuz/chromium"; await chromium.executablePath()'
_LONGEST_WAIT = 240_000
"""Milliseconds until a test gives up waiting for the page, also on a machine that is busy with other tests."""
_OPTIONS = ("--no-sandbox", "--no-zygote", "--disable-gpu", "--disable-software-rasterizer", "--in-process-gpu")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser during the `with` block. Where there is none, the tests are skipped; in CI, they fail."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        _unavailable("its npm package has it for Linux on x86-64 only")
    _unpack()
    # Libraries that a machine without a desktop lacks are in the package, too.
    environment = {**os.environ, "LD_LIBRARY_PATH": str(_FOLDER / "al2023" / "lib")}
    expect.set_options(timeout=_LONGEST_WAIT)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=_FOLDER / "chromium", args=_OPTIONS, env=dict(environment)
            )
        except Error as error:
            _unavailable(error.message.splitlines()[0])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str) -> Iterator[Page]:
    """Open a page during the `with` block, in which the browser must report no error."""
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            errors.append(message.text)

    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(_LONGEST_WAIT)
    page = context.new_page()
    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(error.message))
    page.goto(url)
    yield page
    context.close()
    assert errors == []


def violations(page: Page, *, rules: Sequence[str] = ()) -> list[str]:
    """Return what axe finds wrong with a page, by these of its rules or by all."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    options = {"runOnly": list(rules)} if rules else {}
    found = page.evaluate("options => axe.run(options).then(results => results.violations)", options)
    return [f"{each['id']}: {node['html'][:200]} {node['failureSummary']}" for each in found for node in each["nodes"]]


def _unpack() -> None:
    if (_FOLDER / "chromium").exists():
        return
    _FOLDER.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(_FOLDER), "AWS_LAMBDA_JS_RUNTIME": "nodejs22.x"}
    command = ["node", "--input-type=module", "--eval", _UNPACK]
    run = subprocess.run(command, cwd=ROOT / "tests", env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        _unavailable(f'it could not be unpacked ("make install" installs it): {run.stderr.strip()[-200:]}')


def _unavailable(reason: str) -> None:
    message = f"No Chromium for the tests of the page: {reason}."
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
