"""`freshness --local sandbox …`: making something go wrong at the Codat sandbox of `make run`, and right again."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

import httpx
import typer

from cli.arguments import CompanyName, argument, duration, option, selected_stack
from cli.errors import CommandError
from cli.output import print_text
from freshness.app.reading.text import duration as duration_text
from stack_access.stack import DeployedStack

app = typer.Typer(no_args_is_help=True, help='Make something go wrong at the sandbox of "make run", and right again.')

Platform = Annotated[str | None, option("NAME", "Only this platform.", default="all of the company's")]
DataType = Annotated[str, argument("TYPE", "A data type.")]
AnyDataType = Annotated[str | None, argument("[TYPE]", "A data type; all if none is named.")]


class Ending(StrEnum):
    """How a read can be made to fail."""

    FETCH_ERROR = "FetchError"
    AUTH_ERROR = "AuthError"
    RATE_LIMIT_ERROR = "RateLimitError"
    VALIDATION_ERROR = "ValidationError"
    PERMISSIONS_ERROR = "PermissionsError"


class Webhooks(StrEnum):
    """Whether the sandbox's webhooks are lost or sent."""

    LOST = "lost"
    SENT = "sent"


@dataclass(frozen=True, slots=True)
class _Connection:
    """A connection of a company at the sandbox."""

    company_id: str
    connection_id: str
    company_name: str
    platform: str

    @property
    def path(self) -> str:
        """Return the path of the connection in the sandbox's own API."""
        return f"/sandbox/companies/{self.company_id}/connections/{self.connection_id}"


class _Sandbox:
    """The sandbox of a local run."""

    def __init__(self, context: typer.Context) -> None:
        stack = selected_stack(context)
        local = stack if stack.local_outputs else DeployedStack.of_local_run(stack.policy_file)
        self._url = local.sandbox_url
        if not self._url:
            raise CommandError(
                'This "make run" reads from the real Codat: only one without CODAT_API_KEY has a sandbox.'
            )

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call the sandbox's own API, and return what it responds.

        Raises:
            CommandError: it refused the call, or does not respond.
        """
        try:
            with httpx.Client(base_url=self._url, trust_env=False) as client:
                response = client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise CommandError(f"The sandbox at {self._url} does not respond ({error}): is it running?") from error
        if response.is_error:
            raise CommandError(f"The sandbox refused this: {response.json()['error']}.")
        return response.json() if response.content else None

    def connections(self, company: str, platform: str | None = None) -> list[_Connection]:
        """Return the connections of a company to one platform, or to all.

        `company` is its id, or its name or the beginning of it.

        Raises:
            CommandError: there is none, or several companies have that name.
        """
        found = {
            _Connection(each["companyId"], each["connectionId"], each["companyName"], each["platformName"])
            for each in self.call("GET", "/sandbox/state")["feeds"]
            if each["companyId"] == company or each["companyName"].casefold().startswith(company.casefold())
        }
        of_platform = [each for each in found if each.platform.casefold().startswith((platform or "").casefold())]
        if not of_platform:
            to = f" to {platform}" if platform else ""
            raise CommandError(f"No company {company} at the sandbox has a connection{to}.")
        if names := _several(of_platform):
            raise CommandError(f"Several companies begin so: {', '.join(names)}. Name one of them, or its id.")
        return of_platform

    def change(self, company: str, platform: str | None, **changes: object) -> list[_Connection]:
        """Change the connections of a company, and return them."""
        connections = self.connections(company, platform)
        for each in connections:
            self.call("PATCH", each.path, changes)
        return connections


def _several(connections: list[_Connection]) -> list[str]:
    companies = {each.company_id: each.company_name for each in connections}
    return sorted(companies.values()) if len(companies) > 1 else []


def _say(connections: list[_Connection], what: str) -> None:
    for each in sorted(connections, key=lambda each: each.platform):
        print_text(f"{each.company_name}, {each.platform}: {what}.")


@app.command()
def lapse(context: typer.Context, company: CompanyName, platform: Platform = None) -> None:
    """Let a customer revoke access: the connection becomes Deauthorized."""
    _say(_Sandbox(context).change(company, platform, status="Deauthorized"), "the customer revoked access")


@app.command()
def relink(context: typer.Context, company: CompanyName, platform: Platform = None) -> None:
    """Let a customer allow access again."""
    _say(_Sandbox(context).change(company, platform, status="Linked"), "linked")


@app.command()
def unlink(context: typer.Context, company: CompanyName, platform: Platform = None) -> None:
    """Cut a connection yourself, as in Codat's portal."""
    _say(_Sandbox(context).change(company, platform, status="Unlinked"), "you unlinked it")


@app.command()
def offline(context: typer.Context, company: CompanyName) -> None:
    """Turn off the machine of a customer with an on-premise platform: reads wait."""
    _say(_Sandbox(context).change(company, None, machineOnline=False), "the machine is off")


@app.command()
def online(context: typer.Context, company: CompanyName) -> None:
    """Turn the machine of a customer on again: reads that waited continue."""
    _say(_Sandbox(context).change(company, None, machineOnline=True), "the machine is on")


@app.command()
def fail(
    context: typer.Context,
    company: CompanyName,
    data_type: DataType,
    *,
    ending: Annotated[Ending, typer.Option("--with", help="How the read ends.")] = Ending.FETCH_ERROR,
) -> None:
    """Start a read of a data type that fails, as if somebody had asked for it in Codat's portal."""
    sandbox = _Sandbox(context)
    company_id = sandbox.connections(company)[0].company_id
    sandbox.call("POST", f"/sandbox/companies/{company_id}/refresh", {"dataType": data_type, "endsIn": ending})
    print_text(f"A read of {data_type} runs, and ends in {ending}.")


@app.command()
def change(context: typer.Context, company: CompanyName, data_type: AnyDataType = None) -> None:
    """Change a company's books, in one data type or all. The next read finds the change."""
    sandbox = _Sandbox(context)
    company_id = sandbox.connections(company)[0].company_id
    sandbox.call("POST", f"/sandbox/companies/{company_id}/books", {"dataType": data_type})
    print_text(f"The next read of {data_type or 'each data type'} finds changed records.")


@app.command()
def outage(
    context: typer.Context,
    *,
    lasts: Annotated[
        timedelta, typer.Option("--for", parser=duration, metavar="DURATION", help="How long.")
    ] = timedelta(minutes=1),
) -> None:
    """Break Codat: each call is answered with 503 for a while."""
    _Sandbox(context).call("POST", "/sandbox/stubs", {"path": "*", "status": 503, "lasts": lasts.total_seconds()})
    print_text(f"Codat answers 503 for {duration_text(lasts)}.")


@app.command()
def webhooks(
    context: typer.Context,
    what: Annotated[Webhooks, typer.Argument(help="Whether they are lost or sent.", show_default=False)],
) -> None:
    """Choose whether webhooks are lost from now on, or sent as usual."""
    _Sandbox(context).call("PATCH", "/sandbox/settings", {"webhooks_lost": int(what is Webhooks.LOST)})
    print_text(f"Webhooks are {what}.")
