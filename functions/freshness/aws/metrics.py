"""The names of the metrics, for the functions that emit them and the alarms that watch them.

Each has one dimension, the function that emits it: CloudWatch charges for every combination of dimensions as a metric
of its own, in the hours in which it is emitted. Causes are therefore distinguished by name, and a zero is emitted only
where an alarm needs it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aws_lambda_powertools import Metrics

NAMESPACE = "CodatFreshness"
DIMENSION = "service"
"""Powertools' name for the function that emits a metric."""


class Metric(StrEnum):
    """What is counted or measured, by its name in CloudWatch."""

    TICKS = "Ticks"
    """Ticks that ran to their end. Lambda measures how long they took."""
    TICKS_CUT_SHORT = "TicksCutShort"
    """Ticks that ran out of time before their work was done."""

    CODAT_CALLS = "CodatCalls"
    CODAT_REFUSED_KEY = "CodatRefusedKey"
    CODAT_REFUSED_ACCOUNT = "CodatRefusedAccount"
    CODAT_LIMITED_CALLS = "CodatLimitedCalls"
    RESPONSE_ITEMS_SKIPPED = "ResponseItemsSkipped"
    """Items of Codat's responses that could not be read."""
    QUOTA_LEFT = "QuotaLeft"
    """The calls left today, in percent of the daily quota."""

    LISTING_FAILED = "ListingFailed"
    COMPANIES_CHECKED = "CompaniesChecked"
    CHECKS_FAILED = "ChecksFailed"
    RELINKS_NEEDED = "RelinksNeeded"
    """Connections that the customer must authorise again."""
    COMPANIES_DELETED = "CompaniesDeleted"
    COMPANIES_UNUSABLE = "CompaniesUnusable"
    """Turns of companies or feeds that ended because DynamoDB cannot store their data."""
    REFRESHES_FOUND_BY_CHECK = "RefreshesFoundByCheck"
    REFRESHES_BY_OTHERS = "RefreshesByOthers"
    CONNECTIONS_KEPT_ALIVE = "ConnectionsKeptAlive"
    DOUBLED_SCHEDULES = "DoubledSchedules"
    WEBHOOKS_SILENT = "WebhooksSilent"

    FEEDS_LEFT_OVER = "FeedsLeftOver"
    """Feeds that should have been queued, and were not. Like the next seven, counted of the feeds due at a tick."""
    FEEDS_STALE = "FeedsStale"
    FEEDS_REFRESHING = "FeedsRefreshing"
    FEEDS_FAILING = "FeedsFailing"
    FEEDS_OVER_PROMISE = "FeedsOverPromise"
    """Feeds that are older than promised although nothing blocks a refresh."""
    FEEDS_UNATTENDED = "FeedsUnattended"
    """Of these, feeds that are held back, or could not be queued."""
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

    WEBHOOKS_REFUSED = "WebhooksRefused"
    WEBHOOKS_REFUSED_ADDRESS_NOT_ALLOWED = "WebhooksRefusedAddressNotAllowed"
    WEBHOOKS_REFUSED_HEADER_WRONG = "WebhooksRefusedHeaderWrong"
    WEBHOOKS_REFUSED_BODY_TOO_LARGE = "WebhooksRefusedBodyTooLarge"
    WEBHOOKS_REFUSED_BODY_MALFORMED = "WebhooksRefusedBodyMalformed"
    WEBHOOKS_REFUSED_HEADERS_MALFORMED = "WebhooksRefusedHeadersMalformed"
    WEBHOOKS_REFUSED_NOT_SIGNED = "WebhooksRefusedNotSigned"
    WEBHOOKS_DEFERRED = "WebhooksDeferred"
    WEBHOOKS_APPLIED = "WebhooksApplied"
    WEBHOOKS_NOT_USED = "WebhooksNotUsed"
    WEBHOOKS_GIVEN_UP = "WebhooksGivenUp"
    READS_COMPLETED = "ReadsCompleted"
    READS_FAILED = "ReadsFailed"
    READS_FAILED_FOR_NOW = "ReadsFailedForNow"
    READS_FAILED_UNTIL_A_PERSON_ACTS = "ReadsFailedUntilAPersonActs"
    READS_FAILED_FOR_GOOD = "ReadsFailedForGood"

    @property
    def unit(self) -> str:
        """CloudWatch's name of the unit."""
        match self:
            case Metric.QUOTA_LEFT | Metric.OLDEST_AGE_AGAINST_PROMISE:
                return "Percent"
            case _:
                return "Count"


EMITTED_AS_ZERO = (Metric.QUOTA_LEFT, Metric.FEEDS_UNATTENDED)
"""Metrics whose alarms use the minimum of several values."""


def count(metrics: "Metrics", tally: Mapping[Metric, int]) -> None:
    """Emit what was counted."""
    for metric, value in tally.items():
        if value or metric in EMITTED_AS_ZERO:
            metrics.add_metric(name=metric, unit=metric.unit, value=value)
