"""`freshness ensure`: making sure that data is fresh enough, within a time."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any
from uuid import uuid4

import typer

from cli import arguments
from cli.arguments import CompanyName, Json, selected_stack
from cli.errors import CommandError
from cli.output import new_table, print_error, print_json, print_table
from freshness.app.api.routes import Route
from freshness.app.reading.text import duration
from freshness.domain.feeds.freshness_request import OnLate
from stack_access.api import ApiResponse, api_event, call_api
from stack_access.stack import DeployedStack
from stack_access.ticks import tick_client

NOT_IN_TIME = 3
"""The exit status if the data is not fresh within the time."""
WAIT = "wait=20"
"""The header `Prefer` of a call: the API waits up to 20 seconds for the request to end."""
BETWEEN_CALLS = 2
"""Seconds between two calls, since a call does not wait if too many callers wait already."""


def ensure(
    context: typer.Context,
    company: CompanyName,
    data_types: Annotated[
        list[str],
        typer.Argument(parser=arguments.nonblank, metavar="TYPE...", help="Codat's data types.", show_default=False),
    ],
    *,
    max_age: Annotated[
        timedelta,
        typer.Option(
            parser=arguments.duration, metavar="DURATION", help="The greatest age of the data.", show_default="1h"
        ),
    ] = timedelta(hours=1),
    within: Annotated[
        timedelta,
        typer.Option(
            parser=arguments.duration, metavar="DURATION", help="How long to wait for it.", show_default="10m"
        ),
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
    status: dict[str, Any] = {}
    for status in progress(stack, found.company_id, body, within):
        _show_progress(status)
    print_json(status) if as_json else _print(status)
    states = {each["state"] for each in status["dataTypes"]}
    if states == {"fresh"}:
        return
    reasons = {each["reason"] for each in status["dataTypes"] if each["state"] in ("failed", "needs-person")}
    raise typer.Exit(1 if reasons - {"the deadline passed"} else NOT_IN_TIME)


def progress(
    stack: DeployedStack, company_id: str, body: dict[str, Any], within: timedelta
) -> Iterator[dict[str, Any]]:
    """Yield the state of the request after each call, until it is done.

    Raises:
        CommandError: the API refused a call that cannot succeed in time.
    """
    client, function = tick_client(stack), stack.outputs.serve_api_function
    # With the same key, a repeated call is the same request.
    headers = {"Idempotency-Key": uuid4().hex}
    deadline = time.monotonic() + within.total_seconds()
    while True:
        path = Route.ENSURE_FRESH.path(company_id)
        response = call_api(client, function, api_event("POST", path, body=body, headers=headers, caller=stack.caller))
        if response.status < 400:
            break
        _wait_to_repeat(response, deadline)
    yield response.body
    while not response.body["done"]:
        time.sleep(BETWEEN_CALLS)
        path = Route.GET_REQUEST.path(company_id, response.body["id"])
        answer = call_api(client, function, api_event("GET", path, headers={"Prefer": WAIT}))
        if answer.status >= 400:
            _wait_to_repeat(answer, deadline + within.total_seconds())
            continue
        response = answer
        yield response.body


def _wait_to_repeat(response: ApiResponse, deadline: float) -> None:
    """Wait until a refused call may succeed, unless that is too late.

    Raises:
        CommandError: the call cannot succeed in time.
    """
    after = int(response.headers.get("Retry-After", "0"))
    if not after or time.monotonic() + after > deadline:
        links = "".join(f" {link}" for link in response.body.get("linkUrls", {}).values())
        raise CommandError(f"{response.body['detail']}{links}")
    time.sleep(after)


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
