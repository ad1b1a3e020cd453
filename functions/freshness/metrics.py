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

    ROWS_LOOKED_AT = "RowsLookedAt"
    REFRESHES_QUEUED = "RefreshesQueued"
    DATASETS_ADOPTED = "DatasetsAdopted"
    ROWS_FOUND_UNSUPPORTED = "RowsFoundUnsupported"
    QUEUEING_FAILED = "QueueingFailed"

    WEBHOOKS_REFUSED = "WebhooksRefused"
    WEBHOOKS_REFUSED_BODY_TOO_LARGE = "WebhooksRefusedBodyTooLarge"
    WEBHOOKS_REFUSED_BODY_MALFORMED = "WebhooksRefusedBodyMalformed"
    WEBHOOKS_REFUSED_HEADERS_MALFORMED = "WebhooksRefusedHeadersMalformed"
    WEBHOOKS_REFUSED_NOT_SIGNED = "WebhooksRefusedNotSigned"
    WEBHOOKS_PUT_OFF = "WebhooksPutOff"
    WEBHOOKS_APPLIED = "WebhooksApplied"
    READS_ALREADY_KNOWN = "ReadsAlreadyKnown"
    READS_COMPLETED = "ReadsCompleted"
    READS_FAILED = "ReadsFailed"
