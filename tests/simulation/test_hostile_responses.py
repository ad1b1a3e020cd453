"""Days in which many of Codat's responses are not as described: no tick fails, and what follows is kept fresh."""

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import pytest

from codat_sandbox.platforms import PLAID, XERO
from codat_sandbox.settings import Settings
from simulate.clock import SimulatedLoop, simulate
from simulate.loop import Fuse, Simulation
from tests.builders import HOUR, MINUTE, a_policy

PROMISE = 4 * HOUR
POLICY = a_policy(
    "4 hours",
    products={"credit-model": {"data_types": ["invoices", "bills"]}},
    rules=[{"name": "budgets", "platforms": ["Xero"], "data_types": {"custom.budgets": {}}}],
)
SETTINGS = Settings(
    companies=0,
    not_supported=0,
    permissions_error=0,
    custom_products={"credit-model": ("invoices", "bills")},
    custom_data_types={"Xero": ("budgets",)},
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**400, 1e308, "", "x" * 10_000, "\ud800", "a\x00b/../c?d#e", [], [None], {}, {"": {}}),
    *("0001-01-01T00:00:00", "9999-12-31T23:59:59.9999999Z", "2026-02-30T00:00:00Z", "SomethingNew", "Complete"),
)
ODD_BODIES = (b"", b"<html>Bad gateway</html>", b"null", b"[]", b"[" * 3000, b"\xff\xfe", b"{}", b'{"results": [null]}')
ODD_HEADERS = {"X-Rate-Limit-Limit": "9" * 5000, "X-Rate-Limit-Remaining": "9" * 5000, "Date": "Mon, 99 Nov 2026"}


@dataclass
class HostileSimulation(Simulation):
    """A simulation that spoils a share of Codat's responses, and of its webhooks."""

    random: Random = field(default_factory=Random)
    share: float = 0.0

    async def _exchange(self, request: httpx.Request, fuse: Fuse) -> httpx.Response:
        response = await super()._exchange(request, fuse)
        if self.random.random() >= self.share:
            return response
        headers = dict(response.headers) | (ODD_HEADERS if self.random.random() < 0.3 else {})
        headers.pop("content-length", None)
        return httpx.Response(response.status_code, headers=headers, content=self.spoilt(response.content))

    def collect(self) -> None:
        """Collect the webhooks, of which some are spoilt."""
        known = len(self.pending)
        super().collect()
        for index in range(known, len(self.pending)):
            if self.random.random() < self.share:
                self.pending[index] = self.spoilt(self.pending[index].encode()).decode("utf-8", "replace")

    def spoilt(self, content: bytes) -> bytes:
        """Return a body of which parts are missing or odd, or another body."""
        chance = self.random.random()
        if chance < 0.2:
            return self.random.choice(ODD_BODIES)
        if chance < 0.3 or not content:
            return content[: self.random.randint(0, len(content))]
        value = json.loads(content)
        for _ in range(self.random.randint(1, 4)):
            value = self._with_odd_part(value)
        return json.dumps(value).encode()

    def _with_odd_part(self, value: Any) -> Any:
        if not isinstance(value, dict | list) or not value or self.random.random() < 0.15:
            return self.random.choice(ODD_VALUES)
        if isinstance(value, list):
            index = self.random.randrange(len(value))
            return [*value[:index], self._with_odd_part(value[index]), *value[index + 1 :]]
        key = self.random.choice(sorted(value))
        if self.random.random() < 0.2:
            return {name: each for name, each in value.items() if name != key}
        return value | {key: self._with_odd_part(value[key])}


@pytest.mark.parametrize("seed", range(2))
def test_no_tick_fails_and_everything_is_fresh_once_responses_are_as_described_again(seed: int) -> None:
    async def scenario(loop: SimulatedLoop) -> HostileSimulation:
        simulation = HostileSimulation(loop, SETTINGS, POLICY, random=Random(seed))
        for _ in range(6):
            simulation.backend.add_company((XERO, PLAID), loop.clock())
        await simulation.run_for(HOUR, every=5 * MINUTE, random=Random(seed))
        simulation.share = 0.3
        await simulation.run_for(24 * HOUR, every=5 * MINUTE, random=Random(seed))
        simulation.share = 0.0
        await simulation.run_for(26 * HOUR, every=5 * MINUTE, random=Random(seed))
        return simulation

    simulation = simulate(scenario)

    assert not simulation.tallies["Failures"]
    assert simulation.tallies["DeadLetters"]
    now = simulation.loop.clock()
    promised = [truth for truth in simulation.backend.truth(now) if truth.can_become_fresh and truth.latest]
    assert len(promised) > 50
    for truth in promised:
        assert truth.latest_successful
        assert truth.latest_successful.completed
        assert now - truth.latest_successful.completed <= PROMISE + 10 * MINUTE, truth
