"""`freshness policy check` and `reference`: the policy file by itself, without AWS."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from freshness.domain.clean_text import clean_lines
from freshness.policy.errors import PolicyError
from freshness.policy.loader import load
from freshness.policy.unmatched import warnings

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def options() -> None:
    """Check a policy file, and change the policy in force without a deployment."""


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The policy file.")] = Path("freshness.toml"),
) -> None:
    """Check a policy file as "cdk synth" does. The exit status is 2 if there is a mistake in it."""
    try:
        policy = load(file)
    except PolicyError as error:
        print(clean_lines(str(error)), file=sys.stderr)
        raise typer.Exit(2) from None
    for warning in warnings(policy, datetime.now(UTC).date()):
        print(clean_lines(f"warning: {warning}"), file=sys.stderr)
    print(clean_lines(f"{file} is valid."))


@app.command()
def reference() -> None:
    """Print what each key of the policy file means, with an example, as in docs/policy.md."""
    from cli.policy_reference import reference

    print(reference(), end="")
