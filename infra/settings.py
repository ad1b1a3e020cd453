"""Settings of a deployment, from `deployment.toml` and `cdk deploy -c name=value`."""

import tomllib
from collections.abc import Mapping
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


DEFAULT_NAME = "CodatFreshness"
"""The name of the stack if none is given."""


class SettingsError(ValueError):
    """Settings are invalid. The message has a line for each invalid setting, with what was expected."""


class Settings(BaseModel):
    """Settings of one deployment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,23}$")]
    """The name of the stack and of its metrics' dimension. In the names of functions, CloudFormation would shorten a
    longer one, and policies would not apply that name them by it."""

    codat_base_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+$")]
    dry_run: bool
    """Whether to decide and record what to refresh without queueing it at Codat."""
    policy: Path
    """The policy file, relative to the folder of `deployment.toml`."""
    check_schedule: CronExpression
    queue_schedule: CronExpression
    time_zone: ZoneInfo
    """The time zone of both schedules."""
    tick_at_least_every: Annotated[int, Field(ge=1, le=LONGEST_PERIOD)]
    """The longest time between two runs of a schedule, in minutes. An alarm reports a longer one."""
    alarm_email: Annotated[str, StringConstraints(pattern=r"^([^@\s]+@[^@\s]+)?$")]
    """The email address that alarms are sent to; none if it is empty."""
    dashboard: bool
    """Whether to create a dashboard, which costs 3 USD a month beyond the three that AWS offers free of charge."""
    protect_tables: bool
    """Whether DynamoDB refuses to delete the tables. CloudFormation could then not roll back their creation."""
    monthly_budget: Annotated[int, Field(ge=0)]
    """The USD a month above whose forecast an alarm is sent; no alarm if it is 0."""
    webhooks_per_second: Annotated[int, Field(ge=1)]
    """How many webhooks API Gateway accepts a second. It answers 429 to others, and Codat sends those again."""
    webhooks_at_once: Annotated[int, Field(ge=1)]
    """How many it accepts within a moment before that limits them."""
    api_calls_per_second: Annotated[int, Field(ge=1)]
    """How many calls of each route of the API it accepts a second."""
    api_calls_at_once: Annotated[int, Field(ge=1)]
    """How many it accepts within a moment before that limits them."""
    webhook_batches_at_once: Annotated[int, Field(ge=2, le=1000)]
    """How many batches of webhooks are applied at the same time, each by an execution. Lambda's least is two."""
    waiting_callers: Annotated[int, Field(ge=0)]
    """How many callers of the API may wait for fresh data at the same time, each with an execution."""
    webhook_addresses: Annotated[tuple[IPvAnyAddress, ...], BeforeValidator(_words)]
    """The IP addresses that webhooks are accepted from, separated by spaces; any address if it is empty."""
    webhook_header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]*$")]
    """A header that webhooks must have, with the value of its own secret; none if it is empty."""
    local: bool = False
    """Whether to deploy to a local AWS, with a bundle for this machine and tables that are deleted with the stack."""

    @classmethod
    def read(cls, file: Path, context: Mapping[str, object]) -> Self:
        """Return the settings of the stack that `context` names, which override those of the file.

        Raises:
            SettingsError: the file cannot be read, or a setting is missing, unknown or invalid.
        """
        try:
            tables = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{file}: {error}") from error
        name = context.get("name", DEFAULT_NAME)
        values = {"name": name, **tables.get("default", {}), **tables.get(str(name), {}), **context}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            mistakes = (
                f"{'context' if mistake['loc'][0] in context else file.name} {mistake['loc'][0]}: {mistake['msg']}, "
                f"got {mistake['input']!r}"
                for mistake in error.errors()
            )
            raise SettingsError("\n".join(mistakes)) from error

    @classmethod
    def from_context(cls, node: Node, file: Path) -> Self:
        """Return the settings of the file, overridden by those in the context of `node`.

        Raises:
            SettingsError: as `read`.
        """
        return cls.read(file, cls.given(node))

    @classmethod
    def given(cls, node: Node) -> dict[str, object]:
        """Return the settings in the context of `node`."""
        context = {name: node.try_get_context(name) for name in cls.model_fields}
        return {name: value for name, value in context.items() if value is not None}
