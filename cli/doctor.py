"""`freshness doctor`: what keeps the stack from working, and what to do about it."""

import asyncio
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Self

import typer

from cli.arguments import Json, selected_stack
from cli.codat import CodatReport, read_report
from cli.output import print_json, print_text
from freshness.app.page.read import summary_of
from freshness.app.queueing.bulk_calls import PRODUCT_REFUSED
from freshness.app.reading.diagnosis import RESUME
from freshness.app.tick import UNUSABLE
from freshness.codat.errors import AccountLimit, CodatError, Forbidden, RateLimited, Unauthorized
from freshness.codat.http import SKIPPED
from freshness.codat.models import SyncSetting, WebhookConsumer
from freshness.codat.webhooks.registration import missing, of_url
from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.company import Company
from freshness.domain.companies.listing import Listing
from freshness.policy.policy import Policy
from freshness.policy.unmatched import unmatched
from stack_access.stack import DeployedStack, clock

if TYPE_CHECKING:
    from mypy_boto3_logs.type_defs import FilteredLogEventTypeDef

LARGEST_SKEW = timedelta(seconds=30)
"""The greatest difference from Codat's clock that is harmless. Webhooks are refused if their time is minutes off."""
LITTLE = 0.1
"""The share of the daily quota below which little is left."""
LOOK_BACK = timedelta(days=1)
"""How far back logs are searched."""
TICKS = 2
"""How many executions of Lambda the two ticks hold."""
LISTED = 10
"""The most companies or names that one finding lists."""
_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{16,}={0,2}")


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one examination. `to_do` is empty if nothing is wrong."""

    subject: str
    found: str
    to_do: str = ""

    @classmethod
    def of(cls, subject: str, problem: str, to_do: str, *, fine: str) -> Self:
        """Return the problem with what to do about it; if there is none, what is fine instead."""
        return cls(subject, problem, to_do) if problem else cls(subject, fine)


def doctor(
    context: typer.Context,
    *,
    as_json: Json = False,
    confirm_deletions: Annotated[
        bool, typer.Option("--confirm-deletions", help="Take what Codat's lists lack as deleted, for a day.")
    ] = False,
) -> None:
    """Look for problems that endanger the promises, and show what to do. The exit status is 1 if there is one."""
    stack = selected_stack(context)
    if confirm_deletions:
        stack.operations.confirm_deletions()
    findings = list(_examine(stack))
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            symbol, style = ("✗", "red") if finding.to_do else ("✓", "")
            print_text(f"{symbol} {finding.subject}: {finding.found}", style)
            if finding.to_do:
                print_text(f"    {finding.to_do}")
        current = summary_of(stack.queries, clock())
        print_text(f"Now {current.how_kept}" + (' "./freshness status" lists them.' if current.promises_broken else ""))
    if any(finding.to_do for finding in findings):
        raise typer.Exit(1)


def _examine(stack: DeployedStack) -> Iterator[Finding]:
    yield from _schedules(stack)
    yield _pauses(stack)
    yield _dry_run(stack)
    yield _concurrency(stack)
    report = asyncio.run(read_report(stack))
    yield _api_key(report)
    if report.account:
        yield account(report.account, stack.policy.codat.account)
    if report.at:
        yield _clock(report.at)
    yield _quota(stack.tables.control.api_limits(), report, clock())
    yield listing(stack.tables.control.read(Listing), clock())
    if report.consumers is not None:
        yield webhook(stack.outputs.webhook_url, report.consumers, stack.policy.products)
    yield _signing_secret(stack)
    if report.settings is not None:
        yield doubled_schedule(report.settings, stack.policy.products_types)
    yield _dead_letters(stack)
    yield _unusable_companies(stack)
    yield skipped_items(stack)
    if stack.policy.products:
        yield products(stack)
    yield selections(stack.tables.companies.scan(), stack.policy)
    if stack.policy.local_time.tag_names:
        yield local_time(stack.tables.companies.scan(), stack.policy)


def account(name: str, pinned: str) -> Finding:
    """Return the finding about the account of the API key: a problem if the policy names another account."""
    to_do = f"[codat] of the policy names {pinned}. Store that account's key, or deploy the policy of this one."
    return Finding("Codat's account", f"the key belongs to {name}", "" if pinned in ("", name) else to_do)


def local_time(companies: Iterable[Company], policy: Policy) -> Finding:
    """Return the finding about tags for a time zone or calendar: a problem if they name one that does not exist."""
    unknown = [
        f"{company.name} ({', '.join(tags)})"
        for company in companies
        if (tags := policy.local_time.unknown(company, policy.calendars)) and not company.deleted_at
    ]
    problem = f"{len(unknown)} companies have unknown ones: {_first_of(unknown)}" if unknown else ""
    to_do = "Correct them in Codat: a time zone is named as Europe/London is, a calendar as in the policy."
    return Finding.of("tags with a time zone or calendar", problem, to_do, fine="all are known")


def selections(companies: Iterable[Company], policy: Policy) -> Finding:
    """Return the finding about names in the policy: a problem if one of them selects nothing."""
    found = list(unmatched(policy, companies))
    problem = f"{len(found)} match nothing: {_first_of(found)}" if found else ""
    fine = "each matches a connection, as far as there are any"
    return Finding.of("names in the policy", problem, "Correct them in freshness.toml, or remove them.", fine=fine)


def _schedules(stack: DeployedStack) -> Iterator[Finding]:
    scheduler = stack.session.client("scheduler", endpoint_url=stack.endpoint)
    pages = scheduler.get_paginator("list_schedules").paginate(NamePrefix=f"{stack.name}-")
    schedules = [schedule for page in pages for schedule in page["Schedules"]]
    for function in (stack.outputs.check_freshness_function, stack.outputs.queue_refreshes_function):
        of_function = [each for each in schedules if each.get("Target", {}).get("Arn", "").endswith(f":{function}")]
        subject = f"schedule of {function}"
        if not of_function:
            yield Finding(subject, "it does not exist", 'Deploy the stack again with "cdk deploy".')
        for schedule in of_function:
            problem = "" if schedule.get("State") == "ENABLED" else "it is disabled"
            to_do = f"Enable the schedule {schedule.get('Name')} in EventBridge Scheduler."
            yield Finding.of(subject, problem, to_do, fine="it is enabled")


def _pauses(stack: DeployedStack) -> Finding:
    now = clock()
    if pause := stack.pause(now):
        return Finding("pause", f"everything is {pause}", RESUME)
    paused = [f"{company.name} ({company.pause})" for company in stack.queries.paused_companies(now)]
    problem = f"paused: {', '.join(paused)}" if paused else ""
    to_do = 'Resume with "./freshness resume COMPANY" once the pause is no longer needed.'
    return Finding.of("pause", problem, to_do, fine="nothing is paused")


def _dry_run(stack: DeployedStack) -> Finding:
    is_dry = stack.environment(stack.outputs.queue_refreshes_function).get("DRY_RUN") == "true"
    problem = "refreshes are logged, and not queued" if is_dry else ""
    to_do = "Set dry_run to false in deployment.toml and deploy, to queue refreshes."
    return Finding.of("dry run", problem, to_do, fine="refreshes are queued")


def _concurrency(stack: DeployedStack) -> Finding:
    client = stack.session.client("lambda", endpoint_url=stack.endpoint)
    mappings = client.list_event_source_mappings(FunctionName=stack.outputs.apply_webhook_function)
    return concurrency(
        client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"],
        sum(each["ScalingConfig"]["MaximumConcurrency"] for each in mappings["EventSourceMappings"]),
        int(stack.environment(stack.outputs.serve_api_function)["WAITING_CALLERS"]),
    )


def concurrency(limit: int, batches: int, callers: int) -> Finding:
    """Return the finding about concurrent executions: a problem if the stack can take all that the account has."""
    found = (
        f"{callers} callers may wait for fresh data: of the account's {limit:,} executions, they hold {callers}, "
        f"batches of webhooks {batches} and ticks {TICKS}"
    )
    to_do = (
        "None may be left to receive webhooks. Lower waiting_callers or webhook_batches_at_once in deployment.toml, or "
        "ask for more under Service Quotas, Lambda, Concurrent executions."
    )
    return Finding("concurrent executions", found, "" if callers + batches + TICKS < limit else to_do)


def _api_key(report: CodatReport) -> Finding:
    match report.error:
        case None | RateLimited():
            return Finding("Codat's API key", "Codat accepts it")
        case Unauthorized() | Forbidden():
            to_do = "Copy it from Codat's portal into the secret CodatApiKeySecret. It is used within five minutes."
            return Finding("Codat's API key", f"Codat refuses it: {report.error}", to_do)
        case AccountLimit():
            found = f"its limit is reached: {report.error}"
            return Finding("Codat's account", found, "Ask the owner of the contract with Codat.")
        case CodatError():
            to_do = "Check whether Codat is down (https://status.codat.io), and whether CODAT_BASE_URL is right."
            return Finding("Codat", f"a call failed: {report.error}", to_do)


def _clock(at: datetime) -> Finding:
    skew = abs(clock() - at)
    problem = f"it differs from Codat's by {skew.total_seconds():.0f} s" if skew > LARGEST_SKEW else ""
    to_do = "Set the clock of this machine; if it is right, ask Codat's support."
    return Finding.of("clock", problem, to_do, fine="it agrees with Codat's")


def _quota(limits: ApiLimits, report: CodatReport, now: datetime) -> Finding:
    if report.quota and report.at:
        limits = limits.with_quota(*report.quota, report.at)
    left = limits.share_left(now)
    found = "Codat has not reported it yet" if left is None else f"{left:.0%} of today's calls are left"
    until = limits.stopped_before(now)
    if until or isinstance(report.error, RateLimited):
        until_text = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
        to_do = "Nothing is queued before then. If this happens again, promise less in freshness.toml."
        return Finding("quota", f"it is spent: Codat accepts no calls{until_text}", to_do)
    to_do = "See on the dashboard who makes the calls. Promise less in freshness.toml, or pause a company."
    return Finding("quota", found, to_do if left is not None and left < LITTLE else "")


def listing(last: Listing, now: datetime) -> Finding:
    """Return the finding about Codat's last list of companies: a problem if it lacks too much to delete anything."""
    subject, lacking = "Codat's list of companies", (last.companies.lacking, last.connections.lacking)
    if not any(lacking):
        return Finding(subject, "it has every company and connection that is known")
    found = (
        f"it lacks {last.companies.lacking:,} of {last.companies.known:,} companies, and {last.connections.lacking:,} "
        f"of {last.connections.known:,} connections"
    )
    if last.is_doubted(now):
        to_do = (
            "Nothing is deleted, because that is more likely to be a mistake. If it was deleted at Codat, run "
            '"./freshness doctor --confirm-deletions". Otherwise ask Codat\'s support.'
        )
        return Finding(subject, found, to_do)
    return Finding(subject, f"{found}, which are deleted if the next lists lack them too")


