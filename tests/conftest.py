"""How the tests are shared out among processes, and how Hypothesis runs."""

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# How long an example takes depends on what else the machine does.
settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")


class OneForEndToEnd(LoadScopeScheduling):
    """One process runs all end-to-end tests, for which a stack is deployed once, and one all with a browser.

    Any process runs any other test.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/end_to_end/"):
            return "end to end"
        return "browser" if nodeid.startswith("tests/page/test_browser.py") else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneForEndToEnd:
    """Have pytest-xdist share them out so."""
    return OneForEndToEnd(config, log)
