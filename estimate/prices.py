"""Prices of AWS in USD: the list prices of us-east-1 in November 2026, without tax."""

from dataclasses import dataclass

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """A price in USD of so much, such as of `1M requests`. The first `free` of them in a month are free of charge."""

    usd: float
    of: str
    free: float = 0.0


DYNAMODB_WRITES, DYNAMODB_READS = Price(0.625, "1M units"), Price(0.125, "1M units")
"""On demand."""
DYNAMODB_STORAGE, DYNAMODB_BACKUPS = Price(0.25, "GB", free=25), Price(0.20, "GB")
LAMBDA_REQUESTS = Price(0.20, "1M", free=1)
LAMBDA_GB_SECOND = Price(0.0000133334, "GB-second", free=400_000)
"""On arm64."""
HTTP_API_REQUESTS = Price(1.00, "1M requests")
SQS_MESSAGES, SQS_POLLS = Price(0.40, "1M requests", free=0.34), Price(0.40, "1M requests", free=0.66)
"""Of the million requests that are free of charge, some are polls."""
EVENTBRIDGE_EVENTS = Price(1.00, "1M")
SCHEDULER_INVOCATIONS = Price(1.00, "1M", free=14)
KMS_CALL = Price(0.03 / 10_000, "call", free=20_000)
DATA_OUT = Price(0.09, "GB", free=100)
LOGS, ACCESS_LOGS = Price(0.50, "GB", free=5), Price(0.25, "GB", free=5)
ALARM_METRIC = Price(0.10, "metric", free=10)

WRITE_UNITS, READ_UNITS = 6.12, 3.66
"""DynamoDB units of one refresh, from the check that it is due to its recorded end, as measured by `make bench`."""
QUEUED_GB_SECONDS = 0.1 * 0.25
"""Lambda time to queue a refresh, in a tick that is limited to 600 calls a minute."""
RECEIVED_GB_SECONDS = 0.03 * 0.25
"""Lambda time to receive the webhook that reports the end of a refresh."""
QUEUE_TICK_GB_SECONDS, CHECK_TICK_GB_SECONDS = 0.5 * 0.25, 2 * 0.25
"""Lambda time of ticks without anything to do."""
TICK_WRITE_UNITS, TICK_READ_UNITS = 4, 6
"""DynamoDB units of ticks without anything to do."""
