"""Places for callers who wait.

A caller who waits holds an execution of Lambda. A new AWS account has ten, for everything. So there is a limited number
of places, each with a lease. The fewer places are free, the shorter the wait.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from freshness.app.services import Services

LAST_TURN = timedelta(seconds=5)
"""How long a caller may still work after its wait has ended."""


@contextmanager
def place_to_wait(services: Services, until: datetime) -> Iterator[datetime]:
    """Hold a place for a caller, and yield when its wait ends: `until` or earlier, or now if no place is free.

    Of four places, the first gives all of the time, the second three quarters of it, and so on.
    """
    now = services.clock()
    for taken in range(services.waiting_callers):
        ends = now + (until - now) * (1 - taken / services.waiting_callers)
        if ends > now and (place := services.tables.control.take(f"waiting {taken}", ends + LAST_TURN, now)):
            try:
                yield ends
            finally:
                place.release()
            return
    yield now
