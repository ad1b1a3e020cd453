"""The names of what the functions count, and the few metrics among them that alarms watch.

CloudWatch charges for every metric in the hours in which it is emitted. Only the metrics that an alarm watches are
emitted, with the stack as their only dimension: all functions share them. Everything that is counted is in the log
record that ends each run. The dashboard takes the rest from there.
"""

import os
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from threading import Lock

from aws_lambda_powertools.metrics import EphemeralMetrics

NAMESPACE = "CodatFreshness"
DIMENSION = "service"
"""Powertools' name of the dimension that has the name of the stack as its value."""
LOW_QUOTA = 10
"""The percentage of the daily quota below which the quota counts as nearly spent."""


class Metric(StrEnum):
    """A number that is counted or measured, by its name in CloudWatch."""

    TICKS_CUT_SHORT = "TicksCutShort"
    """Ticks that ran out of time before their work was done."""

    CODAT_CALLS = "CodatCalls"
    CODAT_REFUSED_ACCESS = "CodatRefusedAccess"
    """Ticks that ended because Codat refuses the API key, or the account."""
    CODAT_LIMITED_CALLS = "CodatLimitedCalls"
    RESPONSE_ITEMS_SKIPPED = "ResponseItemsSkipped"
    """Items of Codat's responses that could not be read."""
    QUOTA_LEFT = "QuotaLeft"
    """The calls left today, in percent of the daily quota."""
    QUOTA_NEARLY_SPENT = "QuotaNearlySpent"
    """Ticks that found less than `LOW_QUOTA` percent of the daily quota left."""

    LISTING_FAILED = "ListingFailed"
    LISTING_DOUBTED = "ListingDoubted"
    """Lists that lacked so many known companies or connections that nothing was deleted."""
    COMPANIES_CHECKED = "CompaniesChecked"
    CHECKS_FAILED = "ChecksFailed"
    RELINKS_NEEDED = "RelinksNeeded"
    """Connections that the customer must authorise again."""
    COMPANIES_DELETED = "CompaniesDeleted"
    COMPANIES_UNUSABLE = "CompaniesUnusable"
    """Companies or feeds that were left out because DynamoDB cannot store their data."""
    REFRESHES_FOUND_BY_CHECK = "RefreshesFoundByCheck"
    REFRESHES_BY_OTHERS = "RefreshesByOthers"
    CONNECTIONS_KEPT_ALIVE = "ConnectionsKeptAlive"
    DOUBLED_SCHEDULES = "DoubledSchedules"
    WEBHOOKS_SILENT = "WebhooksSilent"

    FEEDS_LEFT_OVER = "FeedsLeftOver"
    """Feeds that should have been queued, and were not. This and the next seven count the feeds due at a tick."""
    FEEDS_STALE = "FeedsStale"
    FEEDS_REFRESHING = "FeedsRefreshing"
    FEEDS_FAILING = "FeedsFailing"
    FEEDS_OVER_PROMISE = "FeedsOverPromise"
    """Feeds that are older than promised although nothing blocks a refresh."""
    FEEDS_UNATTENDED = "FeedsUnattended"
    """Feeds over their promise that are held back, or could not be queued."""
    FEEDS_TO_WARN_OF = "FeedsToWarnOf"
    """Feeds that are older than their `warn_after`."""
    OLDEST_AGE_AGAINST_PROMISE = "OldestAgeAgainstPromise"
    """The greatest age of a feed, in percent of its promise."""
    REFRESHES_QUEUED = "RefreshesQueued"
    DATASETS_ADOPTED = "DatasetsAdopted"
    FEEDS_FOUND_UNSUPPORTED = "FeedsFoundUnsupported"
    QUEUEING_FAILED = "QueueingFailed"
    PROMISES_BROKEN = "PromisesBroken"
    PROMISES_KEPT_AGAIN = "PromisesKeptAgain"
    BURN_RATE = "BurnRate"
    """How fast error budgets are used up, in percent of what is too fast; emitted only if it is."""
    DEADLINES_AT_RISK = "DeadlinesAtRisk"
    """Deadlines that were published as at risk."""

    WEBHOOKS_REFUSED_ADDRESS_NOT_ALLOWED = "WebhooksRefusedAddressNotAllowed"
    WEBHOOKS_REFUSED_HEADER_WRONG = "WebhooksRefusedHeaderWrong"
    WEBHOOKS_REFUSED_BODY_TOO_LARGE = "WebhooksRefusedBodyTooLarge"
    WEBHOOKS_REFUSED_BODY_MALFORMED = "WebhooksRefusedBodyMalformed"
    WEBHOOKS_REFUSED_HEADERS_MALFORMED = "WebhooksRefusedHeadersMalformed"
    WEBHOOKS_REFUSED_NOT_SIGNED = "WebhooksRefusedNotSigned"
    WEBHOOKS_APPLIED = "WebhooksApplied"
    WEBHOOKS_NOT_USED = "WebhooksNotUsed"
    WEBHOOKS_LEFT_OVER = "WebhooksLeftOver"
    """Webhooks for which there was no time: they are delivered again."""
    READS_COMPLETED = "ReadsCompleted"
    READS_FAILED = "ReadsFailed"
    READS_FAILED_FOR_NOW = "ReadsFailedForNow"
    READS_FAILED_UNTIL_A_PERSON_ACTS = "ReadsFailedUntilAPersonActs"
    READS_FAILED_FOR_GOOD = "ReadsFailedForGood"

    @property
    def unit(self) -> str:
        match self:
            case Metric.QUOTA_LEFT | Metric.OLDEST_AGE_AGAINST_PROMISE | Metric.BURN_RATE:
                return "Percent"
            case _:
                return "Count"


WATCHED = frozenset(
    {
        Metric.BURN_RATE,
        Metric.CODAT_REFUSED_ACCESS,
        Metric.DEADLINES_AT_RISK,
        Metric.FEEDS_TO_WARN_OF,
        Metric.LISTING_DOUBTED,
        Metric.QUEUEING_FAILED,
        Metric.QUOTA_NEARLY_SPENT,
        Metric.RELINKS_NEEDED,
        Metric.TICKS_CUT_SHORT,
        Metric.WEBHOOKS_REFUSED_NOT_SIGNED,
        Metric.WEBHOOKS_SILENT,
    }
)
"""The metrics that alarms watch. No others are emitted."""


_lock = Lock()


class Counts(Counter[Metric]):
    """A counter that threads may share. `+=` would take two steps, between which a second thread may run."""

    def count(self, metric: Metric, number: int = 1) -> None:
        with _lock:
            self[metric] += number


TOO_FAST = 100
"""The lowest burn rate that raises an alarm, in percent."""


def emit(measured: Mapping[Metric, int]) -> None:
    """Emit those of the metrics that alarms watch and that are not 0, in CloudWatch's embedded metric format."""
    values = {metric: measured[metric] for metric in WATCHED & measured.keys() if measured[metric]}
    if not values:
        return
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=os.environ.get("STACK_NAME", NAMESPACE))
    for metric, value in sorted(values.items()):
        metrics.add_metric(name=metric, unit=metric.unit, value=value)
    metrics.flush_metrics()
