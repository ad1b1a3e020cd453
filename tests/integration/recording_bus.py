"""An event bus that keeps what was published on it."""

from collections.abc import Sequence

from freshness.aws.event_bus import EventBus
from freshness.domain.transitions.notifications import Notification
from tests.event_schemas import check


class RecordingBus(EventBus):
    """Keeps what was published."""

    def __init__(self) -> None:
        self.published: list[Notification] = []

    def publish(self, notifications: Sequence[Notification]) -> None:
        """Keep notifications."""
        for notification in notifications:
            check(notification.detail_type, notification.detail())
        self.published += notifications

    @property
    def kinds(self) -> list[str]:
        """Return the kinds of what was published."""
        return [notification.detail_type for notification in self.published]
