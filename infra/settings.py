"""Settings of a deployment, from the `context` of `cdk.json` and `cdk deploy -c name=value`."""

from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from constructs import Node
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyAddress,
    StringConstraints,
    ValidationError,
)

from infra import cron


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


CronExpression = Annotated[str, AfterValidator(cron.validated)]
LONGEST_PERIOD = 7 * 24 * 60 // 3
"""Minutes. CloudWatch evaluates at most a week, and some alarms evaluate three periods."""


class SettingsError(ValueError):
    """The context is invalid. The message has a line for each invalid setting, with what was expected."""


class Settings(BaseModel):
    """Settings of one deployment."""

    model_config = ConfigDict(frozen=True)

    codat_base_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+$")]
    dry_run: bool
    """Whether to decide and record what to refresh without queueing it at Codat."""
    policy: Path
    """The policy file, relative to the folder of `cdk.json`."""
    check_schedule: CronExpression
    queue_schedule: CronExpression
    queue_by_shard: bool
    """Whether to run a queueing tick for each shard of the feeds, where a single tick cannot queue enough."""
    time_zone: ZoneInfo
    """The time zone of both schedules."""
    tick_at_least_every: Annotated[int, Field(ge=1, le=LONGEST_PERIOD)]
    """The longest time between two runs of a schedule, in minutes. An alarm reports a longer one."""
    alarm_email: Annotated[str, StringConstraints(pattern=r"^([^@\s]+@[^@\s]+)?$")]
    """The email address that alarms are sent to; none if it is empty."""
    dashboard: bool
    """Whether to create a dashboard, which costs 3 USD a month beyond the three that AWS offers free of charge."""
    webhook_addresses: Annotated[tuple[IPvAnyAddress, ...], BeforeValidator(_words)]
    """The IP addresses that webhooks are accepted from, separated by spaces; any address if it is empty."""
    webhook_header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]*$")]
    """A header that webhooks must have, with the value of its own secret; none if it is empty."""
    local: bool
    """Whether to deploy to a local AWS, with a bundle for this machine and tables that are deleted with the stack."""

    @classmethod
    def from_context(cls, node: Node) -> Self:
        """Return the settings in the context of `node`.

        Raises:
            SettingsError: a setting is missing or invalid.
        """
        try:
            return cls.model_validate({name: node.try_get_context(name) for name in cls.model_fields})
        except ValidationError as error:
            mistakes = (
                f"context {mistake['loc'][0]}: {mistake['msg']}, got {mistake['input']!r}" for mistake in error.errors()
            )
            raise SettingsError("\n".join(mistakes)) from error
