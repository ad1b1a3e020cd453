"""The commands of `./freshness`, the options that they share, and the messages of their errors."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
)
from typer.core import TyperGroup

from cli import policy as policy_commands
from cli import sandbox as sandbox_commands
from cli.arguments import option
from cli.audit import audit
from cli.dataset import dataset
from cli.doctor import doctor
from cli.ensure import ensure
from cli.erase import erase
from cli.errors import CommandError
from cli.explain import explain
from cli.export import export
from cli.mcp import mcp
from cli.output import print_error
from cli.page import page
from cli.pause import pause, resume
from cli.plan import plan
from cli.policies import policies
from cli.policy_changes import diff, history, push, rollback, show
from cli.receipt import receipt
from cli.redrive import redrive
from cli.refresh import refresh
from cli.register_webhook import register_webhook
from cli.report import report
from cli.restore import restore
from cli.status import status
from freshness.app.operations import Paused
from freshness.app.reading.queries import NotFound
from freshness.aws.dynamodb.table import ContentionError
from freshness.aws.event_bus import NotPublished
from freshness.codat.errors import CodatError
from freshness.policy.errors import PolicyError
from stack_access.errors import StackError
from stack_access.proxies import without_loopback
from stack_access.stack import ROOT, DeployedStack

FAILED, WRONG = 1, 2
"""The exit statuses of a command that failed, and of one whose arguments or policy are wrong."""


class Commands(TyperGroup):
    """The group of all commands. A command that fails prints one sentence."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command.

        Raises:
            typer.Exit: it failed, and its message was printed.
        """
        try:
            return super().invoke(ctx)
        except (PolicyError, ProfileNotFound, InvalidRegionError) as error:
            status, message = WRONG, _advice(error) if isinstance(error, BotoCoreError) else str(error)
        except (CommandError, StackError, Paused, NotFound, CodatError) as error:
            status, message = FAILED, str(error)
        except (ContentionError, NotPublished) as error:
            status, message = FAILED, f"{error}. Run the command again."
        except (BotoCoreError, ClientError) as error:
            status, message = FAILED, _advice(error)
        print_error(f"{ctx.info_name}: {message}")
        raise typer.Exit(status)


app = typer.Typer(name="freshness", cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
_READING = status, report, plan, explain, dataset
_ACTING = refresh, ensure, receipt, pause, resume, erase
_OPERATING = register_webhook, doctor, redrive, restore, audit, export, page, policies, mcp
for _command in (*_READING, *_ACTING, *_OPERATING):
    app.command()(_command)
for _policy_command in (show, diff, push, history, rollback):
    policy_commands.app.command()(_policy_command)
app.add_typer(policy_commands.app, name="policy")
app.add_typer(sandbox_commands.app, name="sandbox")


@app.callback()
def options(
    context: typer.Context,
    *,
    profile: Annotated[str | None, option("NAME", "The AWS profile to use.")] = None,
    region: Annotated[str | None, option("NAME", "The region of the stack.")] = None,
    stack: Annotated[str | None, option("NAME", "The name of the stack.", default="the only one in the region")] = None,
    local: Annotated[bool, typer.Option("--local", help='Use the stack that "make run" runs on this machine.')] = False,
    policy: Annotated[
        Path,
        typer.Option(
            help="The policy file of this machine, to compare with the one in force.", show_default="freshness.toml"
        ),
    ] = ROOT / "freshness.toml",
) -> None:
    """Inspect and operate a deployed Codat Freshness."""
    if not local:
        # The AWS command line and Lambda read AWS_REGION, but boto3 does not.
        context.obj = DeployedStack.in_aws(stack, profile, region or os.environ.get("AWS_REGION") or None, policy)
    elif given := [option for option, value in (("stack", stack), ("profile", profile), ("region", region)) if value]:
        raise typer.BadParameter(f"expected it alone, and not with --{given[0]}", param_hint="--local")
    else:
        os.environ.update(without_loopback(os.environ))
        context.obj = DeployedStack.of_local_run(policy)


def _advice(error: BotoCoreError | ClientError) -> str:
    """Return what an AWS error means, and what to do about it."""
    match error:
        case NoCredentialsError():
            return "No AWS credentials: log in, name a profile with --profile, or use --local."
        case NoRegionError():
            return "No AWS region: name one with --region, set AWS_REGION, or use --local for `make run`."
        case ProfileNotFound():
            return f'{error}: "aws configure list-profiles" lists the profiles.'
        case EndpointConnectionError():
            return f"{error} If you use --local, check that the local run is still running."
        case ClientError():
            details = error.response["Error"]
            return f"AWS refused {error.operation_name}: {details.get('Message') or details.get('Code')}"
        case _:
            return f"AWS: {error}"
