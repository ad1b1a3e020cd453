"""Settings of a deployment, from `deployment.toml` and `cdk deploy -c name=value`."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyAddress,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from freshness.domain.transitions.notifications import KINDS
from freshness.policy.errors import PolicyError
from freshness.policy.file.values import nearest, quoted, time_zone
from freshness.policy.loader import read_toml
from infra import cron


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


def _time_zone(value: object) -> ZoneInfo:
    zone = time_zone(str(value))
    if zone is None:
        raise ValueError('expected a time zone such as "Europe/London"')
    return zone


def _teams_channel(value: object) -> object:
    """Return the channel that a link names; `None` for an empty link.

    The link is as Teams copies it: https://teams.microsoft.com/l/channel/CHANNEL/NAME?groupId=TEAM&tenantId=TENANT
    """
    if not value:
        return None
    link = urlsplit(str(value))
    query, found = parse_qs(link.query), re.match(r"/l/channel/([^/]+)/", link.path)
    if found is None or not query.keys() >= {"groupId", "tenantId"}:
        raise ValueError("expected the link to a channel of Teams, which has groupId and tenantId")
    # CloudFormation takes the channel as it is in the link, encoded.
    return TeamsChannel(channel=found[1], team=query["groupId"][0], tenant=query["tenantId"][0])


def _kinds(value: object) -> object:
    """Return kinds of events, from a list or from a text with commas between them."""
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    known = {kind.detail_type for kind in KINDS}
    for name in names if isinstance(names, list) else []:
        if name not in known:
            raise ValueError(f"expected kinds of events, such as {nearest(str(name), known) or 'Relink needed'!r}")
    return names


class TeamsChannel(NamedTuple):
    """A channel of Microsoft Teams, by Microsoft's ids."""

    channel: str
    team: str
    tenant: str


HttpsUrl = Annotated[str, StringConstraints(pattern=r"^(https://[^\s/]+(/\S*)?)?$")]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]*$")]
CronExpression = Annotated[str, AfterValidator(cron.validated)]
LONGEST_PERIOD = 7 * 24 * 60 // 3
"""Minutes. CloudWatch evaluates at most a week, and some alarms evaluate three periods."""


DEFAULT_NAME = "CodatFreshness"
"""The name of the stack if none is given."""


class SettingsError(ValueError):
    """Settings are invalid. The message has a line for each invalid setting, with what was expected."""


