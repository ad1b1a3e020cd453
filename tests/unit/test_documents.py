"""What documents promise is what the code does, and the files that pip installs from."""

import json
import os
import re
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from freshness.app.api import models
from freshness.app.checking.check_freshness import LIST_EVERY
from freshness.app.ensure.accept import MOST_IN_AN_HOUR
from freshness.app.webhook_heartbeat import SILENT_AFTER
from freshness.aws.dynamodb.item_codec import DATASETS_KEPT, DELETED_FEEDS_KEPT
from freshness.aws.metrics import LOW_QUOTA
from freshness.codat.reachability import SEVERAL
from freshness.domain import backoff
from freshness.domain.companies.company import REFUSED_AGAIN_AFTER, WARN_OF_CONSENT
from freshness.domain.companies.listing import ABSENT_AGAIN_AFTER, CONFIRMED_FOR, FEW, SHARE
from freshness.domain.datasets.sync_history import LONGEST_SYNC
from freshness.domain.feeds.feed import MAX_LATE_AFTER
from freshness.domain.feeds.schedule import RETRY_AFTER_REFUSAL, RETRY_WITHOUT_PERMISSIONS
from freshness.policy.file.values import SHORTEST_RETENTION

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = 90
"""How many lines a page has at most."""
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("examples/*/*.md"), ROOT / "codat-sandbox/README.md"]
)
WORDS = {1: "a", 2: "two", 5: "five", 6: "six", 7: "seven", 10: "ten"}
UNITS = {"day": timedelta(days=1), "hour": timedelta(hours=1), "minute": timedelta(minutes=1)}


def in_words(duration: timedelta) -> str:
    """Return a duration as the documentation writes it: `ten minutes`."""
    unit, number = next((unit, duration / each) for unit, each in UNITS.items() if duration >= each)
    return f"{WORDS[int(number)]} {unit}{'s' * (number > 1)}"


@pytest.mark.parametrize(
    ("document", "promise"),
    [
        ("codat.md", f"every {LIST_EVERY / UNITS['minute']:g} minutes"),
        ("data.md", f"why a read failed | {DATASETS_KEPT.days} days"),
        ("data.md", f"and {DELETED_FEEDS_KEPT.days} days"),
        ("data.md", f"what was answered | {SHORTEST_RETENTION.days} days"),
        ("ensure-fresh.md", f"wait up to {models.LONGEST_WAIT.seconds} seconds"),
        ("ensure-fresh.md", f"`deadline`, {in_words(models.LATEST_DEADLINE)} ahead at most"),
        ("ensure-fresh.md", f"the state of a request, for {in_words(SHORTEST_RETENTION)}"),
        ("ensure-fresh.md", f"`asOf` is {LONGEST_SYNC / UNITS['minute']:g} minutes before the end"),
        ("ensure-fresh.md", f"a caller makes more than {MOST_IN_AN_HOUR:,} requests an hour"),
        ("events.md", f"it is {LONGEST_SYNC / UNITS['minute']:g} minutes before that"),
        ("events.md", f"did not answer for {in_words(MAX_LATE_AFTER)}"),
        ("events.md", f"was refused (`AuthError`), {REFUSED_AGAIN_AFTER / UNITS['minute']:g} minutes or more after"),
        ("events.md", f"ends within {WARN_OF_CONSENT.days} days"),
        ("operate.md", f"after {backoff.FIRST.seconds} seconds at first and twice as long after each further failure"),
        ("operate.md", f"up to {backoff.LONGEST / UNITS['hour']:g} hours, give or take a quarter"),
        ("operate.md", f"as by 403, waits {in_words(backoff.FIRST_REFUSED).replace('a hour', 'an hour')} at first"),
        ("operate.md", f"ended with `AuthError`, {RETRY_AFTER_REFUSAL / UNITS['minute']:g} minutes"),
        ("operate.md", f"one with `PermissionsError`, {in_words(RETRY_WITHOUT_PERMISSIONS)}."),
        ("operate.md", f"calls about {WORDS[SEVERAL]} companies in a row fail"),
        ("operate.md", f"if a second list, {in_words(ABSENT_AGAIN_AFTER)} or more after the first"),
        ("operate.md", f"What comes back within {DELETED_FEEDS_KEPT.days} days continues with its history"),
        (
            "operate.md",
            f"more than {SHARE:.0%}".replace("%", " %") + f" of what is known,** and more than {WORDS[FEW]}:",
        ),
        ("operate.md", f"For {in_words(CONFIRMED_FOR)}, lists are then believed"),
        ("operate.md", f"`QuotaNearlySpent` | Less than {LOW_QUOTA} % of today's calls"),
        ("webhooks.md", f"no webhook has arrived for {SILENT_AFTER / UNITS['minute']:g} minutes"),
    ],
)
def test_a_document_promises_what_the_code_does(document: str, promise: str) -> None:
    assert promise in " ".join((DOCS / document).read_text(encoding="utf-8").split())


@pytest.mark.parametrize("path", ["try", "deploy", "operate"])
def test_each_of_the_three_paths_is_a_page(path: str) -> None:
    assert len((DOCS / f"{path}.md").read_text(encoding="utf-8").splitlines()) <= PAGE


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_of_a_document_is_dead(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = document.parent / path if path else document
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


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
