"""Attainment as the system records it, against what is so at Codat minute by minute: `bench` compares a whole week."""

from datetime import timedelta

import pytest

from bench.attainment import compare

EXACT = 0.001


def test_attainment_is_exact_although_webhooks_are_lost_and_codat_and_connections_are_away() -> None:
    at_codat, recorded = compare(timedelta(hours=30), seed=4)

    assert at_codat.share and at_codat.share < 1 - 5 * EXACT
    assert recorded.share == pytest.approx(at_codat.share, abs=EXACT)
    assert recorded.promised == pytest.approx(at_codat.promised, rel=EXACT)
    # A lapse whose webhook was lost shows only in the next list of companies.
    assert recorded.waiting == pytest.approx(at_codat.waiting, rel=0.02)