def webhook(url: str, consumers: Iterable[WebhookConsumer], products: Collection[str]) -> Finding:
    """Return the finding about the webhook at Codat: a problem unless it sends all event types that are used."""
    of_stack = of_url(consumers, url, products)
    if not of_stack:
        to_do = f'Register {url} at Codat with "./freshness register-webhook".'
        return Finding("webhook", "Codat has none for this stack", to_do)
    if all(consumer.disabled for consumer in of_stack):
        to_do = (
            "Fix what made it fail (Codat disables a webhook after five days of failures), and enable it in its portal."
        )
        return Finding("webhook", "it is disabled at Codat", to_do)
    if lacking := missing(of_stack[0], products):
        to_do = f"Add them to the endpoint in Codat's portal: {', '.join(lacking)}."
        return Finding("webhook", f"{len(lacking)} event types are not sent to it", to_do)
    return Finding("webhook", "it is registered and enabled at Codat")


def _signing_secret(stack: DeployedStack) -> Finding:
    subject = "webhooks' signing secret"
    secrets = stack.secret(stack.outputs.webhook_signing_secret).split()
    to_do = f"Copy it from the webhook's endpoint in Codat's portal into {stack.outputs.webhook_signing_secret}."
    if not secrets or not all(_SECRET.fullmatch(secret) for secret in secrets):
        return Finding(subject, 'it is not one of Codat\'s, which begin with "whsec_"', to_do)
    refused_at = _last_logged(stack, stack.outputs.receive_webhook_function, "NotSigned", clock() - LOOK_BACK)
    if refused_at and not _last_logged(stack, stack.outputs.apply_webhook_function, "WebhooksApplied", refused_at):
        found = f"it does not fit: a webhook was refused at {refused_at:%Y-%m-%d %H:%M:%S} UTC, and none applied since"
        return Finding(subject, found, to_do)
    return Finding(subject, "it fits the webhooks that arrive")


