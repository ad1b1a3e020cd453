from datetime import UTC, datetime, timedelta

from codat_sandbox.limits import Limits
from codat_sandbox.settings import Settings

NOON = datetime(2026, 8, 3, 12, tzinfo=UTC)
TOMORROW = datetime(2026, 8, 4, tzinfo=UTC)
SETTINGS = Settings(calls_per_minute=3, concurrent_calls=2)


def test_the_quota_grows_with_the_number_of_active_companies() -> None:
    limits = Limits(1, NOON)

    assert limits.quota(Settings(), active_companies=11) == 12_000
    assert limits.quota(Settings(daily_quota=5), active_companies=11) == 5


def test_the_daily_quota_is_reset_at_midnight_and_each_event_occurs_once() -> None:
    limits = Limits(1, NOON)
    settings = Settings()

    assert limits.enter("here", None, settings, 1, NOON) is None
    assert limits.remaining(1, NOON) == 0
    for _ in range(2):
        exceeded = limits.enter("here", None, settings, 1, NOON)
        assert exceeded is not None
        assert exceeded.retry_after == timedelta(hours=12)
    [reached] = limits.advance(1, NOON)
    [reset] = limits.advance(1, TOMORROW)

    assert (reached.event_type, reached.quota_remaining, reached.expiry) == ("client.rateLimit.reached", 0, TOMORROW)
    assert (reset.event_type, reset.quota_remaining) == ("client.rateLimit.reset", 1)
    assert limits.enter("here", None, settings, 1, TOMORROW) is None


def test_an_address_may_make_so_many_calls_a_minute() -> None:
    limits = Limits(1, NOON)
    for _ in range(3):
        assert limits.enter("here", None, SETTINGS, 1000, NOON) is None

    exceeded = limits.enter("here", None, SETTINGS, 1000, NOON + timedelta(seconds=20))

    assert exceeded is not None
    assert exceeded.retry_after == timedelta(seconds=40)
    assert limits.enter("there", None, SETTINGS, 1000, NOON) is None
    assert limits.enter("here", None, SETTINGS, 1000, NOON + timedelta(minutes=1)) is None


def test_concurrent_requests_are_limited_by_company() -> None:
    limits = Limits(1, NOON)
    settings = Settings(concurrent_calls=2)
    for _ in range(2):
        assert limits.enter("here", "company", settings, 1000, NOON) is None

    assert limits.enter("here", "company", settings, 1000, NOON) is not None
    assert limits.enter("here", "another", settings, 1000, NOON) is None
    limits.leave("company")
    assert limits.enter("here", "company", settings, 1000, NOON) is None
