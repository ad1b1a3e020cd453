"""`freshness doctor`: what keeps the system from doing its work, and what to do about each."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import typer

from cli.codat import Told, ask_codat
from cli.output import Json, say, say_json
from cli.target import Target, target
from freshness.codat.errors import AccountLimit, CodatError, Forbidden, RateLimited, Unauthorized
from freshness.domain.api_limits import ApiLimits

LARGEST_SKEW = timedelta(seconds=30)
"""Webhooks are refused if their time is minutes off; what a tick notes would be late or early by as much."""
LITTLE = 0.1
"""The share of the daily quota that is little."""
LOOK_BACK = timedelta(days=1)
"""How far back refused webhooks are looked for."""
_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{16,}={0,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found of one thing; `to_do` is empty if all is well."""

    subject: str
    found: str
    to_do: str = ""


def doctor(context: typer.Context, *, as_json: Json = False) -> None:
    """Look for what keeps promises from being kept, and tell what to do. The status is 1 if anything was found."""
    findings = list(_examine(target(context)))
    if as_json:
        say_json(findings)
    else:
        for finding in findings:
            say(f"{'✗' if finding.to_do else '✓'} {finding.subject}: {finding.found}", "red" if finding.to_do else "")
            if finding.to_do:
                say(f"    {finding.to_do}")
    if any(finding.to_do for finding in findings):
        raise typer.Exit(1)


def _examine(stack: Target) -> Iterator[Finding]:
    yield from _schedules(stack)
    yield _pause(stack)
    yield _dry_run(stack)
    told = asyncio.run(ask_codat(stack))
    yield _key(told)
    if told.at:
        yield _clock(told.at)
    yield _quota(stack.store.quota(), told, datetime.now(UTC))
    if told.consumers is not None:
        yield _webhook(stack, told)
    yield _signing_secret(stack)
    if told.settings is not None:
        yield _doubled(told)
    yield _dead_letters(stack)


def _schedules(stack: Target) -> Iterator[Finding]:
    scheduler = stack.session.client("scheduler", endpoint_url=stack.endpoint)
    pages = scheduler.get_paginator("list_schedules").paginate(NamePrefix=stack.stack)
    schedules = [schedule for page in pages for schedule in page["Schedules"]]
    for function in (stack.outputs.check_freshness_function, stack.outputs.queue_refreshes_function):
        found = [one for one in schedules if one.get("Target", {}).get("Arn", "").endswith(f":{function}")]
        subject = f"schedule of {function}"
        if not found:
            yield Finding(subject=subject, found="there is none", to_do='Deploy the stack again with "cdk deploy".')
        for one in found:
            is_on = one.get("State") == "ENABLED"
            to_do = "" if is_on else f"Turn on the schedule {one.get('Name')} in EventBridge Scheduler."
            yield Finding(subject=subject, found="it is on" if is_on else "it is turned off", to_do=to_do)


def _pause(stack: Target) -> Finding:
    paused = [company.name for company in stack.store.every_company() if company.paused]
    if stack.store.is_paused():
        return Finding(subject="pause", found="everything is paused", to_do='Take it back with "./freshness resume".')
    if paused:
        to_do = 'Take it back with "./freshness resume COMPANY" once it is no longer needed.'
        return Finding(subject="pause", found=f"paused: {', '.join(sorted(paused))}", to_do=to_do)
    return Finding(subject="pause", found="nothing is paused")


def _dry_run(stack: Target) -> Finding:
    if stack.environment(stack.outputs.queue_refreshes_function).get("DRY_RUN") == "true":
        to_do = 'Deploy without "-c dry_run=true" once it has shown what it should.'
        return Finding(subject="dry run", found="refreshes are shown in the log, and not queued", to_do=to_do)
    return Finding(subject="dry run", found="refreshes are queued")


def _key(told: Told) -> Finding:
    match told.error:
        case None | RateLimited():
            return Finding(subject="Codat's API key", found="Codat takes it")
        case Unauthorized() | Forbidden():
            to_do = "Copy the key from Codat's portal into the secret CodatApiKeySecret; it is used in five minutes."
            return Finding(subject="Codat's API key", found=f"Codat refuses it: {told.error}", to_do=to_do)
        case AccountLimit():
            to_do = "Ask whoever holds the contract with Codat."
            return Finding(subject="Codat's account", found=f"it is used up: {told.error}", to_do=to_do)
        case CodatError():
            to_do = "See whether Codat is down (https://status.codat.io), and whether CODAT_BASE_URL is right."
            return Finding(subject="Codat", found=f"it does not answer as it should: {told.error}", to_do=to_do)


