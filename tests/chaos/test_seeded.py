"""Tests of the tests: a fault that the code once had is found when it is put back. `make chaos` tries all of them."""

import pytest

from chaos.seeded import SEEDED, Seeded, seeded
from chaos.seeded import test_of as finder_of
from freshness.aws.event_bus import NotPublished

FOUND = (AssertionError, ValueError, NotPublished)
"""How a test fails: also where it unpacks one value and there are several, or where nothing collects an error."""


@pytest.mark.parametrize("fault", [each for each in SEEDED.values() if not each.is_slow], ids=lambda each: each.what)
def test_a_fault_that_is_put_back_is_found(fault: Seeded) -> None:
    with seeded(fault), pytest.raises(FOUND):
        finder_of(fault)()
