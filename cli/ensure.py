"""`freshness ensure`: making sure that data is fresh enough, within a time."""

from datetime import timedelta
from typing import Annotated, Any

import httpx
import typer

from cli import arguments
from cli.arguments import CompanyName, Json, argument, option, selected_stack
from cli.errors import CommandError
from cli.output import new_table, print_error, print_json, print_table
from freshness.api_client.errors import Refused, RelinkNeeded
from freshness.api_client.steps import WAIT, Call, ensured, run
from freshness.app.reading.text import duration
from freshness.domain.feeds.freshness_request import OnLate
from stack_access.api import api_event
from stack_access.stack import DeployedStack

NOT_IN_TIME = 3
"""The exit status if the data is not fresh within the time."""


def ensure(
    context: typer.Context,
    company: CompanyName,
    data_types: Annotated[list[str], argument("TYPE...", "Codat's data types.")],
    *,
    max_age: Annotated[
        timedelta, option("DURATION", "The greatest age of the data.", parser=arguments.duration, default="1h")
    ] = timedelta(hours=1),
    within: Annotated[
        timedelta, option("DURATION", "How long to wait for it.", parser=arguments.duration, default="10m")
    ] = timedelta(minutes=10),
    on_late: Annotated[
        OnLate, typer.Option(help="After that, accept the best copy (stale) or fail (fail).")
    ] = OnLate.STALE,
    override_windows: Annotated[
        bool, typer.Option("--override-windows", help="Queue refreshes outside the policy's windows too.")
    ] = False,
    purpose: Annotated[
        str, typer.Option(metavar="TEXT", help="What the data is for: kept with the request.", show_default=False)
    ] = "",
    as_json: Json = False,
) -> None:
    """Make sure that data is no older than an age: refresh it if it is, and wait.

    The age counts from when a read was requested. The exit status is 0 if the data is fresh, 3 if it is not fresh in
    time, and 1 if it cannot be.
    """
    asked = {"maxAge": max_age.total_seconds(), "within": within.total_seconds()}
    stack = selected_stack(context)
    found = stack.queries.find_company(company)
    body = asked | {"dataTypes": data_types, "onLate": on_late, "overrideWindows": override_windows, "purpose": purpose}
    status = ensured_by(stack, found.company_id, body, within)
    print_json(status) if as_json else _print(status)
    states = {each["state"] for each in status["dataTypes"]}
    if states == {"fresh"}:
        return
    reasons = {each["reason"] for each in status["dataTypes"] if each["state"] in ("failed", "needs-person")}
    raise typer.Exit(1 if reasons - {"the deadline passed"} else NOT_IN_TIME)


def ensured_by(stack: DeployedStack, company_id: str, body: dict[str, Any], within: timedelta) -> dict[str, Any]:
    """Ask the stack's API for fresh data, wait, and return the state of the request. Print what it waits for.

    The function is invoked, so that no permission to call the API is needed.

    Raises:
        CommandError: the API refused a call that cannot succeed in time.
    """

    def send(call: Call) -> httpx.Response:
        # The first call does not wait, so that progress is seen.
        headers = {"Idempotency-Key": call.key} if call.key else {"Prefer": WAIT}
        event = api_event(call.method, call.path, body=call.body, headers=headers, caller=stack.caller)
        answer = stack.invoke(stack.outputs.serve_api_function, event)
        response = httpx.Response(answer["statusCode"], headers=answer["headers"], text=answer["body"])
        if response.is_success:
            _show_progress(response.json())
        return response

    try:
        return run(ensured(company_id, body, patience=within), send)
    except Refused as refused:
        links = refused.link_urls.values() if isinstance(refused, RelinkNeeded) else ()
        raise CommandError(" ".join([refused.members["detail"], *links])) from None


def _show_progress(status: dict[str, Any]) -> None:
    """Print what is not fresh yet to standard error, so that standard output has only the result."""
    waiting = sorted({each["dataType"] for each in status["dataTypes"] if each["state"] != "fresh"})
    if not status["done"]:
        expected = f", expected at {status['expectedAt'][11:19]} UTC" if status["expectedAt"] else ""
        print_error(f"Waiting for {', '.join(waiting)}{expected}")


def _print(status: dict[str, Any]) -> None:
    table = new_table("data type", "state", "as of (UTC)", "age", "changed", "note")
    for each in status["dataTypes"]:
        as_of = (each["asOf"] or "-")[:19].replace("T", " ") + (" (estimated)" if each["asOfIsEstimated"] else "")
        age = duration(timedelta(seconds=each["age"])) if each["age"] is not None else "-"
        changed = {True: "yes", False: "no", None: "-"}[each["recordsModified"]]
        table.add_row(each["dataType"], each["state"], as_of, age, changed, each["linkUrl"] or each["reason"])
    print_table(table)
