"""The stack's event bus, on EventBridge."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from freshness.domain.transitions.notifications import Notification

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE = "codat-freshness"
BATCH = 10
"""The most entries that one PutEvents accepts."""


class NotPublished(Exception):
    """EventBridge did not accept a notification. Publish it again: consumers drop a repeat by its id."""


class EventBus:
    def __init__(self, events: "EventBridgeClient", name: str) -> None:
        self._events = events
        self._name = name

    def publish(self, notifications: Sequence[Notification]) -> None:
        """Publish notifications.

        Raises:
            NotPublished: EventBridge did not accept at least one of them.
        """
        for start in range(0, len(notifications), BATCH):
            self._put([self._entry(each.detail_type, each.detail()) for each in notifications[start : start + BATCH]])

    def publish_again(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Publish an event again, as it was published before.

        Raises:
            NotPublished: EventBridge did not accept it.
        """
        self._put([self._entry(detail_type, detail)])

    def _put(self, entries: "list[PutEventsRequestEntryTypeDef]") -> None:
        try:
            answer = self._events.put_events(Entries=entries)
        except (ClientError, BotoCoreError) as error:
            raise NotPublished(f"bus {self._name} is not available: {error}") from error
        if answer["FailedEntryCount"]:
            reasons = {entry.get("ErrorCode", "") for entry in answer["Entries"]} - {""}
            raise NotPublished(f"bus {self._name} rejected {answer['FailedEntryCount']} events: {sorted(reasons)}")

    def _entry(self, detail_type: str, detail: Mapping[str, Any]) -> "PutEventsRequestEntryTypeDef":
        return {
            "EventBusName": self._name,
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
        }