def doubled_schedule(settings: Iterable[SyncSetting], of_products: Collection[str]) -> Finding:
    """Return the finding about Codat's own schedule: a problem if Codat also reads data types by itself.

    `of_products` are the data types in the policy's products.
    """
    listed = []
    for setting in sorted(settings, key=lambda setting: setting.data_type):
        if setting.sync_schedule:
            listed.append(f"{setting.data_type} every {setting.sync_schedule} h")
        elif setting.fetch_on_first_link and setting.data_type in of_products:
            listed.append(f"{setting.data_type} on first link, which is in a product")
    problem = f"it also reads {', '.join(listed)}" if listed else ""
    to_do = 'Set these to "never" under Settings > Sync in Codat\'s portal: each data type is read twice.'
    return Finding.of("Codat's own schedule", problem, to_do, fine="it is off")


def _dead_letters(stack: DeployedStack) -> Finding:
    sqs = stack.session.client("sqs", endpoint_url=stack.endpoint)
    attributes = sqs.get_queue_attributes(
        QueueUrl=stack.outputs.webhook_dead_letter_queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )["Attributes"]
    number = int(attributes["ApproximateNumberOfMessages"])
    problem = f"{number} webhooks could not be applied" if number else ""
    to_do = 'Read the error in the log of apply_webhook. Once its cause is fixed, run "./freshness redrive".'
    return Finding.of("dead letters", problem, to_do, fine="there are none")


