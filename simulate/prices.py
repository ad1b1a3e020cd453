"""What AWS charges: list prices of us-east-1, without free tiers, as published in November 2026, in USD."""

from dataclasses import dataclass

MILLION = 1_000_000

DYNAMODB_WRITE_UNIT = 0.625 / MILLION
DYNAMODB_READ_UNIT = 0.125 / MILLION
LAMBDA_REQUEST = 0.20 / MILLION
LAMBDA_GB_SECOND = 0.0000133334
"""On arm64."""
HTTP_API_REQUEST = 1.00 / MILLION
SQS_REQUEST = 0.40 / MILLION
EVENTBRIDGE_EVENT = 1.00 / MILLION
SCHEDULER_INVOCATION = 1.00 / MILLION


@dataclass(frozen=True, slots=True)
class Cost:
    """What one refresh, and one day of ticks with nothing to do, cost at these prices, in USD.

    The units are estimates on the careful side; `make bench` measures them.
    """

    write_units_of_refresh: float = 12
    read_units_of_refresh: float = 6
    requests_of_refresh: float = 2
    """Lambda: receive_webhook and apply_webhook."""
    gb_seconds_of_refresh: float = 0.06
    ticks_a_day: int = 1440 + 288
    gb_seconds_of_tick: float = 0.5

    @property
    def refresh(self) -> float:
        """One refresh, from due to done."""
        return (
            self.write_units_of_refresh * DYNAMODB_WRITE_UNIT
            + self.read_units_of_refresh * DYNAMODB_READ_UNIT
            + self.requests_of_refresh * LAMBDA_REQUEST
            + self.gb_seconds_of_refresh * LAMBDA_GB_SECOND
            + HTTP_API_REQUEST
            + 3 * SQS_REQUEST
            + EVENTBRIDGE_EVENT
        )

    @property
    def day(self) -> float:
        """One day's ticks."""
        return self.ticks_a_day * (LAMBDA_REQUEST + SCHEDULER_INVOCATION + self.gb_seconds_of_tick * LAMBDA_GB_SECOND)
