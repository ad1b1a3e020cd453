"""Noticing that webhooks no longer come: the endpoint was disabled, or the signing secret is wrong.

The check notices it, since the functions that take webhooks in do not run when none comes.
"""

from datetime import datetime, timedelta

from freshness.aws.store import Store

NOTED_EVERY = timedelta(minutes=5)
"""How exactly it is known when a webhook last came: a burst of them costs one write."""
SILENT_AFTER = timedelta(minutes=30)
"""Codat retries within seconds, then after 5 and 30 minutes: what is merely late is not silence."""


class Silence:
    """What one process of apply_webhook has noted of webhooks coming."""

    def __init__(self) -> None:
        self._noted_at: datetime | None = None

    def broken(self, store: Store, now: datetime) -> None:
        """Note that webhooks come, unless that was noted a moment ago."""
        if self._noted_at is None or self._noted_at + NOTED_EVERY <= now:
            store.note_webhook_heard(now)
            self._noted_at = now


def is_silent(store: Store, ended_untold: int, now: datetime) -> bool:
    """Whether refreshes end, `ended_untold` of them just found by a check, while no webhook comes."""
    if not ended_untold:
        return False
    heard_at = store.webhook_heard_at()
    return heard_at is None or heard_at + SILENT_AFTER <= now