class Settings(BaseModel):
    """The settings of a stack, besides its policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    codat_base_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+$")] = "https://api.codat.io"
    dry_run: bool = False
    """Whether to decide and record what to refresh without queueing it at Codat."""
    policy_source: Literal["deployed or pushed", "deployed only"] = "deployed or pushed"
    """Whether `./freshness policy push` may put another policy in force than the one that was deployed."""
    start_paused: bool = True
    """Whether a new stack queues nothing before someone resumes it."""
    check_schedule: CronExpression = "cron(0/5 * * * ? *)"
    """When to check Codat, as EventBridge Scheduler writes it."""
    queue_schedule: CronExpression = "cron(* * * * ? *)"
    """When to queue refreshes."""
    time_zone: Annotated[ZoneInfo, BeforeValidator(_time_zone)] = ZoneInfo("Etc/UTC")
    """The time zone of both schedules."""
    tick_at_least_every: Annotated[int, Field(ge=1, le=LONGEST_PERIOD)] = 15
    """The longest time between two runs of a schedule, in minutes. An alarm reports a longer one."""
    alarm_email: Annotated[str, StringConstraints(pattern=r"^([^@\s]+@[^@\s]+)?$")] = ""
    """The email address that alarms are sent to; none if it is empty."""
    alarm_https: HttpsUrl = ""
    """An HTTPS endpoint that alarms are sent to, as PagerDuty, Opsgenie and Statuspage have; none if it is empty."""
    slack_workspace: Annotated[str, StringConstraints(pattern=r"^(T[A-Z0-9]+)?$")] = ""
    """The id of a workspace of Slack, which was authorised in the console of Amazon Q in chat applications."""
    slack_channel: Annotated[str, StringConstraints(pattern=r"^([CG][A-Z0-9]+)?$")] = ""
    """The id of the workspace's channel that alarms are sent to; none if it is empty."""
    teams_channel: Annotated[TeamsChannel | None, BeforeValidator(_teams_channel)] = None
    """The channel of Microsoft Teams that alarms are sent to, given as the link to it; none if it is empty."""
    notify_url: HttpsUrl = ""
    """The HTTPS endpoint that events are sent to; none if it is empty."""
    notify_events: Annotated[tuple[str, ...], BeforeValidator(_kinds)] = (
        "Relink needed",
        "Relink due soon",
        "Promise broken",
    )
    """The kinds of events that are sent to `notify_url`."""
    notify_header: Annotated[HeaderName, Field(min_length=1)] = "Authorization"
    """The header whose value is the secret of the endpoint, unless it takes tokens."""
    notify_token_url: HttpsUrl = ""
    """Where OAuth tokens for the endpoint are issued for client credentials; none if it is empty."""
    kms_key: Annotated[str, StringConstraints(pattern=r"^(arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/\S+)?$")] = ""
    """The ARN of the KMS key of tables, and of secrets that are stored with it; if empty, AWS's own keys are used."""
    lambda_insights: bool = False
    """Whether Lambda Insights reports the memory that functions use, and an alarm watches it, at a cost."""
    dashboard: bool = False
    """Whether to create a dashboard, which costs 3 USD a month beyond the three that AWS offers free of charge."""
    protect_tables: bool = False
    """Whether DynamoDB refuses to delete the tables. CloudFormation could then not roll back their creation."""
    monthly_budget: Annotated[int, Field(ge=0)] = 50
    """An alarm is sent if a month is forecast to cost more USD; no alarm if it is 0."""
    webhooks_per_second: Annotated[int, Field(ge=1)] = 25
    """How many webhooks API Gateway accepts a second. It answers 429 to others, and Codat sends those again."""
    webhooks_at_once: Annotated[int, Field(ge=1)] = 100
    """How many webhooks may arrive at the same moment before that limit applies."""
    api_calls_per_second: Annotated[int, Field(ge=1)] = 5
    """How many calls of each route of the API are accepted a second."""
    api_calls_at_once: Annotated[int, Field(ge=1)] = 5
    """How many calls of each route may arrive at the same moment before that limit applies."""
    webhook_batches_at_once: Annotated[int, Field(ge=2, le=1000)] = 4
    """How many batches of webhooks are applied at the same time, each by an execution. Lambda's least is two."""
    waiting_callers: Annotated[int, Field(ge=0)] = 2
    """How many callers of the API may wait for fresh data at the same time, each with an execution."""
    task_tokens_of: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    """The ARNs of the state machines whose tasks a request may end, separated by spaces."""
    webhook_addresses: Annotated[tuple[IPvAnyAddress, ...], BeforeValidator(_words)] = ()
    """The IP addresses that webhooks are accepted from, separated by spaces; any address if it is empty."""
    webhook_header: HeaderName = ""
    """A header that webhooks must have, with the value of its own secret; none if it is empty."""
    local: bool = False
    """Whether to deploy to a local AWS, with a bundle for this machine and tables that are deleted with the stack."""

    @model_validator(mode="after")
    def _runs_often_enough(self) -> Self:
        for name in ("check_schedule", "queue_schedule"):
            minutes = cron.longest_gap(getattr(self, name)) // timedelta(minutes=1)
            if self.tick_at_least_every < minutes:
                raise ValueError(
                    f"tick_at_least_every: expected at least {minutes}, the minutes between two runs of {name}"
                )
        return self

    @model_validator(mode="after")
    def _slack_is_whole(self) -> Self:
        if bool(self.slack_channel) != bool(self.slack_workspace):
            raise ValueError("slack_channel: expected slack_workspace with it")
        return self

    @property
    def warnings(self) -> Iterator[str]:
        """Yield a warning for each setting that is valid, but likely to surprise."""
        if self.local and self.notify_url:
            yield "notify_url is left out: the local AWS sends no events to other endpoints."
        offsets = {datetime(2026, month, 1, tzinfo=self.time_zone).utcoffset() for month in range(1, 13)}
        if len(offsets) > 1:
            yield (
                f"time_zone = {self.time_zone} has daylight saving time: EventBridge Scheduler starts no tick in the "
                "hour that comes twice in autumn. Etc/UTC has no such hour."
            )


class Deployment(Settings):
    """A stack that this repository deploys."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,23}$")]
    """The name of the stack and of its metrics' dimension.

    CloudFormation would shorten a longer one in the names of functions, and policies with these names would not apply.
    """
    policy: Path
    """The policy file, relative to the folder of `deployment.toml`."""

    @classmethod
    def read(cls, file: Path, context: Mapping[str, object]) -> Self:
        """Return the settings of the stack that `context` names. Settings in `context` override the file's.

        Raises:
            SettingsError: the file cannot be read, or a setting is missing, unknown or invalid.
        """
        try:
            _, tables = read_toml(file)
        except PolicyError as error:
            raise SettingsError(str(error)) from error
        given = {name: value for name in cls.model_fields if (value := context.get(name)) is not None}
        name = given.get("name", DEFAULT_NAME)
        values = {"name": name, **tables.get("default", {}), **tables.get(str(name), {}), **given}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError("\n".join(_mistake(each, file, given) for each in error.errors())) from error


def _mistake(mistake: ErrorDetails, file: Path, context: Mapping[str, object]) -> str:
    """Return what is wrong with a setting, and where it was given."""
    problem = mistake["msg"].removeprefix("Value error, ")
    if not mistake["loc"]:
        return f"{file.name} {problem}"
    name = str(mistake["loc"][0])
    return f"{'context' if name in context else file.name} {name}: {problem}, got {quoted(mistake['input'])}"


def context_of(environment: Mapping[str, str]) -> dict[str, object]:
    """Return the context that the CDK's command line gives the app, as the CDK's `App` reads it."""
    context: dict[str, object] = json.loads(environment.get("CDK_CONTEXT_JSON") or "{}")
    # What does not fit into the variable is in a file.
    if overflow := environment.get("CONTEXT_OVERFLOW_LOCATION_ENV"):
        context |= json.loads(Path(overflow).read_text(encoding="utf-8"))
    return context
