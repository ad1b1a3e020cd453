"""A server of the page on this machine: the page, the explanation of each feed, and links that are read when clicked.

It answers only this machine's own browser. What it shows is read again for each request. Its buttons do what the
commands `refresh`, `pause` and `resume` do.
"""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.operations import Operations, Paused
from freshness.app.page.read import page_view
from freshness.app.page.refresh import refresh_worst
from freshness.app.page.render import Frame, Medium, render, render_explanations, render_text
from freshness.app.page.view import Selection
from freshness.app.reading.diagnosis import Turn
from freshness.app.reading.queries import NotFound, Queries
from freshness.domain.clean_text import shown
from freshness.domain.companies.pause import LONGEST_REASON, Pause, in_force

LOOPBACK = "127.0.0.1"
_LONGEST_FORM = 10_000
_LENGTHS = {"1h": timedelta(hours=1), "4h": timedelta(hours=4), "1d": timedelta(days=1), "7d": timedelta(days=7)}
"""How long a pause lasts, by the value that a form sends."""
NO_PAGE = "There is no such page."
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; frame-src {frames}; "
    "script-src 'nonce-{nonce}'; form-action 'self' https: http:; base-uri 'none'; frame-ancestors 'none'"
)
"""The security policy of every response. A browser also applies `form-action` to the address of a redirect."""


def page_url(port: int) -> str:
    """Return the address of the page that is served on a port."""
    return f"http://{LOOPBACK}:{port}/"


class Source(Protocol):
    """What the page is read from, and who acts on it."""

    @property
    def queries(self) -> Queries:
        """Return the queries about companies and feeds."""

    @property
    def operations(self) -> Operations:
        """Return what carries out what the buttons ask for."""

    def link(self, company_id: str, connection_id: str) -> str:
        """Return the link where the customer authorises a connection again, empty if there is none."""


class PageServer(ThreadingHTTPServer):
    """The server of the page. Port 0 takes any free port. `console` is the address of a Codat sandbox's console."""

    daemon_threads = True

    def __init__(self, source: Source, port: int, update_every: timedelta, console: str = "") -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.console = console
        self.source = source
        self.update_every = update_every

    @property
    def url(self) -> str:
        """Return the address of the page."""
        return page_url(self.server_port)


