"""`./freshness`: its commands, the options that they share, and how it says what went wrong."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
)

from cli.doctor import doctor
from cli.errors import CommandError
from cli.explain import explain
from cli.export import export
from cli.pause import pause, resume
from cli.redrive import redrive
from cli.refresh import refresh
from cli.register_webhook import register_webhook
from cli.status import status
from cli.target import ROOT, Target
from freshness.codat.errors import CodatError
from freshness.policy.errors import PolicyError

app = typer.Typer(name="freshness", no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(status)
app.command()(explain)
app.command()(refresh)
app.command()(pause)
app.command()(resume)
app.command()(register_webhook)
app.command()(doctor)
app.command()(redrive)
app.command()(export)


@app.callback()
def options(
    context: typer.Context,
    *,
    profile: Annotated[str | None, typer.Option(help="The AWS profile to use.", show_default=False)] = None,
    region: Annotated[str | None, typer.Option(help="The AWS region of the stack.", show_default=False)] = None,
    stack: Annotated[str, typer.Option(help="The name of the stack.")] = "CodatFreshness",
    local: Annotated[bool, typer.Option("--local", help='Use the stack that "make run" runs on this machine.')] = False,
    policy: Annotated[
        Path, typer.Option(help="The policy file that was deployed.", show_default="freshness.toml")
    ] = ROOT / "freshness.toml",
) -> None:
    """Keep an eye on Codat Freshness, and a hand on it."""
    context.obj = Target.of_local_run(stack, policy) if local else Target.in_aws(stack, profile, region, policy)


def main() -> None:
    """Run a command. It ends with status 0, with 1 if it could not be done, or with 2 if it was not understood."""
    try:
        app(prog_name="freshness")
    except (CommandError, PolicyError, CodatError) as error:
        sys.exit(f"freshness: {error}")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"freshness: {_advice(error)}")


def _advice(error: BotoCoreError | ClientError) -> str:
    """What AWS's refusal comes to, and what to do about it."""
    match error:
        case NoCredentialsError():
            return "No AWS credentials: log in, name a profile with --profile, or use --local."
        case NoRegionError():
            return "No AWS region: name one with --region, or set AWS_REGION."
        case ProfileNotFound():
            return f'{error}: "aws configure list-profiles" lists those there are.'
        case EndpointConnectionError():
            return f"{error} With --local, is the local run still going on?"
        case ClientError():
            answer = error.response["Error"]
            return f"AWS refused {error.operation_name}: {answer.get('Message') or answer.get('Code')}"
        case _:
            return f"AWS: {error}"


if __name__ == "__main__":
    main()
