"""Whether what a list of companies lacks is taken as deleted."""

from datetime import timedelta

import pytest

from cli.doctor import listing as finding
from freshness.domain.companies.listing import CONFIRMED_FOR, Lacking, Listing
from tests.builders import NOON

ALL = Lacking(known=100)


@pytest.mark.parametrize(
    ("known", "lacking", "is_much"), [(0, 0, False), (5, 5, False), (6, 6, True), (100, 20, False), (100, 21, True)]
)
def test_much_is_more_than_a_fifth_and_more_than_five(known: int, lacking: int, is_much: bool) -> None:
    assert Lacking(known=known, lacking=lacking).is_much is is_much


@pytest.mark.parametrize("companies_lack", [True, False])
def test_a_list_that_lacks_much_is_not_believed_until_an_operator_confirms_it(companies_lack: bool) -> None:
    much = Lacking(known=100, lacking=50)
    lacking = (much, ALL) if companies_lack else (ALL, much)
    later = NOON + timedelta(minutes=15)

    known = Listing().followed_by(ALL, ALL, NOON)
    doubted = known.followed_by(*lacking, later)
    assert (known.believed_at, doubted.believed_at, doubted.is_doubted(later)) == (NOON, NOON, True)

    confirmed = doubted.confirmed(later)
    assert confirmed.followed_by(*lacking, later).believed_at == later
    assert confirmed.followed_by(*lacking, later + CONFIRMED_FOR).believed_at == NOON


def test_doctor_says_what_the_last_list_lacked_and_how_to_confirm_it() -> None:
    assert not finding(Listing(companies=ALL, connections=ALL), NOON).to_do

    few = finding(Listing(companies=ALL, connections=Lacking(known=100, lacking=3)), NOON)
    assert ("lacks 0 of 100 companies, and 3 of 100 connections" in few.found, few.to_do) == (True, "")

    much = Listing(companies=Lacking(known=100, lacking=28), connections=ALL)
    assert "./freshness doctor --confirm-deletions" in finding(much, NOON).to_do
    assert not finding(much.confirmed(NOON), NOON).to_do
