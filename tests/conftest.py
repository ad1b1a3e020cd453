"""How the tests are shared out among processes, and how Hypothesis runs."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from freshness.aws.event_bus import EventBus
from tests.event_schemas import check

# How long an example takes depends on what else the machine does.
settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")


@pytest.fixture(scope="session", autouse=True)
def _events_follow_their_schemas() -> Iterator[None]:
    """Compare everything that is published with its schema in `docs/schemas`, in simulations too."""
    put = EventBus._put

    def checked(bus: EventBus, entries: Any) -> None:
        for entry in entries:
            check(entry["DetailType"], json.loads(entry["Detail"]))
        put(bus, entries)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EventBus, "_put", checked)
        yield


GROUPS = {
    "tests/end_to_end/": "deployed once",
    "tests/infra/": "synthesised once",
    "tests/packaging/": "built once",
}
"""The tests that one process runs, because what they share takes long to set up, by how their ids begin."""
ALONE = tuple(f"tests/end_to_end/test_{name}.py" for name in ("display", "failures", "real_codat", "upgrade"))
"""Tests that do not share what their group does."""


class GroupScheduling(LoadScopeScheduling):
    """One process runs all tests of a group, the largest group first. Any process runs any other test.

    A group is also each file whose tests share a fixture of their module.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        others = file if _shares(file) else nodeid
        groups = (group for start, group in GROUPS.items() if nodeid.startswith(start))
        return others if nodeid.startswith(ALONE) else next(groups, others)


@cache
def _shares(file: str) -> bool:
    return 'scope="module"' in (Path(__file__).parents[1] / file).read_text(encoding="utf-8")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupScheduling:
    """Have pytest-xdist share them out so."""
    return GroupScheduling(config, log)
