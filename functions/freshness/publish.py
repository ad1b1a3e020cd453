"""The edge towards EventBridge: what this system tells others, on the stack's own bus."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from freshness.times import sortable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE = "codat-freshness"
BATCH = 10
"""The most entries that one PutEvents takes."""


class NotPublished(Exception):
    """EventBridge did not take an event. Publish it again: consumers drop a repeat by its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyDataRefreshed:
    """A data type of a company was read anew. `records_modified` is `None` where Codat did not say.

    `event_id` stays the same if the event is published again, so that a consumer can drop a repeat.
    """

    event_id: str
    company_id: str
    connection_id: str
    data_type: str
    refreshed_at: datetime
    records_modified: bool | None

    detail_type = "Company data refreshed"

    def detail(self) -> dict[str, str | bool | None]:
        """The event's detail, as consumers see it."""
        return {
            "id": self.event_id,
            "companyId": self.company_id,
            "connectionId": self.connection_id,
            "dataType": self.data_type,
            "refreshedAt": sortable(self.refreshed_at),
            "recordsModified": self.records_modified,
        }


class Bus:
    """The stack's event bus."""

    def __init__(self, events: "EventBridgeClient", name: str) -> None:
        self._events = events
        self._name = name

    def publish(self, news: Sequence[CompanyDataRefreshed]) -> None:
        """Publish all of them.

        Raises:
            NotPublished: EventBridge refused at least one.
        """
        for start in range(0, len(news), BATCH):
            answer = self._events.put_events(Entries=[self._entry(item) for item in news[start : start + BATCH]])
            if answer["FailedEntryCount"]:
                reasons = {entry.get("ErrorCode", "") for entry in answer["Entries"]} - {""}
                raise NotPublished(f"bus {self._name} refused {answer['FailedEntryCount']} events: {sorted(reasons)}")

    def _entry(self, item: CompanyDataRefreshed) -> "PutEventsRequestEntryTypeDef":
        return {
            "EventBusName": self._name,
            "Source": SOURCE,
            "DetailType": item.detail_type,
            "Detail": json.dumps(item.detail()),
        }
