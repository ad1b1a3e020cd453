"""Erasing a customer: nothing is left of it in any table, and nothing comes back."""

import json
from collections.abc import Iterator

from codat_sandbox.platforms import XERO
from freshness.app.operations import Operations
from freshness.domain.companies.pause import Pause
from freshness.domain.feeds.freshness_request import FreshnessRequest
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import OPERATOR, Fuse, Simulation, reliable
from tests.builders import DAY, MINUTE, a_policy

SETTINGS = reliable(companies=3, machine_offline=0)


def items(simulation: Simulation) -> Iterator[str]:
    """Yield every item of every table but the audit, as text."""
    tables = simulation.tables
    for repository in (tables.companies, tables.feeds, tables.datasets, tables.requests):
        for item in repository._table.scan():
            if not str(item.get("company_id")).startswith("audit#"):
                yield json.dumps(item, default=repr)


async def turn(simulation: Simulation) -> None:
    """Let half an hour pass, with its ticks and webhooks."""
    await simulation.advance(30 * MINUTE)
    await simulation.check(Fuse())
    await simulation.queue(Fuse())
    assert simulation.deliver_all()


def test_of_an_erased_company_nothing_is_left_and_nothing_comes_back() -> None:
    async def scenario(loop: SimulatedLoop) -> None:
        simulation = Simulation(loop, SETTINGS, a_policy("6 hours"))
        simulation.backend.add_company((XERO,), loop.clock())
        for _ in range(15):
            await turn(simulation)
        company, *others = [
            each for each in simulation.tables.companies.scan() if simulation.tables.feeds.of_company(each.company_id)
        ]
        now = simulation.clock()
        request = FreshnessRequest(
            request_id="r",
            company_id=company.company_id,
            data_types=("invoices",),
            not_before=now,
            deadline=now + DAY,
            accepted_at=now,
            caller="someone",
        )
        simulation.tables.requests.put(request)
        simulation.tables.control.acquire(f"poll {company.company_id} invoices", "owner", now, now)
        feed, *_ = simulation.tables.feeds.of_company(company.company_id)
        simulation.tables.feeds.delete(feed, now)
        before = [item for item in items(simulation) if company.company_id in item]
        operations = Operations(services=simulation.services(Fuse()), actor=OPERATOR)
        operations.pause(company, Pause(reason=f"{company.name} asked"))

        held = simulation.tables.company_items.read(company.company_id)
        assert {kind: bool(found) for kind, found in held.items()} == dict.fromkeys(
            ("company", "feeds", "datasets", "control"), True
        )
        assert operations.erase(company.company_id) == len(before)
        assert operations.erase(company.company_id) == 0

        for _ in range(50):
            assert not [item for item in items(simulation) if company.company_id in item or company.name in item]
            await turn(simulation)
        assert {each.company_id for each in others} <= {each.company_id for each in simulation.tables.companies.scan()}
        assert "erased" in "".join(items(simulation))

    simulate(scenario)
