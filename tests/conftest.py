"""How the tests are shared out among processes."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


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
