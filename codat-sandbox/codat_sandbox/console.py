"""The sandbox's pages: a console that makes things go wrong, and the page on which a customer links a platform."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from secrets import token_urlsafe
from typing import Unpack
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from codat_sandbox import responses
from codat_sandbox.errors import ForbiddenError, SandboxError
from codat_sandbox.model import Company, Connection, ConnectionChanges, ConnectionStatus, DatasetStatus, RequestedBy
from codat_sandbox.platforms import PLATFORMS
from codat_sandbox.sandbox import Sandbox
from codat_sandbox.stubs import StubResponse

CONSOLE = "/sandbox/"
LINK = "/sandbox/link/companies/{company_id}/connections/{connection_id}/start"
OUTAGE = StubResponse(path="*", status=503, lasts=timedelta(minutes=1))
COMPANIES_SHOWN = 60
ATTEMPTS_SHOWN = 8
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; script-src 'nonce-{nonce}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self' http://127.0.0.1:* http://localhost:*"
)
"""The security policy of the pages. Others on this machine may show the console in a frame."""

ENDS = (
    DatasetStatus.FETCH_ERROR,
    DatasetStatus.AUTH_ERROR,
    DatasetStatus.RATE_LIMIT_ERROR,
    DatasetStatus.VALIDATION_ERROR,
    DatasetStatus.PERMISSIONS_ERROR,
    DatasetStatus.COMPLETE,
)
"""The statuses that a read can be made to end in."""


class Action(StrEnum):
    """What a button of the console does."""

    BREAK = "break"
    MEND = "mend"
    LOSE_WEBHOOKS = "lose-webhooks"
    SEND_WEBHOOKS = "send-webhooks"
    ADD_COMPANY = "add-company"
    LAPSE = "lapse"
    UNLINK = "unlink"
    TURN_OFF = "turn-off"
    TURN_ON = "turn-on"
    FAIL_PLATFORM = "fail-platform"
    MEND_PLATFORM = "mend-platform"
    READ = "read"
    CHANGE_BOOKS = "change-books"


@dataclass(frozen=True, slots=True)
class _Form:
    """The form that a pressed button sends: its fields, and the sandbox and time that it acts on."""

    sandbox: Sandbox
    values: Mapping[str, str]
    now: datetime

    @property
    def of_connection(self) -> tuple[str, str]:
        return self.values.get("company", ""), self.values.get("connection", "")

    def change_settings(self, **changes: object) -> None:
        self.sandbox.backend.change_settings(self.sandbox.settings.model_copy(update=changes), self.now)

    def set_status(self, status: ConnectionStatus) -> None:
        self.sandbox.backend.set_connection_status(*self.of_connection, status, self.now)

    def change_connection(self, **changes: Unpack[ConnectionChanges]) -> None:
        self.sandbox.backend.change_connection(*self.of_connection, self.now, **changes)

    def read(self) -> None:
        company_id, connection_id = self.of_connection
        ends_in = DatasetStatus(self.values.get("ends_in", DatasetStatus.COMPLETE))
        of_portal = connection_id, RequestedBy.PORTAL, ends_in
        self.sandbox.backend.queue(company_id, self.values.get("data_type", ""), self.now, *of_portal)


_ACTIONS: Mapping[Action, tuple[Callable[[_Form], object], str]] = {
    Action.BREAK: (lambda form: form.sandbox.stubs.add(OUTAGE), "Codat answers 503 for a minute."),
    Action.MEND: (lambda form: form.sandbox.stubs.clear(), "Codat answers again."),
    Action.LOSE_WEBHOOKS: (lambda form: form.change_settings(webhooks_lost=1.0), "No webhook is sent from now on."),
    Action.SEND_WEBHOOKS: (lambda form: form.change_settings(webhooks_lost=0.0), "Webhooks are sent again."),
    Action.ADD_COMPANY: (
        lambda form: form.sandbox.backend.add_company([PLATFORMS["Xero"], PLATFORMS["Plaid"]], form.now),
        "A company linked Xero and Plaid.",
    ),
    Action.LAPSE: (lambda form: form.set_status(ConnectionStatus.DEAUTHORIZED), "The customer revoked access."),
    Action.UNLINK: (lambda form: form.set_status(ConnectionStatus.UNLINKED), "You cut the connection."),
    Action.TURN_OFF: (
        lambda form: form.change_connection(machine_online=False),
        "The customer's machine is off: reads wait.",
    ),
    Action.TURN_ON: (lambda form: form.change_connection(machine_online=True), "The customer's machine is on."),
    Action.FAIL_PLATFORM: (
        lambda form: form.change_connection(platform_works=False),
        "The platform fails: reads end in FetchError.",
    ),
    Action.MEND_PLATFORM: (lambda form: form.change_connection(platform_works=True), "The platform works again."),
    Action.READ: (lambda form: form.read(), "Somebody asked for a read in Codat's portal."),
    Action.CHANGE_BOOKS: (
        lambda form: form.sandbox.backend.change_books(form.of_connection[0], form.values.get("data_type")),
        "The customer changed the books: the next read finds it.",
    ),
}
"""What each action does, and the notice that is shown afterwards."""


class Console:
    """The sandbox's pages."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._templates = Environment(
            loader=PackageLoader("codat_sandbox", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    def routes(self) -> list[Route]:
        return [
            Route(CONSOLE, self._show),
            Route(CONSOLE, self._act, methods=["POST"]),
            Route(LINK, self._show_link),
            Route(LINK, self._link, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        find = request.query_params.get("find", "")
        now, backend = self._sandbox.now(), self._sandbox.backend
        companies = [each for each in backend.companies() if find.casefold() in each.name.casefold()]
        running = [truth for truth in backend.truth(now) if truth.latest and truth.latest.is_running]
        broken_for = max((each.lasts for each in self._sandbox.stubs.pending() if each.lasts), default=None)
        attempts = islice(reversed(self._sandbox.webhooks.attempts), ATTEMPTS_SHOWN)
        return self._page(
            "console.html",
            find=find,
            notice=request.query_params.get("notice", ""),
            companies=companies[:COMPANIES_SHOWN],
            hidden=len(companies[COMPANIES_SHOWN:]),
            running={each: sum(truth.connection.id == each for truth in running) for each in self._ids(companies)},
            broken_for=broken_for and round(broken_for.total_seconds()),
            loses_webhooks=self._sandbox.settings.webhooks_lost > 0,
            attempts=list(attempts),
            ends=ENDS,
            Status=ConnectionStatus,
            link=self._link_url,
        )

    async def _act(self, request: Request) -> Response:
        values = await _form(request)
        try:
            act, notice = _ACTIONS[Action(values.get("action", ""))]
            act(_Form(self._sandbox, values, self._sandbox.now()))
        except (SandboxError, ValueError) as error:
            notice = f"Not done: {error}."
        self._sandbox.changed()
        query = {"notice": notice} | ({"find": values["find"]} if values.get("find") else {})
        return RedirectResponse(f"{CONSOLE}?{urlencode(query)}", status_code=303)

    async def _show_link(self, request: Request) -> Response:
        company, connection = self._of(request)
        return self._page("link.html", company=company, connection=connection, Status=ConnectionStatus, done="")

    async def _link(self, request: Request) -> Response:
        company, connection = self._of(request)
        allowed = (await _form(request)).get("answer") == "allow"
        # To cancel a first link fails it. To cancel a later one leaves the connection as it was.
        if allowed or connection.status is ConnectionStatus.PENDING_AUTH:
            status = ConnectionStatus.LINKED if allowed else ConnectionStatus.PENDING_AUTH
            self._sandbox.backend.set_connection_status(company.id, connection.id, status, self._sandbox.now())
            self._sandbox.changed()
        done = "allowed" if allowed else "cancelled"
        return self._page("link.html", company=company, connection=connection, Status=ConnectionStatus, done=done)

    def _of(self, request: Request) -> tuple[Company, Connection]:
        company_id, connection_id = request.path_params["company_id"], request.path_params["connection_id"]
        backend = self._sandbox.backend
        return backend.company(company_id), backend.connection(company_id, connection_id)

    def _link_url(self, company: Company, connection: Connection) -> str:
        return responses.link_url(self._sandbox.settings.links, company.id, connection.id)

    @staticmethod
    def _ids(companies: list[Company]) -> list[str]:
        return [connection.id for company in companies for connection in company.connections]

    def _page(self, template: str, **values: object) -> Response:
        nonce = token_urlsafe()
        html = self._templates.get_template(template).render(nonce=nonce, **values)
        headers = {"Content-Security-Policy": _POLICY.format(nonce=nonce), "Cache-Control": "no-store"}
        return HTMLResponse(html, headers=headers)


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form that one of these pages sent.

    Raises:
        ForbiddenError: a page of a different site sent it.
    """
    if request.headers.get("origin") not in (None, f"http://{request.headers.get('host')}"):
        raise ForbiddenError
    return dict(parse_qsl((await request.body()).decode(errors="replace")))
