"""What one can set about the sandbox."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from local.codat_sandbox.platforms import DataType

Share = Annotated[float, Field(ge=0, le=1)]
Duration = Annotated[timedelta, Field(ge=timedelta(0))]


class Settings(BaseModel):
    """Everything that can be set. In JSON, durations are seconds or ISO 8601; shares are from 0 to 1.

    All may be changed while the sandbox runs; those under "the companies at the start" then count for companies
    added later and for a reset.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(1, description="The same seed, calls and times give the same world.")

    # The companies at the start
    companies: int = Field(12, ge=0, description="How many companies there are.")
    never_synced: Share = Field(0.4, description="Share of rows that no sync has ever read.")
    fresh_at_start: Share = Field(0.1, description="Share of rows read within the last hour.")
    needs_relink: Share = Field(1 / 12, description="Share of companies whose first connection is Deauthorized.")
    machine_offline: Share = Field(
        0.5, description="Share of on-premise connections whose machine is offline; at least one if not 0."
    )
    permissions_error: Share = Field(0.02, description="Share of rows that end in PermissionsError until relinked.")
    not_supported: Share = Field(0.03, description="Share of rows that always end in NotSupported.")
    changes_per_day: float = Field(4.0, gt=0, description="Median rate at which a row's records change.")
    changes_spread: float = Field(1.5, ge=0, description="Standard deviation of the natural logarithm of that rate.")

    # Syncs
    sync_time_min: Duration = timedelta(seconds=2)
    sync_time_max: Duration = timedelta(seconds=6)
    fails_first: Share = Field(0.1, description="Share of rows whose first sync here ends in a temporary error.")
    fails_later: Share = Field(0.0, description="Share of the later syncs that end in a temporary error.")
    rate_limit_error: Share = Field(0.0, description="Share of syncs that end in RateLimitError.")
    authorization_lapses: Share = Field(
        0.0, description="Share of syncs that end in AuthError and leave the connection Deauthorized."
    )
    sync_schedule: dict[DataType, Annotated[int, Field(ge=0)]] = Field(
        {DataType.BANKING_ACCOUNTS: 24}, description="Codat's own schedule, in hours by data type; 0 or absent: none."
    )
    read_completed_within: Duration = Field(
        timedelta(seconds=1), description="Reads of one company that end within this time share a webhook."
    )

    # The API
    already_in_progress_status: Literal[400, 409] = 400
    daily_quota: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Requests a day; if not given 1,000 x (1 + active connected companies)."
    )
    calls_per_minute: int = Field(1000, ge=1, description="From one address.")
    concurrent_calls: int = Field(10, ge=1, description="For one company.")
    latency: Duration = Field(timedelta(0), description="How long each answer of the API takes.")

    # Webhooks
    webhooks_lost: Share = 0.0
    webhooks_doubled: Share = 0.0
    webhooks_late: Share = 0.0
    webhooks_late_by: Duration = Field(timedelta(seconds=10), description="The most by which a late one is late.")
    webhook_time_scale: float = Field(
        1.0, gt=0, description="Factor of the times between attempts, and of the 5 days until an endpoint is disabled."
    )
    webhook_headers: Literal["webhook", "svix"] = Field("webhook", description="How the three headers are spelled.")

    @model_validator(mode="after")
    def _sync_times_are_ordered(self) -> "Settings":
        if self.sync_time_min > self.sync_time_max:
            raise ValueError("sync_time_min is more than sync_time_max: give a range that is not empty")
        return self
