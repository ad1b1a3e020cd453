"""Detecting that no webhooks arrive any more: the endpoint was disabled, or the signing secret is wrong.

The check detects it, because the functions for webhooks do not run while none arrives.
"""

from datetime import datetime, timedelta

from freshness.aws.dynamodb.control import Control

WEBHOOK_RECEIVED = "webhook received"
WRITTEN_EVERY = timedelta(minutes=5)
"""How precisely it is known when the last webhook arrived: a burst of them costs one write."""
SILENT_AFTER = timedelta(minutes=30)
"""How long no webhook may arrive before that counts as silence.

Codat repeats a webhook within seconds, then after 5 and 30 minutes, so until then it may be merely late.
"""


class WebhookHeartbeat:
    """Records when webhooks arrive, at most once in `WRITTEN_EVERY` by each process of apply_webhook."""

    def __init__(self) -> None:
        self._written_at: datetime | None = None

    def beat(self, control: Control, now: datetime) -> None:
        """Record that a webhook arrived, unless that was recorded within `WRITTEN_EVERY`."""
        if self._written_at is None or self._written_at + WRITTEN_EVERY <= now:
            control.put_done(WEBHOOK_RECEIVED, now)
            self._written_at = now


def is_silent(control: Control, found_by_check: int, now: datetime) -> bool:
    """Return whether no webhook has arrived for `SILENT_AFTER`, although a check just found refreshes that ended."""
    if not found_by_check:
        return False
    received_at = control.last_done(WEBHOOK_RECEIVED)
    return received_at is None or received_at + SILENT_AFTER <= now
