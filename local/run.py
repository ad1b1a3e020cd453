"""`make run`: the whole system on this machine, kept running and shown until Ctrl-C or for RUN_FOR seconds."""

import os
import signal
import sys
from types import FrameType

from rich.console import Console

from freshness.policy.errors import PolicyError
from freshness.policy.loader import load
from local import local_aws
from local.display import summary
from local.errors import LocalRunError
from local.progress import Progress
from local.settings import ROOT, Settings
from local.stack import running_stack
from local.watch import watch

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked the run to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def _stop(number: int, _: FrameType | None) -> None:
    # Once is enough: a second Ctrl-C must not interrupt the cleaning up.
    for stopping in _STOPPING:
        signal.signal(stopping, signal.SIG_IGN)
    raise Stopped(number)


def run(console: Console) -> int:
    """Run until the time is up; the exit status: 0 if every data type that can be fresh is fresh.

    Raises:
        LocalRunError: the run could not start, or could not go on.
        Stopped: a signal asked it to stop.
    """
    settings = Settings.take(os.environ)
    # The deployed functions must find their code in their bundle, not where this program finds it.
    os.environ.pop("PYTHONPATH", None)
    os.environ.update(local_aws.tool_environment(settings.local_aws_port))
    load(ROOT / "freshness.toml")
    with running_stack(settings, Progress(console)) as stack:
        remaining = stack.codat.remaining_calls()
        look = watch(stack, console, settings.run_for)
        # Asking for what remains is itself a call.
        calls = remaining - stack.codat.remaining_calls() - 1
        # The terminal itself wraps what is too long, so that links can still be followed and copied.
        hours = stack.target.store.sync_settings().hours
        console.print(summary(look.fleet, look.refreshes, calls, hours, stack.dry_run), soft_wrap=True)
    return 0 if look.fleet.lines and not look.fleet.overdue else 1


def main() -> int:
    """Run, and say in a sentence why it ended early if it did."""
    console = Console()
    for number in _STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` sets it
            signal.signal(number, _stop)
    try:
        return run(console)
    except Stopped as stopped:
        console.print("Stopped, and everything that was started with it.")
        return stopped.status
    except PolicyError as error:
        console.print(str(error), style="red", highlight=False, markup=False)
    except LocalRunError as error:
        if error.details:
            console.print(error.details, style="dim", highlight=False, markup=False)
        console.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
