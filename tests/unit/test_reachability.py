"""Telling apart companies about which calls fail, and an outage of Codat."""

from datetime import UTC, datetime

import pytest

from freshness.codat.errors import CodatError, NotFound, RateLimited, StillProcessing, Temporary
from freshness.codat.reachability import SEVERAL, Reachability

NOON = datetime(2026, 8, 3, 12, tzinfo=UTC)


def error(kind: type[CodatError] = Temporary, status: int | None = None) -> CodatError:
    return kind("GET /companies", "failed", at=NOON, status=status)


def call(seen: Reachability, company: object, failure: CodatError | None = None) -> None:
    seen.end(f"/companies/{company}", seen.begin(), failure)


@pytest.mark.parametrize("status", [None, 500, 502])
def test_codat_is_down_once_calls_failed_about_several_companies_in_a_row(status: int | None) -> None:
    seen = Reachability()
    call(seen, "first")
    for company in range(SEVERAL - 1):
        call(seen, company, error(status=status))
    assert not seen.is_down
    call(seen, "another", error(status=status))
    assert seen.is_down
    assert seen.may_be_down
    assert not seen.is_back


def test_one_company_never_shows_that_codat_is_down() -> None:
    seen = Reachability()
    for _ in range(100):
        call(seen, "hangs", error())
    assert not seen.is_down


def test_companies_that_failed_before_do_not_show_that_codat_is_down() -> None:
    seen = Reachability()
    for company in range(2 * SEVERAL):
        seen.doubt(f"/companies/{company}")
        call(seen, company, error())
    assert not seen.is_down


@pytest.mark.parametrize("failure", [None, error(NotFound, 404), error(StillProcessing, 409)], ids=str)
def test_any_response_shows_that_codat_is_back(failure: CodatError | None) -> None:
    seen = Reachability(was_down=True)
    for company in range(SEVERAL):
        call(seen, company, error())
    assert seen.may_be_down
    call(seen, "responds", failure)
    assert seen.is_back
    assert not seen.may_be_down


def test_a_call_that_was_sent_before_another_succeeded_shows_nothing() -> None:
    """Half of the calls of a tick are sent at once and hang, while the others succeed."""
    seen = Reachability()
    begun = seen.begin()
    call(seen, "responds")
    for company in range(2 * SEVERAL):
        seen.end(f"/companies/{company}", begun, error())
    assert not seen.is_down


def test_calls_that_a_limit_refuses_show_nothing() -> None:
    seen = Reachability(was_down=True)
    call(seen, "refused", error(RateLimited, 429))
    assert seen.may_be_down
    assert not seen.is_back
    assert seen.responds("/companies/refused") is None


def test_a_company_responds_again_after_an_error_of_codats() -> None:
    seen = Reachability()
    call(seen, "c", error())
    assert seen.responds("/companies/c") is False
    call(seen, "c", error(status=500))
    assert seen.responds("/companies/c") is True
    assert seen.is_failing("/companies/c")
    call(seen, "c")
    assert not seen.is_failing("/companies/c")
