"""`freshness pause` and `freshness resume`: pausing refreshes for a while."""

from datetime import datetime
from typing import Annotated

import typer

from cli.arguments import Json, argument, coming_time, nonblank, option, selected_stack
from cli.output import print_json, print_text
from freshness.domain.clean_text import shown
from freshness.domain.companies.pause import LONGEST_REASON, Pause

CompanyOrAll = Annotated[str | None, argument("[COMPANY]", "A company's id or name; all if none is named.")]
_ALL = "everything"


def _reason(given: str) -> str:
    reason = nonblank(given) if given else ""
    if len(reason) > LONGEST_REASON:
        raise typer.BadParameter(f"expected at most {LONGEST_REASON} characters, got {len(reason)}")
    return shown(reason, LONGEST_REASON)


def pause(
    context: typer.Context,
    company: CompanyOrAll = None,
    *,
    until: Annotated[
        datetime | None,
        option(
            "TIME",
            'When refreshes are due again: "2026-12-24 18:00", in UTC or with a zone after it, or 2h.',
            parser=coming_time,
        ),
    ] = None,
    reason: Annotated[str, option("TEXT", "Why, for all who look.", parser=_reason)] = "",
    as_json: Json = False,
) -> None:
    """Pause the refreshes of a company, or of all, until a time or "resume". Datasets in flight and checks continue."""
    stack = selected_stack(context)
    paused = Pause(until=until, reason=reason)
    if company is None:
        stack.operations.pause_all(paused)
        _print(_ALL, paused, as_json=as_json)
        return
    found = stack.queries.find_company(company)
    stack.operations.pause(found, paused)
    _print(found.name, paused, as_json=as_json)


def resume(context: typer.Context, company: CompanyOrAll = None, *, as_json: Json = False) -> None:
    """Resume the refreshes of a company, or of all except those that were paused individually."""
    stack = selected_stack(context)
    if company is None:
        stack.operations.resume_all()
        _print(_ALL, None, as_json=as_json)
        return
    found = stack.queries.find_company(company)
    stack.operations.resume(found)
    _print(found.name, None, as_json=as_json)


def _print(what: str, pause: Pause | None, *, as_json: bool) -> None:
    if as_json:
        end = {"until": pause.until, "reason": pause.reason} if pause else {}
        print_json({"what": what, "paused": pause is not None, **end})
    else:
        print_text(f"{what[:1].upper()}{what[1:]} is {pause or 'resumed'}.")
