"""Arguments and options that several commands have."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from cli.output import print_text
from freshness.domain.times import in_utc
from freshness.policy.file.values import parse_duration, quoted, time_zone
from stack_access.stack import DeployedStack, clock


def nonblank(given: str) -> str:
    """Return the name that is given as an argument, without blanks around it.

    Raises:
        typer.BadParameter: it is blank.
    """
    if not given.strip():
        raise typer.BadParameter("expected a name, got nothing")
    return given.strip()


def argument(metavar: str, text: str) -> Any:
    """Return an argument that is a name. `text` is its help."""
    return typer.Argument(parser=nonblank, metavar=metavar, help=text, show_default=False)


def option(metavar: str, text: str, *, parser: Callable[[str], Any] = nonblank, default: str | bool = False) -> Any:
    """Return an option with a value that is a name, or what `parser` makes of it. `text` and `default` are its help."""
    return typer.Option(parser=parser, metavar=metavar, help=text, show_default=default)


CompanyName = Annotated[str, argument("COMPANY", "A company's id, or its name or the beginning of it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON; durations are in seconds, times in UTC.")]


def duration(given: str | timedelta) -> timedelta:
    """Return the duration that an option gives, or its default.

    Raises:
        typer.BadParameter: it is not a duration.
    """
    try:
        return given if isinstance(given, timedelta) else parse_duration(given.strip())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def coming_time(given: str | datetime) -> datetime:
    """Return the time that an option gives: "2026-12-24 18:00", in UTC or with a zone, or a duration from now on.

    Raises:
        typer.BadParameter: it is not a time, or not after now.
    """
    return given if isinstance(given, datetime) else _time_from(clock(), given, is_after=True)


def past_time(given: str | datetime) -> datetime:
    """Return the time that an option gives: "2026-12-24 18:00", in UTC or with a zone, or how long ago it was.

    Raises:
        typer.BadParameter: it is not a time, or not before now.
    """
    return given if isinstance(given, datetime) else _time_from(clock(), given, is_after=False)


def _time_from(now: datetime, given: str, *, is_after: bool) -> datetime:
    """Return the given time, or the time that is a given duration from now. Refuse one on the wrong side of now."""
    try:
        passed = parse_duration(given.strip())
        at = now + passed if is_after else now - passed
    except ValueError:
        at = _time(given.strip())
    if at <= now if is_after else at >= now:
        side = "after" if is_after else "before"
        raise typer.BadParameter(f"expected a time {side} now, {now:%Y-%m-%d %H:%M} UTC, got {quoted(given)}")
    return at


def _time(given: str) -> datetime:
    written, _, last = given.rpartition(" ")
    zone = time_zone(last) if written else None
    try:
        at = datetime.fromisoformat(written if zone else given)
    except ValueError:
        expected = 'expected a time such as "2026-12-24 18:00", "2026-12-24 18:00 Europe/London" or 2h'
        raise typer.BadParameter(f"{expected}, got {quoted(given)}") from None
    return in_utc(at.replace(tzinfo=zone) if zone and at.tzinfo is None else at)


def selected_stack(context: typer.Context) -> DeployedStack:
    """Return the stack that the options before the command select."""
    stack: DeployedStack = context.obj
    return stack


def print_difference(stack: DeployedStack) -> None:
    """Print a sentence if the policy file of this machine is not the policy in force."""
    if difference := stack.policies.difference():
        print_text(difference, "yellow")
