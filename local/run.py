"""The command behind `make run`: runs and shows the whole stack on this machine for RUN_FOR seconds or until Ctrl-C."""

import os
import signal
import sys
from collections.abc import Iterable
from types import FrameType

from rich.console import Console

from freshness.domain.companies.company import Company
from freshness.domain.feeds.codat_schedule import CodatSchedule
from freshness.policy.errors import PolicyError
from freshness.policy.loader import load
from freshness.policy.policy import Policy
from freshness.policy.unmatched import unmatched
from local import local_aws
from local.display import summary
from local.errors import LocalRunError, SettingsError
from local.progress import Progress
from local.settings import ROOT, Settings
from local.stack import running_stack
from local.watch import watch
from stack_access.page_server import page_url
from stack_access.text import CleanConsole

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal to stop the run. `status` is the exit status for it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def _stop(number: int, _: FrameType | None) -> None:
    # A second Ctrl-C must not interrupt the cleanup.
    for stopping in _STOPPING:
        signal.signal(stopping, signal.SIG_IGN)
    raise Stopped(number)


def run(console: Console) -> int:
    """Run until RUN_FOR has passed, and return the exit status: 0 if every feed that can be fresh is fresh.

    Raises:
        PolicyError: freshness.toml is invalid.
        SettingsError: a variable of the environment is wrong.
        LocalRunError: the run could not start or continue.
        Stopped: a signal to stop was received.
    """
    settings = Settings.from_environment(os.environ)
    # The deployed functions must import from their bundle, not from the folder that this program imports from.
    os.environ.pop("PYTHONPATH", None)
    os.environ.update(local_aws.tool_environment(settings.local_aws_port))
    load(ROOT / "freshness.toml")
    console.print(f"Page: {page_url(settings.page_port)} (once everything has started)", highlight=False)
    with running_stack(settings, Progress(console)) as stack:
        before = stack.codat.remaining_calls()
        snapshot = watch(stack, console, settings.run_for)
        calls = calls_between(before, stack.codat.remaining_calls())
        # The terminal wraps long lines itself, so that links can be clicked and copied.
        hours = stack.tables.control.read(CodatSchedule).hours
        console.print(summary(snapshot.fleet, snapshot.refreshes, calls, hours, stack.dry_run), soft_wrap=True)
        print_unmatched(console, stack.deployed.policy, stack.tables.companies.scan())
    return 0 if snapshot.fleet.feeds and not snapshot.fleet.overdue else 1


def print_unmatched(console: Console, policy: Policy, companies: Iterable[Company]) -> None:
    """Print a line for each name in the policy that selects nothing of the fleet."""
    for name in unmatched(policy, companies):
        console.print(f"Matches nothing: {name}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def calls_between(before: int | None, after: int | None) -> int | None:
    """Return how many calls were made between two readings of what is left of the quota; `None` if it is unknown."""
    # Reading the remaining calls is itself a call.
    return None if before is None or after is None else before - after - 1


def main() -> int:
    """Run, print why the run ended early if it did, and return the exit status."""
    console = CleanConsole()
    for number in _STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP
            signal.signal(number, _stop)
    try:
        return run(console)
    except Stopped as stopped:
        console.print("Stopped, with everything that the run started.")
        return stopped.status
    except (PolicyError, SettingsError) as error:
        console.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        return 2
    except LocalRunError as error:
        if error.details:
            console.print(error.details, style="dim", highlight=False, markup=False)
        console.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
