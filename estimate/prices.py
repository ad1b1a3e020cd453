"""Prices of AWS in USD: the list prices of us-east-1 in November 2026, without tax."""

MILLION = 1_000_000

DYNAMODB_WRITES = 0.625
"""Per million write units, on demand."""
DYNAMODB_READS = 0.125
"""Per million read units, on demand."""
LAMBDA_REQUESTS = 0.20
"""Per million."""
LAMBDA_GB_SECOND = 0.0000133334
"""Per GB-second, on arm64."""
HTTP_API_REQUESTS = 1.00
"""Per million."""
SQS_REQUESTS = 0.40
"""Per million."""
EVENTBRIDGE_EVENTS = 1.00
"""Per million custom events."""
SCHEDULER_INVOCATIONS = 1.00
"""Per million."""

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
