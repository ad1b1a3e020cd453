"""The pages of benchmarks, how stale figures are told, and the optimum that the planner is compared with."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from bench import goals, results
from bench.__main__ import ALL
from bench.figures import Figure, Topic
from bench.optimum import best_refreshes, mean_freshness
from bench.results import Measured, digest_of, files_of, load, page_for_maintainers, page_for_users, save, stale

CALLS = Figure(what="calls", topic=Topic.CALLS, value=22, unit="calls", against="a cron job", floor=44, at_most=0.4)
INNER = Figure(what="modules", value=25, unit="", at_most=25)
MEASURED = {
    "calls": Measured(
        on=date(2026, 11, 30), commit="HEAD", code="1", python="3.14.0", seconds=90, figures=(CALLS, INNER)
    ),
}
CODE = "rank = 1\ndef use():\n    return rank\n"


def test_every_benchmark_has_figures_with_their_date_and_commit() -> None:
    measured = load()

    assert measured.keys() == set(ALL)
    assert all(each.commit and each.figures for each in measured.values())


def test_both_pages_are_written_from_what_was_measured() -> None:
    measured = load()

    assert (results.FOLDER / "results.md").read_text() == page_for_users(measured)
    assert (results.FOLDER / "details.md").read_text() == page_for_maintainers(measured)


def test_figures_are_kept_as_they_were_measured(tmp_path: Path) -> None:
    save(MEASURED, ["calls"], tmp_path)

    assert load(tmp_path) == MEASURED


def test_users_see_what_they_ask_beside_a_rival_and_maintainers_see_everything_with_its_target() -> None:
    for_users, for_maintainers = page_for_users(MEASURED), page_for_maintainers(MEASURED)

    assert "## Calls to Codat\n" in for_users
    assert "| calls | 22 calls | a cron job: 44 calls | 0.50 |\n" in for_users
    assert "modules" not in for_users
    assert "## calls\n\n30 November 2026, commit HEAD, Python 3.14.0.\n" in for_maintainers
    assert "| calls | 22 calls | a cron job: 44 calls | 0.50 | at most 0.4 x | NO |\n" in for_maintainers
    assert "Targets missed: 1." in for_maintainers


def test_each_goal_stands_beside_what_was_measured_now_and_before() -> None:
    waiting = replace(CALLS, what="calls of DynamoDB for a caller who waits", value=60, floor=None)

    row = next(line for line in goals.markdown([CALLS, waiting]).splitlines() if line.startswith("| 1 |"))

    assert "| 400 | 60 calls | at most 60 |" in row
    assert "not measured yet" in goals.markdown([])


def test_a_figure_without_a_topic_is_for_maintainers_only() -> None:
    only_inner = {"calls": MEASURED["calls"].model_copy(update={"figures": (replace(CALLS, topic=None),)})}

    assert "##" not in page_for_users(only_inner)


def test_a_benchmark_speaks_of_the_code_that_it_imports() -> None:
    files = files_of("units")

    assert {"bench/units.py", "functions/freshness/app/webhooks.py"} <= set(files)
    assert not any(file.startswith("tests/") for file in files)


@pytest.mark.parametrize(
    "unchanged",
    [
        '"""A module."""\nrank = 1\n"""Of feeds."""\ndef use():\n    """Use it."""\n    return rank\n',
        "rank = 1  # of feeds\n\n\ndef use():\n    return (\n        rank\n    )\n",
    ],
    ids=["docstrings", "comments and line breaks"],
)
def test_rewording_leaves_what_was_measured_as_new_as_its_code(unchanged: str, tmp_path: Path) -> None:
    assert _digest(tmp_path, unchanged) == _digest(tmp_path, CODE)


@pytest.mark.parametrize("changed", [CODE.replace("1", "2"), CODE.replace("1", "None"), CODE.replace("use", "used")])
def test_code_that_changed_makes_what_was_measured_of_it_stale(changed: str, tmp_path: Path) -> None:
    assert _digest(tmp_path, changed) != _digest(tmp_path, CODE)


def test_figures_are_stale_if_the_code_of_their_benchmark_is_another() -> None:
    now = MEASURED["calls"].model_copy(update={"code": digest_of(files_of("year"))})

    assert stale({"year": now}) == []
    assert stale({"year": MEASURED["calls"]}) == ["year"]


@pytest.mark.parametrize("name", ["cold_starts", "lambda_runtime", "page"])
def test_a_benchmark_of_the_functions_is_stale_once_their_code_changes(name: str) -> None:
    assert "functions/freshness/app/record.py" in files_of(name)


def _digest(folder: Path, code: str) -> str:
    (folder / "planner.py").write_text(code)
    return digest_of(["planner.py"], folder)


RATES = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
EQUAL = np.ones(5)


def test_the_optimal_rates_are_those_published_by_cho_and_garcia_molina() -> None:
    best = best_refreshes(RATES, EQUAL, 5.0)

    assert best == pytest.approx([1.150, 1.358, 1.354, 1.138, 0.000], abs=5e-4)
    assert mean_freshness(RATES, EQUAL, best) == pytest.approx(0.3739, abs=5e-5)


def test_equal_rates_and_rates_proportional_to_changes_are_worse() -> None:
    assert mean_freshness(RATES, EQUAL, EQUAL) == pytest.approx(0.3651, abs=5e-5)
    assert mean_freshness(RATES, EQUAL, RATES / 3) == pytest.approx(0.3167, abs=5e-5)


def test_a_higher_weight_gives_a_higher_rate() -> None:
    best = best_refreshes(np.ones(2), np.array([1.0, 4.0]), 3.0)

    assert best.sum() == pytest.approx(3.0)
    assert best[1] > best[0]
