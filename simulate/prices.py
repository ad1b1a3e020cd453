"""What AWS charges: list prices of us-east-1 in November 2026, in USD, as AWS publishes them, without tax."""

MILLION = 1_000_000

DYNAMODB_WRITES = 0.625
"""A million write units, on demand."""
DYNAMODB_READS = 0.125
"""A million read units, on demand."""
LAMBDA_REQUESTS = 0.20
"""A million."""
LAMBDA_GB_SECOND = 0.0000133334
"""On arm64."""
HTTP_API_REQUESTS = 1.00
"""A million."""
SQS_REQUESTS = 0.40
"""A million."""
EVENTBRIDGE_EVENTS = 1.00
"""A million of one's own."""
SCHEDULER_INVOCATIONS = 1.00
"""A million."""

WRITE_UNITS, READ_UNITS = 7.0, 3.1
"""Of one refresh, from due to done, as `make bench` measures them."""
QUEUED_GB_SECONDS = 0.1 * 0.5
"""Of a refresh in a tick that is paced at 600 calls a minute."""
RECEIVED_GB_SECONDS, APPLIED_GB_SECONDS = 0.03 * 0.25, 0.1 * 0.25
"""Of the webhook that tells of its end."""
QUEUE_TICK_GB_SECONDS, CHECK_TICK_GB_SECONDS = 0.5 * 0.5, 2 * 0.5
"""Of ticks with nothing to do."""
TICK_WRITE_UNITS, TICK_READ_UNITS = 4, 6

REFRESH = (
    WRITE_UNITS * DYNAMODB_WRITES
    + READ_UNITS * DYNAMODB_READS
    + 2 * LAMBDA_REQUESTS
    + HTTP_API_REQUESTS
    + 3 * SQS_REQUESTS
    + EVENTBRIDGE_EVENTS
) / MILLION + (QUEUED_GB_SECONDS + RECEIVED_GB_SECONDS + APPLIED_GB_SECONDS) * LAMBDA_GB_SECOND
"""One refresh, with a webhook of its own, which is the dearest case."""
_TICK = (
    LAMBDA_REQUESTS + SCHEDULER_INVOCATIONS + TICK_WRITE_UNITS * DYNAMODB_WRITES + TICK_READ_UNITS * DYNAMODB_READS
) / MILLION
DAY = 1440 * (_TICK + QUEUE_TICK_GB_SECONDS * LAMBDA_GB_SECOND) + 288 * (
    _TICK + CHECK_TICK_GB_SECONDS * LAMBDA_GB_SECOND
)
"""One day of both schedules, with nothing to do."""
