"""An HTTP server that invokes the API's function as API Gateway's HTTP API does, apart from the signature of a call."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from uuid import uuid4

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.typing import LambdaContext

import serve_api
from freshness.app.api.api import api
from freshness.app.api.routes import Route
from stack_access.api import api_event

TIMEOUT = timedelta(seconds=29)
"""The timeout of the function: the HTTP API waits for 30 seconds."""
ROUTES = re.compile("|".join(re.sub(r"\{\w+\}", "[^/]+", route) for route in Route))
Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


class _ByThread(APIGatewayHttpResolver):
    """Keeps the current call of each thread. Powertools keeps one for the process, since Lambda runs one at a time."""

    _calls = threading.local()

    @property
    def context(self) -> dict[str, Any]:  # type: ignore[override]
        return cast(dict[str, Any], vars(self._calls).setdefault("context", {}))

    @property
    def current_event(self) -> APIGatewayProxyEventV2:  # type: ignore[override]
        return cast(APIGatewayProxyEventV2, self._calls.event)

    def _to_proxy_event(self, event: dict[str, Any]) -> APIGatewayProxyEventV2:
        self._calls.event = super()._to_proxy_event(event)
        return self.current_event


api.__class__ = _ByThread


def context(remaining: timedelta = timedelta(minutes=5)) -> LambdaContext:
    made = LambdaContext()
    vars(made).update(
        _function_name="test",
        _invoked_function_arn="test",
        _memory_limit_in_mb=512,
        _aws_request_id=uuid4().hex,
        get_remaining_time_in_millis=lambda: int(remaining / timedelta(milliseconds=1)),
    )
    return made


@contextmanager
def serving(handler: Handler = serve_api.handler) -> Iterator[str]:
    """Serve the API on a free port, and yield its URL. The header `X-Test-Caller` names the caller."""

    class Gateway(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if ROUTES.fullmatch(f"{self.command} {self.path.partition('?')[0]}"):
                caller = self.headers.get("X-Test-Caller", "arn:aws:iam::123456789012:user/test")
                path, headers = self.path.partition("?")[0], dict(self.headers.items())
                event = api_event(self.command, path, body=body, headers=headers, caller=caller)
                response = handler(event, context(TIMEOUT))
            else:
                response = {"statusCode": 404, "headers": {}, "body": '{"message":"Not Found"}'}
            data = response["body"].encode()
            self.send_response(response["statusCode"])
            for name, value in response["headers"].items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
