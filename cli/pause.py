"""`freshness pause` and `freshness resume`: holding refreshes back for a while."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.companies import find_company
from cli.output import Json, say, say_json
from cli.target import target

Paused = Annotated[
    str | None, typer.Argument(metavar="[COMPANY]", help="A company's id or name; everything if none is named.")
]


def pause(context: typer.Context, company: Paused = None, *, as_json: Json = False) -> None:
    """Have nothing refreshed until "resume", of one company or at all. What is in flight goes on, as do checks."""
    store = target(context).store
    if company is None:
        store.pause()
        _tell("everything", paused=True, as_json=as_json)
        return
    found = find_company(store, company)
    store.change_company(found, lambda company: replace(company, paused=True))
    _tell(found.name, paused=True, as_json=as_json)


def resume(context: typer.Context, company: Paused = None, *, as_json: Json = False) -> None:
    """Have refreshes queued again, of one company or at all."""
    store = target(context).store
    if company is None:
        store.resume()
        _tell("everything", paused=False, as_json=as_json)
        return
    found = find_company(store, company)
    now = datetime.now(UTC)
    # Its feeds may have left the index, and what happened meanwhile is not known: the next check sees to both.
    store.change_company(found, lambda company: replace(company, paused=False).due_for_check(now))
    _tell(found.name, paused=False, as_json=as_json)


def _tell(what: str, *, paused: bool, as_json: bool) -> None:
    if as_json:
        say_json({"what": what, "paused": paused})
    else:
        say(f"{what[0].upper()}{what[1:]} is {'paused' if paused else 'refreshed again'}.")
