"""`freshness pause` and `freshness resume`: pausing refreshes for a while."""

from typing import Annotated

import typer

from cli.arguments import Json, nonblank, selected_stack
from cli.output import print_json, print_text

CompanyOrAll = Annotated[
    str | None,
    typer.Argument(parser=nonblank, metavar="[COMPANY]", help="A company's id or name; all if none is named."),
]
_ALL = "everything"


def pause(context: typer.Context, company: CompanyOrAll = None, *, as_json: Json = False) -> None:
    """Pause the refreshes of a company, or of all, until "resume". Datasets in flight and checks continue."""
    stack = selected_stack(context)
    if company is None:
        stack.tables.control.pause()
        _print(_ALL, paused=True, as_json=as_json)
        return
    found = stack.queries.find_company(company)
    stack.operations.pause(found)
    _print(found.name, paused=True, as_json=as_json)


def resume(context: typer.Context, company: CompanyOrAll = None, *, as_json: Json = False) -> None:
    """Resume the refreshes of a company, or of all but those that were paused by themselves."""
    stack = selected_stack(context)
    if company is None:
        stack.tables.control.resume()
        _print(_ALL, paused=False, as_json=as_json)
        return
    found = stack.queries.find_company(company)
    stack.operations.resume(found)
    _print(found.name, paused=False, as_json=as_json)


def _print(what: str, *, paused: bool, as_json: bool) -> None:
    if as_json:
        print_json({"what": what, "paused": paused})
    else:
        print_text(f"{what[:1].upper()}{what[1:]} is {'paused' if paused else 'resumed'}.")
