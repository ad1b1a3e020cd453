"""What a deployment may set: the `context` of `cdk.json`, or `cdk deploy -c name=value`."""

from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from constructs import Node
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    IPvAnyAddress,
    PositiveInt,
    StringConstraints,
    ValidationError,
)


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


CronExpression = Annotated[str, StringConstraints(pattern=r"^cron\([^()]+\)$")]


class SettingsError(ValueError):
    """The context cannot be used. Its text has a line for each setting that is wrong, with what was expected."""


class Settings(BaseModel):
    """The settings of one deployment."""

    model_config = ConfigDict(frozen=True)

    codat_base_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+$")]
    dry_run: bool
    """Decide and record what to refresh, but queue nothing at Codat."""
    policy: Path
    """The policy file, relative to the folder of `cdk.json`."""
    check_schedule: CronExpression
    queue_schedule: CronExpression
    queue_by_shard: bool
    """Have a tick of queueing for each shard of the feeds, where one tick after the other cannot queue enough."""
    time_zone: ZoneInfo
    """In which both schedules are read."""
    tick_at_least_every: PositiveInt
    """The longest time between two runs of a schedule, in minutes: an alarm tells of a longer one."""
    alarm_email: Annotated[str, StringConstraints(pattern=r"^([^@\s]+@[^@\s]+)?$")]
    """Who is told of alarms; no one if it is empty."""
    webhook_addresses: Annotated[tuple[IPvAnyAddress, ...], BeforeValidator(_words)]
    """The addresses that webhooks are taken from, separated by spaces; any address if there is none."""
    webhook_header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]*$")]
    """A header that webhooks must have besides, with the value of a secret of its own; none if it is empty."""
    local: bool
    """Deploy to a local AWS: the bundle is built for this machine, and deleting the stack leaves nothing."""

    @classmethod
    def of(cls, node: Node) -> Self:
        """The settings in the context of `node`.

        Raises:
            SettingsError: one is missing or wrong.
        """
        try:
            return cls.model_validate({name: node.try_get_context(name) for name in cls.model_fields})
        except ValidationError as error:
            mistakes = (
                f"context {mistake['loc'][0]}: {mistake['msg']}, got {mistake['input']!r}" for mistake in error.errors()
            )
            raise SettingsError("\n".join(mistakes)) from error
