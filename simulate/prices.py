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

REFRESH = (
    12 * DYNAMODB_WRITES
    + 6 * DYNAMODB_READS
    + 2 * LAMBDA_REQUESTS
    + HTTP_API_REQUESTS
    + 3 * SQS_REQUESTS
    + EVENTBRIDGE_EVENTS
) / MILLION + 0.06 * LAMBDA_GB_SECOND
"""One refresh, from due to done: units estimated on the careful side, which `make bench` measures."""
DAY = (1440 + 288) * ((LAMBDA_REQUESTS + SCHEDULER_INVOCATIONS) / MILLION + 0.5 * LAMBDA_GB_SECOND)
"""One day of both schedules, with nothing to do."""
