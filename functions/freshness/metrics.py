"""The metrics: the one place that names them, for the functions that emit them and the alarms that watch them.

Each has one dimension, the function that emits it: in CloudWatch every combination of dimensions is a metric of its
own, and is paid for as such. What tells causes apart is therefore part of a name.
"""

from enum import StrEnum

NAMESPACE = "CodatFreshness"
DIMENSION = "service"
"""Powertools' name for the function that emits a metric."""


class Metric(StrEnum):
    """What is counted or measured, by the name under which CloudWatch has it."""

    CODAT_CALLS = "CodatCalls"

    COMPANIES_LISTED = "CompaniesListed"
    LISTING_FAILED = "ListingFailed"
    COMPANIES_CHECKED = "CompaniesChecked"
    CHECKS_FAILED = "ChecksFailed"
    COMPANIES_DELETED = "CompaniesDeleted"
    REFRESHES_FOUND_BY_CHECK = "RefreshesFoundByCheck"
    REFRESHES_BY_OTHERS = "RefreshesByOthers"
    CONNECTIONS_KEPT_ALIVE = "ConnectionsKeptAlive"
    DOUBLED_SCHEDULES = "DoubledSchedules"
    WEBHOOKS_SILENT = "WebhooksSilent"

    ROWS_LOOKED_AT = "RowsLookedAt"
    REFRESHES_QUEUED = "RefreshesQueued"
    DATASETS_ADOPTED = "DatasetsAdopted"
    ROWS_FOUND_UNSUPPORTED = "RowsFoundUnsupported"
    QUEUEING_FAILED = "QueueingFailed"
    PROMISES_BROKEN = "PromisesBroken"
    PROMISES_KEPT_AGAIN = "PromisesKeptAgain"

    WEBHOOKS_REFUSED = "WebhooksRefused"
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
