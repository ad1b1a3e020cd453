"""The settings of the sandbox."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from codat_sandbox.platforms import DataType

Share = Annotated[float, Field(ge=0, le=1)]
Duration = Annotated[timedelta, Field(ge=timedelta(0))]


Hour = Annotated[int, Field(ge=0, le=23)]


class Settings(BaseModel):
    """Settings of the sandbox. Shares are from 0 to 1. In JSON, durations are seconds or ISO 8601.

    All settings can be changed while the sandbox runs. Those that describe the companies at the start then apply to
    companies added later and to a reset.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(1, description="The same seed, calls and times give the same results.")

    companies: int = Field(12, ge=0, description="Number of companies at the start.")
    never_synced: Share = Field(0.4, description="Share of feeds that were never synced.")
    fresh_at_start: Share = Field(0.1, description="Share of feeds synced within the last hour.")
    needs_relink: Share = Field(1 / 12, description="Share of companies whose first connection is Deauthorized.")
    machine_offline: Share = Field(
        0.5, description="Share of on-premise connections whose machine is offline; at least one if not 0."
    )
    machine_hours: tuple[Hour, Hour] = Field(
        (0, 0),
        description="Hours in UTC from and to which an on-premise machine is online at all; equal for the whole day. "
        "Codat's default for QuickBooks Desktop is 19 to 7, in the customer's time zone.",
    )
    machine_waits_in: Literal["Queued", "Fetching"] = Field(
        "Queued", description="Status of a dataset that waits for a machine: Codat documents both."
    )
    permissions_error: Share = Field(
        0.02, description="Share of feeds whose syncs end in PermissionsError until relinked."
    )
    not_supported: Share = Field(0.03, description="Share of feeds whose syncs always end in NotSupported.")
    changes_per_day: float = Field(4.0, gt=0, description="Median rate at which the records of a feed change.")
    changes_spread: float = Field(1.5, ge=0, description="Standard deviation of the natural logarithm of that rate.")

    sync_time_min: Duration = timedelta(seconds=2)
    sync_time_max: Duration = timedelta(seconds=6)
    fails_first: Share = Field(
        0.1, description="Share of feeds whose first sync in the sandbox ends in a temporary error."
    )
    fails_later: Share = Field(0.0, description="Share of later syncs that end in a temporary error.")
    rate_limit_error: Share = Field(0.0, description="Share of syncs that end in RateLimitError.")
    authorization_lapses: Share = Field(
        0.0, description="Share of syncs that end in AuthError and leave the connection Deauthorized."
    )
    paused: Share = Field(0.0, description="Share of syncs that are paused in Fetching, as at a limit of the platform.")
    paused_for: Duration = Field(timedelta(hours=2), description="How long these are paused.")
    sync_schedule: dict[DataType, Annotated[int, Field(ge=0)]] = Field(
        {DataType.BANKING_ACCOUNTS: 24},
        description="Codat's own schedule: hours after the last sync by data type; 0 or absent is never.",
    )
    read_completed_within: Duration = Field(
        timedelta(seconds=1), description="Syncs of one company that end within this time are reported by one webhook."
    )

    custom_products: dict[str, tuple[DataType, ...]] = Field(
        {}, description="Data types of the custom products that every company has, by the product's identifier."
    )
    custom_data_types: dict[str, tuple[str, ...]] = Field(
        {}, description="Identifiers of the custom data types of each platform, by the platform's name."
    )
    links: str = Field("https://link-api.codat.io", description="What link URLs begin with.")
    one_time_links: bool = Field(
        False, description="Whether each response of the API has other link URLs, which are valid for one use."
    )
    listed_connections: Literal["all", "empty", "null", "missing"] = Field(
        "all", description="What the list of companies has as the connections of each: Codat may leave them out."
    )
    already_in_progress_status: Literal[400, 409] = 400
    daily_quota: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Requests allowed a day; by default 1,000 x (1 + active companies)."
    )
    calls_per_minute: int = Field(1000, ge=1, description="Requests allowed a minute from one address.")
    concurrent_calls: int = Field(10, ge=1, description="Concurrent requests allowed for one company.")
    latency: Duration = Field(timedelta(0), description="Time before each response of the API.")

    webhooks_lost: Share = Field(0.0, description="Share of webhooks that are never sent.")
    webhooks_doubled: Share = Field(0.0, description="Share of webhooks that are sent twice.")
    webhooks_late: Share = Field(0.0, description="Share of webhooks that are sent late.")
    webhooks_late_by: Duration = Field(timedelta(seconds=10), description="Maximum delay of a late webhook.")
    webhook_time_scale: float = Field(
        1.0, gt=0, description="Factor of the time between attempts, and of the 5 days until an endpoint is disabled."
    )
    webhook_headers: Literal["webhook", "svix"] = Field("webhook", description="Prefix of the three signature headers.")

    def machine_opens_at(self, now: datetime) -> datetime:
        """Return when on-premise machines are next online, at `now` or later: at `now` during `machine_hours`."""
        start, end = self.machine_hours
        hours = (now.hour - start) % 24
        if start == end or hours < (end - start) % 24:
            return now
        return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=24 - hours)

    def scheduled_hours(self, data_type: str) -> int:
        """Return the hours from one sync of a data type to the next by Codat's own schedule; 0 is never."""
        return next((hours for scheduled, hours in self.sync_schedule.items() if scheduled == data_type), 0)

    @model_validator(mode="after")
    def _sync_times_are_ordered(self) -> "Settings":
        if self.sync_time_min > self.sync_time_max:
            raise ValueError("sync_time_min must not be greater than sync_time_max")
        return self