def _unusable_companies(stack: DeployedStack) -> Finding:
    records = _logged_by_ticks(stack, UNUSABLE)
    ids = sorted({record["company_id"] for record in records if "company_id" in record})
    listed = f": {_first_of(ids, ', ')}" if ids else ""
    problem = f"data of {len(ids) or 'some'} could not be stored within a day{listed}" if records else ""
    to_do = (
        f'Read the error in the log of check_freshness or queue_refreshes (search for "{UNUSABLE}"), and correct the '
        "company's data at Codat. Other companies are not affected."
    )
    return Finding.of("unusable companies", problem, to_do, fine="none was logged within a day")


def skipped_items(stack: DeployedStack) -> Finding:
    """Return the finding about items of Codat's responses: a problem if some cannot be read."""
    found = sorted(
        {
            f"{record.get('items') or 'one without an id'} of {record.get('call')} ({record.get('first_reason')})"
            for record in _logged_by_ticks(stack, SKIPPED)
        }
    )
    problem = f"some cannot be read: {_first_of(found)}" if found else ""
    to_do = "Ask Codat's support about them. They are skipped, and what is known of them does not change."
    return Finding.of("items of Codat's responses", problem, to_do, fine="all were read within a day")


def products(stack: DeployedStack) -> Finding:
    """Return the finding about the policy's products: a problem if Codat refused to refresh one."""
    refused = sorted({each["product"] for each in _logged_by_ticks(stack, PRODUCT_REFUSED) if "product" in each})
    problem = f"Codat refuses to refresh {_first_of(refused, ', ')}" if refused else ""
    to_do = (
        "Remove them from [products] in freshness.toml if they are Codat's standard products: only custom products can "
        f'be refreshed. The log of queue_refreshes has the reason (search for "{PRODUCT_REFUSED}").'
    )
    return Finding.of("products", problem, to_do, fine="none was refused within a day")


def _first_of(texts: Sequence[str], between: str = "; ") -> str:
    """Return the first of some texts, and an ellipsis if there are more."""
    return between.join([*texts[:LISTED], *(["…"] if len(texts) > LISTED else [])])


def _logged_by_ticks(stack: DeployedStack, text: str) -> list[dict[str, str]]:
    """Return the attributes of the log messages with a text in the logs of both ticks, of the last day."""
    since = clock() - LOOK_BACK
    functions = stack.outputs.check_freshness_function, stack.outputs.queue_refreshes_function
    events = chain.from_iterable(_logged(stack, function, f'"{text}"', since) for function in functions)
    return [_attributes(event.get("message", "")) for event in events]


def _attributes(message: str) -> dict[str, str]:
    """Return the attributes of a log message; none if it is not JSON."""
    try:
        record = json.loads(message)
    except ValueError:
        return {}
    # Some are logged as `ascii` returns them, in quotes.
    return {name: str(value).strip("'\"") for name, value in record.items()} if isinstance(record, dict) else {}


def _last_logged(stack: DeployedStack, function: str, pattern: str, since: datetime) -> datetime | None:
    """Return when a function last logged a message that matches a pattern, `None` if it did not."""
    times = [event["timestamp"] for event in _logged(stack, function, pattern, since) if "timestamp" in event]
    return datetime.fromtimestamp(max(times) / 1000, UTC) if times else None


def _logged(stack: DeployedStack, function: str, pattern: str, since: datetime) -> Iterator["FilteredLogEventTypeDef"]:
    """Yield the log events of a function that match a filter pattern of CloudWatch Logs."""
    logs = stack.session.client("logs", endpoint_url=stack.endpoint)
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=stack.log_group(function), startTime=int(since.timestamp() * 1000), filterPattern=pattern
    )
    for page in pages:
        yield from page["events"]
