"""The metrics: the one place that names them, for the functions that emit them and the alarms that watch them.

Each has one dimension, the function that emits it: in CloudWatch every combination of dimensions is a metric of its
own, and is paid for as such, in the hours in which it is told. What tells causes apart is therefore part of a name, and
what is zero is told only where an alarm needs it.
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
    """What is counted or measured, by the name under which CloudWatch has it."""

    TICKS = "Ticks"
    """Ticks that ran to their end. How long they took, Lambda measures."""
    TICKS_CUT_SHORT = "TicksCutShort"
    """Ticks whose time was up before their work was done."""

    CODAT_CALLS = "CodatCalls"
    CODAT_REFUSED_KEY = "CodatRefusedKey"
    CODAT_REFUSED_ACCOUNT = "CodatRefusedAccount"
    CODAT_LIMITED_CALLS = "CodatLimitedCalls"
    QUOTA_LEFT = "QuotaLeft"
    """What is left of today's calls, in percent of the daily quota."""

    LISTING_FAILED = "ListingFailed"
    COMPANIES_CHECKED = "CompaniesChecked"
    CHECKS_FAILED = "ChecksFailed"
    RELINKS_NEEDED = "RelinksNeeded"
    """Connections through which Codat could read, and no longer can."""
    COMPANIES_DELETED = "CompaniesDeleted"
    REFRESHES_FOUND_BY_CHECK = "RefreshesFoundByCheck"
    REFRESHES_BY_OTHERS = "RefreshesByOthers"
    CONNECTIONS_KEPT_ALIVE = "ConnectionsKeptAlive"
    DOUBLED_SCHEDULES = "DoubledSchedules"
    WEBHOOKS_SILENT = "WebhooksSilent"

    FEEDS_LEFT_OVER = "FeedsLeftOver"
    """Feeds that should have been queued, and were not. Like all that follow, of those that were due at a tick."""
    FEEDS_STALE = "FeedsStale"
    FEEDS_REFRESHING = "FeedsRefreshing"
    FEEDS_FAILING = "FeedsFailing"
    FEEDS_OVER_PROMISE = "FeedsOverPromise"
    """Feeds that are older than promised, and that no person need see to first."""
    FEEDS_UNATTENDED = "FeedsUnattended"
    """Those of them that are held back, or could not be queued."""
    FEEDS_TO_WARN_OF = "FeedsToWarnOf"
    """Feeds that are older than the age at which the policy wants a person to be told."""
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
    WEBHOOKS_PUT_OFF = "WebhooksPutOff"
    WEBHOOKS_APPLIED = "WebhooksApplied"
    WEBHOOKS_REPEATED = "WebhooksRepeated"
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


TOLD_AS_ZERO = (Metric.QUOTA_LEFT, Metric.FEEDS_UNATTENDED)
"""Metrics whose alarms go by the least of several values."""


def count(metrics: "Metrics", tally: Mapping[Metric, int]) -> None:
    """Emit what was counted."""
    for metric, value in tally.items():
        if value or metric in TOLD_AS_ZERO:
            metrics.add_metric(name=metric, unit=metric.unit, value=value)
