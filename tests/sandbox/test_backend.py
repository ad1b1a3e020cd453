"""Properties of the backend over long or random sequences of calls."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from codat_sandbox.backend import CodatBackend
from codat_sandbox.errors import DatasetAlreadyInProgressError, NoLinkedConnectionError
from codat_sandbox.model import ConnectionStatus
from codat_sandbox.settings import Settings
from tests.sandbox.conftest import MINUTE, NOON


def test_the_same_seed_and_calls_give_the_same_results() -> None:
    def history(seed: int) -> list[object]:
        backend = CodatBackend(Settings(seed=seed, fails_later=0.3), NOON)
        seen: list[object] = []
        for minute in range(20):
            now = NOON + minute * MINUTE
            for company in backend.companies():
                backend.queue_all(company.id, now)
            seen += backend.advance(now)
        return [*seen, *backend.truth(NOON + 20 * MINUTE)]

    assert history(7) == history(7)
    assert history(7) != history(8)


def test_a_feed_never_has_two_running_syncs(settings: Settings) -> None:
    random = Random(3)
    backend = CodatBackend(settings.model_copy(update={"fails_later": 0.2, "authorization_lapses": 0.01}), NOON)
    now = NOON
    for _ in range(1000):
        now += timedelta(milliseconds=random.uniform(0, 20))
        _call_at_random(backend, now, random)
        running = Counter(
            (dataset.connection_id, dataset.data_type)
            for company in backend.companies()
            for dataset in backend.history(company.id, now)
            if dataset.is_running
        )
        assert set(running.values()) <= {1}


def test_active_companies_are_those_with_a_linked_connection(settings: Settings) -> None:
    random = Random(5)
    backend = CodatBackend(settings, NOON)
    for second in range(200):
        now = NOON + timedelta(seconds=second)
        _call_at_random(backend, now, random)

    assert backend.active_companies == sum(company.is_active for company in backend.companies())


def _call_at_random(backend: CodatBackend, now: datetime, random: Random) -> None:
    company = random.choice(backend.companies())
    connection = random.choice(company.connections)
    actions: list[Callable[[], object]] = [
        lambda: backend.queue(company.id, random.choice(connection.platform.data_types), now),
        lambda: backend.queue_all(company.id, now),
        lambda: backend.set_connection_status(company.id, connection.id, random.choice(list(ConnectionStatus)), now),
        lambda: backend.change_connection(company.id, connection.id, now, machine_online=random.random() < 0.5),
    ]
    try:
        random.choice(actions)()
    except (DatasetAlreadyInProgressError, NoLinkedConnectionError):
        return