@contextmanager
def serving(source: Source, port: int, update_every: timedelta, console: str = "") -> Iterator[PageServer]:
    """Serve the page during the `with` block.

    Raises:
        OSError: the port cannot be used.
    """
    with PageServer(source, port, update_every, console) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        """Answer with the page, or with a feed's explanation."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Do what a button of the page asks for. Only a click reads a link, which may be valid for a single use."""
        if self.headers.get("Origin") in {self.server.url.rstrip("/"), f"http://localhost:{self.server.server_port}"}:
            self._answer(self._post)
        else:
            self._text(HTTPStatus.FORBIDDEN, "Only the page itself may ask for this.")

    def _get(self) -> None:
        queries, frame = self.server.source.queries, self._frame()
        now = queries.services.clock()
        match self._parts():
            case [""]:
                self._html(render(page_view(queries, now, _selection(urlsplit(self.path).query)), frame), frame)
            case ["explain", company_id, data_type]:
                company = queries.find_company(company_id)
                explained = queries.explain(company, data_type, now)
                self._html(render_explanations(explained, frame, in_force(company.pause, now)), frame)
            case _:
                raise NotFound(NO_PAGE)

    def _post(self) -> None:
        form = self._form()
        match self._parts():
            case ["link", company_id, connection_id]:
                self._redirect(self.server.source.link(company_id, connection_id))
            case ["refresh", *names]:
                self._said(self._refresh(names, form))
            case ["pause" | "resume" as verb, *named] if len(named) < 2:
                self._said(self._pause(named, form if verb == "pause" else None))
            case _:
                raise NotFound(NO_PAGE)

    def log_message(self, *_: object) -> None:
        """Log nothing: the terminal shows the fleet."""

    def _parts(self) -> list[str]:
        """Return the parts of the path; none if the Host header is not this server's (DNS rebinding)."""
        if self.headers.get("Host") not in {f"{name}:{self.server.server_port}" for name in (LOOPBACK, "localhost")}:
            return []
        return [unquote(part) for part in urlsplit(self.path).path.lstrip("/").split("/")]

    def _form(self) -> str:
        """Return the form that a button sends, as it is encoded."""
        length = self.headers.get("Content-Length", "")
        length_read = min(int(length), _LONGEST_FORM) if length.isdecimal() else 0
        return self.rfile.read(length_read).decode(errors="replace")

    def _refresh(self, names: list[str], form: str) -> str:
        """Request refreshes of the feeds that are listed as older than promised, or of one data type of a company."""
        queries, operations = self.server.source.queries, self.server.source.operations
        match names:
            case []:
                requested = refresh_worst(queries, operations, _selection(form))
            case [company_id, data_type]:
                company = queries.find_company(company_id)
                requested = len(operations.request_refreshes(company, queries.find_feeds(company, [data_type])))
            case _:
                raise NotFound(NO_PAGE)
        if not requested:
            return "Nothing is requested: what could be refreshed is in flight already, or waits for somebody."
        return (
            f"{requested} {'refresh is' if requested == 1 else 'refreshes are'} requested, and queued by the next tick."
        )

    def _pause(self, company_id: list[str], form: str | None) -> str:
        """Pause or resume the refreshes of a company, or of all if none is named."""
        queries, operations = self.server.source.queries, self.server.source.operations
        pause = None if form is None else _pause(form, queries.services.clock())
        if not company_id:
            operations.pause_all(pause) if pause else operations.resume_all()
            return f"Everything is {pause or 'resumed'}."
        company = queries.find_company(company_id[0])
        operations.pause(company, pause) if pause else operations.resume(company)
        return f"{company.name} is {pause or 'resumed'}."

    def _answer(self, answer: Callable[[], None]) -> None:
        try:
            answer()
        except NotFound as error:
            self._text(HTTPStatus.NOT_FOUND, str(error))
        except ConnectionError:
            return  # The reader has left.
        except Paused as error:
            self._said(str(error))
        except (BotoCoreError, ClientError) as error:
            self._text(HTTPStatus.SERVICE_UNAVAILABLE, f"AWS did not answer: {error}")

    def _redirect(self, url: str) -> None:
        # A header has ASCII only, and a control character would end it.
        if urlsplit(url).scheme not in ("http", "https") or not (url.isascii() and url.isprintable()):
            self._text(HTTPStatus.NOT_FOUND, "Codat has no valid link for this connection: see Codat's portal.")
            return
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", url)
        self.end_headers()

    def _said(self, text: str) -> None:
        frame = self._frame()
        self._html(render_text(text, "", frame), frame)

    def _frame(self) -> Frame:
        server = self.server
        return Frame(
            Medium.SERVER, update_every=server.update_every, console=server.console, nonce=secrets.token_urlsafe()
        )

    def _html(self, page: str, frame: Frame) -> None:
        self._respond(HTTPStatus.OK, page, "text/html; charset=utf-8", frame.nonce)

    def _text(self, status: HTTPStatus, text: str) -> None:
        self._respond(status, text + "\n", "text/plain; charset=utf-8", "")

    def _respond(self, status: HTTPStatus, body: str, media_type: str, nonce: str) -> None:
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", _POLICY.format(nonce=nonce, frames=self.server.console or "'none'"))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)


def _selection(form: str) -> Selection:
    """Return what a reader searches and filters for, from a form or the query of an address."""
    values = dict(parse_qsl(form))
    turn = values.get("turn")
    return Selection(search=values.get("search", "").strip(), turn=Turn(turn) if turn in set(Turn) else None)


def _pause(form: str, now: datetime) -> Pause:
    """Return the pause that a form asks for."""
    values = dict(parse_qsl(form))
    length = _LENGTHS.get(values.get("for", ""))
    return Pause(until=now + length if length else None, reason=shown(values.get("reason", "").strip(), LONGEST_REASON))
