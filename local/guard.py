"""The command `python -m local.guard [PATH...]`, which stops everything that a local run started.

The run keeps a pipe to this process open. It writes the id of each process group that it starts, and `-id` once that
group has ended. When the pipe closes, because the run ended, failed or was killed, this process stops the remaining
groups and deletes the paths. Deleting folders with the code of many functions takes minutes: nobody waits for that.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

_STOP_TIMEOUT_SECONDS = 1.0


def _groups(lines: Iterable[str]) -> list[int]:
    """Return the process groups that were running when the pipe closed, in the order in which they started."""
    groups: dict[int, None] = {}
    for line in lines:
        number = int(line)
        if number > 0:
            groups[number] = None
        else:
            groups.pop(-number, None)
    return list(groups)


def _send(group: int, signal_number: int) -> bool:
    """Send a signal to a process group, and return whether the group exists."""
    try:
        os.killpg(group, signal_number)
    except (ProcessLookupError, PermissionError):  # macOS refuses to signal a group of zombies
        return False
    return True


def _stop(groups: list[int]) -> None:
    for group in groups:
        _send(group, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT_SECONDS
    while time.monotonic() < deadline and any(_send(group, 0) for group in groups):
        time.sleep(0.05)
    for group in groups:
        _send(group, signal.SIGKILL)


def _delete(paths: Iterable[Path]) -> None:
    """Delete files and folders: rename them at once, so that the next run finds none of them, and do not wait."""
    renamed = [path.rename(path.with_name(f"{path.name}.deleted-{os.getpid()}")) for path in paths if path.exists()]
    if renamed:
        command = ["rm", "-rf", "--", *map(str, renamed)]
        quiet = subprocess.DEVNULL
        subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def main() -> None:
    """Wait for the run to end, then stop its processes and delete its paths."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _stop(_groups(sys.stdin))
    _delete([Path(argument) for argument in sys.argv[1:]])


if __name__ == "__main__":
    main()
