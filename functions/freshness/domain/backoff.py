"""How long to wait before the next try: longer after each failure, and spread so that not all try at once."""

import zlib
from datetime import timedelta

FIRST = timedelta(seconds=15)
FIRST_REFUSED = timedelta(hours=1)
"""The first wait after a refusal, such as 403: the same call is unlikely to succeed sooner."""
LONGEST = timedelta(hours=6)
LONGEST_RUNNING = timedelta(minutes=15)
"""The longest wait after Codat refused to queue a dataset because one still runs."""
LONGEST_OUTAGE = FIRST
"""The longest wait after no response came or Codat was down: work goes on soon after Codat responds again."""


def delay(name: str, failures: int, *, first: timedelta = FIRST, longest: timedelta = LONGEST) -> timedelta:
    """Return how long to wait after `failures` failures in a row, at least one.

    The delay starts at `first` and doubles with each failure up to `longest`. Jitter of a quarter either way is derived
    from `name` and `failures`: the same failure always gives the same delay.
    """
    doubled: timedelta = first * 2 ** min(max(failures - 1, 0), 20)
    jitter = 0.75 + 0.5 * zlib.crc32(f"{name}{failures}".encode()) / 2**32
    return jitter * min(doubled, longest)
