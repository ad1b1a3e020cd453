"""Places for callers who wait.

A caller who waits holds an execution of Lambda. A new AWS account has ten, for everything. Only so many wait at
once, each with a lease, and the fewer places are free, the shorter is the wait.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import uuid4

from freshness.app.services import Services

LAST_TURN = timedelta(seconds=5)
"""How long what a caller does at the end of its wait may take."""


@contextmanager
def place_to_wait(services: Services, until: datetime) -> Iterator[datetime]:
    """Hold a place for a caller, and yield until when it may wait: `until` or earlier, or now if no place is free.

    Of four places, the first gives all of the time, the second three quarters of it, and so on.
    """
    control, now, owner = services.tables.control, services.clock(), uuid4().hex
    for taken in range(services.waiting_callers):
        ends = now + (until - now) * (1 - taken / services.waiting_callers)
        if ends > now and control.acquire(f"waiting {taken}", owner, ends + LAST_TURN, now):
            try:
                yield ends
            finally:
                control.release(f"waiting {taken}", owner)
            return
    yield now
