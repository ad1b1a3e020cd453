"""`./freshness`: its commands, the options that they share, and the messages of its errors."""

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
from cli.ensure import ensure
from cli.errors import CommandError
from cli.explain import explain
from cli.export import export
from cli.page import page
from cli.pause import pause, resume
from cli.redrive import redrive
from cli.refresh import refresh
from cli.register_webhook import register_webhook
from cli.report import report
from cli.status import status
from deployed.errors import StackError
from deployed.stack import ROOT, DeployedStack
from freshness.app.operations import Paused
from freshness.app.reading.queries import NotFound
from freshness.aws.event_bus import NotPublished
from freshness.aws.table import ContentionError
from freshness.codat.errors import CodatError
from freshness.policy.errors import PolicyError

app = typer.Typer(name="freshness", no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(status)
app.command()(report)
app.command()(explain)
app.command()(refresh)
app.command()(ensure)
app.command()(pause)
app.command()(resume)
app.command()(register_webhook)
app.command()(doctor)
app.command()(redrive)
app.command()(export)
app.command()(page)


@app.callback()
def options(
    context: typer.Context,
    *,
    profile: Annotated[str | None, typer.Option(help="The AWS profile to use.", show_default=False)] = None,
    region: Annotated[str | None, typer.Option(help="The AWS region of the stack.", show_default=False)] = None,
    stack: Annotated[
        str | None, typer.Option(help="The name of the stack.", show_default="the only one in the region")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help='Use the stack that "make run" runs on this machine.')] = False,
    policy: Annotated[
        Path, typer.Option(help="The policy file that was deployed.", show_default="freshness.toml")
    ] = ROOT / "freshness.toml",
) -> None:
    """Inspect and operate a deployed Codat Freshness."""
    context.obj = DeployedStack.of_local_run(policy) if local else DeployedStack.in_aws(stack, profile, region, policy)


def main() -> None:
    """Run a command. The exit status is 0, or 1 if it failed, or 2 if its arguments are wrong; `ensure` also has 3."""
    try:
        app(prog_name="freshness")
    except (CommandError, StackError, Paused, NotFound, PolicyError, CodatError) as error:
        sys.exit(f"freshness: {error}")
    except (ContentionError, NotPublished) as error:
        sys.exit(f"freshness: {error}. Run the command again.")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"freshness: {_advice(error)}")


def _advice(error: BotoCoreError | ClientError) -> str:
    """Return what an AWS error means, and what to do about it."""
    match error:
        case NoCredentialsError():
            return "No AWS credentials: log in, name a profile with --profile, or use --local."
        case NoRegionError():
            return "No AWS region: name one with --region, or set AWS_REGION."
        case ProfileNotFound():
            return f'{error}: "aws configure list-profiles" lists the profiles.'
        case EndpointConnectionError():
            return f"{error} If you use --local, check that the local run is still running."
        case ClientError():
            details = error.response["Error"]
            return f"AWS refused {error.operation_name}: {details.get('Message') or details.get('Code')}"
        case _:
            return f"AWS: {error}"


if __name__ == "__main__":
    main()