def _clock(codat: datetime) -> Finding:
    skew = abs(datetime.now(UTC) - codat)
    if skew > LARGEST_SKEW:
        to_do = "Set this machine's clock, or ask Codat's support if it is right."
        return Finding(subject="clock", found=f"it is {skew.total_seconds():.0f} s from Codat's", to_do=to_do)
    return Finding(subject="clock", found="it agrees with Codat's")


def _quota(quota: ApiLimits, told: Told, now: datetime) -> Finding:
    if told.limit and told.remaining is not None and told.at:
        quota = quota.told(told.limit, told.remaining, told.at)
    left = quota.left(now)
    share = "Codat has not told of it yet" if left is None else f"{left:.0%} of today's calls are left"
    stop = quota.no_call_before(now)
    if stop or isinstance(told.error, RateLimited):
        until = f" until {stop:%Y-%m-%d %H:%M} UTC" if stop else ""
        to_do = "Nothing is queued before; promise less in freshness.toml if this comes again."
        return Finding(subject="quota", found=f"it is spent: Codat takes no calls{until}", to_do=to_do)
    if left is not None and left < LITTLE:
        to_do = "See on the dashboard who spends them; promise less in freshness.toml, or pause a company."
        return Finding(subject="quota", found=share, to_do=to_do)
    return Finding(subject="quota", found=share)


def _webhook(stack: Target, told: Told) -> Finding:
    consumers = [one for one in told.consumers or () if one.url.rstrip("/") == stack.outputs.webhook_url.rstrip("/")]
    if not consumers:
        to_do = f'Register {stack.outputs.webhook_url} at Codat with "make register-webhook".'
        return Finding(subject="webhook", found="Codat has none for this stack", to_do=to_do)
    if all(one.disabled for one in consumers):
        to_do = "Mend what made it fail (five days of failures disable it), then enable it in Codat's portal."
        return Finding(subject="webhook", found="Codat has disabled it", to_do=to_do)
    return Finding(subject="webhook", found="Codat has it, enabled")


def _signing_secret(stack: Target) -> Finding:
    subject = "webhooks' signing secret"
    secrets = stack.secret(stack.outputs.webhook_signing_secret).split()
    to_do = "Copy it from the webhook's endpoint in Codat's portal into the secret WebhookSigningSecret."
    if not secrets or not all(_SECRET.fullmatch(secret) for secret in secrets):
        return Finding(subject=subject, found='it is not one of Codat\'s, which begin with "whsec_"', to_do=to_do)
    refused_at = _logged(stack, stack.outputs.receive_webhook_function, "NotSigned", datetime.now(UTC) - LOOK_BACK)
    if refused_at and not _logged(stack, stack.outputs.apply_webhook_function, "WebhooksApplied", refused_at):
        found = f"it does not fit: a webhook was refused at {refused_at:%Y-%m-%d %H:%M:%S} UTC, and none came since"
        return Finding(subject=subject, found=found, to_do=to_do)
    return Finding(subject=subject, found="no webhook was refused for it")


def _logged(stack: Target, function: str, word: str, since: datetime) -> datetime | None:
    """When a function's log had a word last."""
    logs = stack.session.client("logs", endpoint_url=stack.endpoint)
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=stack.log_group(function), startTime=int(since.timestamp() * 1000), filterPattern=word
    )
    times = [event["timestamp"] for page in pages for event in page["events"] if "timestamp" in event]
    return datetime.fromtimestamp(max(times) / 1000, UTC) if times else None


def _doubled(told: Told) -> Finding:
    doubled = {one.data_type: one.sync_schedule for one in told.settings or () if one.sync_schedule}
    if not doubled:
        return Finding(subject="Codat's own schedule", found="it is off")
    listed = ", ".join(f"{data_type} every {hours} h" for data_type, hours in sorted(doubled.items()))
    to_do = (
        "Set these to \"never\" under Settings > Sync in Codat's portal: each is read twice, at the platform's expense."
    )
    return Finding(subject="Codat's own schedule", found=f"it doubles ours: {listed}", to_do=to_do)


def _dead_letters(stack: Target) -> Finding:
    sqs = stack.session.client("sqs", endpoint_url=stack.endpoint)
    attributes = sqs.get_queue_attributes(
        QueueUrl=stack.outputs.webhook_dead_letter_queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )["Attributes"]
    number = int(attributes["ApproximateNumberOfMessages"])
    if number:
        to_do = 'Read the error in the log of apply_webhook; once it is mended, run "./freshness redrive".'
        return Finding(subject="dead letters", found=f"{number} webhooks could not be applied", to_do=to_do)
    return Finding(subject="dead letters", found="there are none")
