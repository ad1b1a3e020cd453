"""A local run against a server that follows Codat's description, but sends no rate limit headers."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from rich.console import Console

from codat_sandbox.server import running_sandbox
from freshness.app.reading.views import FleetView
from local.codat import Codat
from local.display import summary
from local.run import calls_between


class Plain(BaseHTTPRequestHandler):
    """Responds to everything with empty sync settings and no other header than the length."""

    def do_GET(self) -> None:
        body = b'{"settings": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def base_url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Plain) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_remaining_calls_are_unknown_without_rate_limit_headers(base_url: str) -> None:
    codat = Codat(base_url, api_key="key", signing_secret="", is_sandbox=False)

    assert codat.remaining_calls() is None


def test_the_remaining_calls_are_those_that_the_headers_report() -> None:
    with running_sandbox() as sandbox:
        codat = Codat(sandbox.base_url, sandbox.api_key, signing_secret="", is_sandbox=True)

        before, after = codat.remaining_calls(), codat.remaining_calls()

    assert before is not None
    assert calls_between(before, after) == 0


@pytest.mark.parametrize(("before", "after"), [(None, None), (None, 5), (5, None)])
def test_the_summary_leaves_out_the_number_of_calls_where_it_is_unknown(before: int | None, after: int | None) -> None:
    console = Console(width=120)
    calls = calls_between(before, after)

    with console.capture() as capture:
        console.print(summary(FleetView(()), 2, calls, codat_hours={}, dry_run=True))

    assert "2 refreshes were queued.\n" in capture.get().replace(" \n", "\n")
