"""Data types that are read for the first time after their company was checked."""

import json
from dataclasses import replace
from random import Random

import pytest

from codat_sandbox.platforms import PLAID, DataType
from codat_sandbox.stubs import StubResponse
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Simulation, reliable
from tests.builders import HOUR, MINUTE, a_policy

POLICY = a_policy("6 hours")
SETTINGS = reliable()
BANK = replace(PLAID, data_types=(DataType.BANKING_ACCOUNTS, DataType.BANKING_TRANSACTIONS))


@pytest.mark.parametrize("lost", [0, 1], ids=["webhooks arrive", "webhooks are lost"])
def test_a_data_type_that_is_read_later_is_found_within_a_day_also_while_the_ends_of_others_are_polled(
    lost: int,
) -> None:
    """Codat does not list the data type while the company is checked for the first time."""

    async def scenario(loop: SimulatedLoop) -> set[str]:
        simulation = Simulation(loop, SETTINGS, POLICY)
        company = simulation.backend.add_company((BANK,), loop.clock())
        known = {"dataType": DataType.BANKING_ACCOUNTS, "currentStatus": "Complete"}
        status = {DataType.BANKING_ACCOUNTS: known | {"lastSuccessfulSync": loop.clock().isoformat()}}
        simulation.sandbox.stubs.add(
            StubResponse(path=f"/companies/{company.id}/dataStatus", status=200, body=json.dumps(status))
        )
        await simulation.run_for(30 * HOUR, every=5 * MINUTE, random=Random(1), lost=lost, skips_idle=True)
        return {feed.data_type for feed in simulation.feeds()}

    assert simulate(scenario) == set(BANK.data_types)
