"""Webhooks in any order, any number of times, and with the function killed anywhere: the same rows, nothing lost."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freshness.company import Company, Connection, ConnectionStatus
from freshness.dataset import AskedBy, Dataset, DatasetState
from freshness.policy import Policy
from freshness.publish import CompanyDataRefreshed
from freshness.row import Request, Row
from freshness.store import Store
from freshness.webhook import Webhook
from tests import webhook_bodies as bodies
from tests.integration.recorder import Recorder

if TYPE_CHECKING:
    pass

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = Policy.model_validate({"default": {"fresh_within": "6 hours"}})
CONNECTIONS = ("xero", "plaid")
DATA_TYPES = ("invoices", "bills")

Body = Callable[[str], str]
"""The body of a webhook about the company of a given id."""

minutes = st.integers(-1000, 1000).map(lambda n: NOON + n * MINUTE)
reads = st.tuples(st.sampled_from(CONNECTIONS), st.sampled_from(DATA_TYPES), st.sampled_from(list(DatasetState)))


def about(make: Callable[..., str], **arguments: Any) -> Body:
    """A body that is made once it is known about which company."""
    return lambda company_id: make(**arguments, company_id=company_id)


messages = st.one_of(
    st.builds(
        lambda at, told, initial, modified: (
            lambda company_id: bodies.read_completed(
                at, *told, company_id=company_id, initial=initial, modified=modified
            )
        ),
        minutes,
        st.lists(reads, min_size=1, max_size=4, unique_by=lambda read: read[:2]),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(
        lambda at, told, connection_id: about(
            bodies.connection, at=at, happened=told[0], status=told[1], connection_id=connection_id
        ),
        minutes,
        st.sampled_from(
            [
                ("created", "PendingAuth"),
                ("connected", "Linked"),
                ("disconnected", "Deauthorized"),
                ("disconnected", "Unlinked"),
                ("reconnected", "Linked"),
                ("failed", "PendingAuth"),
                ("deleted", "Linked"),
            ]
        ),
        st.sampled_from(CONNECTIONS),
    ),
    st.builds(
        lambda at, data_type, connection_id: about(
            bodies.written, at=at, data_type=data_type, connection_id=connection_id
        ),
        minutes,
        st.sampled_from(DATA_TYPES),
        st.sampled_from(CONNECTIONS),
    ),
    st.builds(
        lambda rule_type, dataset_id, status: about(
            bodies.rule, rule_type=rule_type, dataset_id=dataset_id, status=status
        ),
        st.sampled_from(["Data sync completed", "Dataset data changed", "Data Sync Status Changed To Error"]),
        st.sampled_from(["dataset-xero", "unknown"]),
        st.sampled_from([None, "ProcessingError"]),
    ),
    st.builds(lambda at: about(bodies.company, at=at, happened="created"), minutes),
)
deletions = st.builds(lambda at: about(bodies.company, at=at, happened="deleted"), minutes)


@dataclass(frozen=True)
class World:
    """Tables of its own, with a company in it that has two connections, one of them being read."""

    store: Store
    bus: Recorder
    company_id: str

    @classmethod
    def of(cls, store: Store, company_id: str) -> "World":
        """The same each time, but for the company's id."""
        connections = {
            name: Connection(
                connection_id=name,
                platform=name,
                source_type="Accounting",
                status=ConnectionStatus.LINKED,
                status_at=NOON - 2000 * MINUTE,
            )
            for name in CONNECTIONS
        }
        store.change_company(
            Company(company_id=company_id), lambda company: replace(company, connections=connections, check_at=NOON)
        )
        request = Request(at=NOON, asked_by=AskedBy.PROMISE, dataset_id="dataset-xero")
        row = Row(company_id=company_id, data_type="invoices", connection_id="xero")
        store.merge_dataset(
            Dataset(
                company_id=company_id,
                dataset_id="dataset-xero",
                data_type="invoices",
                connection_id="xero",
                asked_by=AskedBy.PROMISE,
                requested_at=NOON,
                states={"Queued": NOON},
            )
        )
        store.change_row(row, lambda row: row.requested(request))
        return cls(store, Recorder(), company_id)

    def apply(self, message_id: str, body: Body, store: Store | None = None, bus: Any = None) -> None:
        webhook = Webhook(
            store=store or self.store, bus=bus or self.bus, policy=POLICY, clock=lambda: NOON + 2000 * MINUTE
        )
        webhook.apply(f"{self.company_id}/{message_id}", body(self.company_id))

    @property
    def news(self) -> set[tuple[str, str]]:
        """What was published, without the company's id, which is a part of each message's id here."""
        return {(news.detail_type, news.id.partition("/")[2]) for news in self.bus.published}

    def tells(self) -> tuple[object, ...]:
        """All that the tables tell, but how often it was written."""
        company = self.store.company(self.company_id)
        # How the datasets ended that a company had when it was deleted is of no interest any more.
        datasets = [] if company and company.deleted_at else self.store.datasets(self.company_id)
        return (
            company and replace(company, version=0, company_id=""),
            sorted((replace(row, version=0, company_id="") for row in self.store.rows(self.company_id)), key=repr),
            sorted((replace(d, version=0, company_id="") for d in datasets), key=repr),
        )


@pytest.fixture(scope="module")
def store(make_store: Callable[[], Store]) -> Store:
    """Tables that all these tests share: each company is new."""
    return make_store()


@pytest.fixture(scope="module")
def other_store(make_store: Callable[[], Store]) -> Store:
    """Other tables of the same kind: for the same company, as its id decides when it is tried again."""
    return make_store()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(told=st.lists(messages, min_size=2, max_size=8), deleted=st.lists(deletions, max_size=1), seed=st.integers())
def test_webhooks_in_any_order_and_any_number_of_times_leave_the_same_tables(
    store: Store, other_store: Store, told: list[Body], deleted: list[Body], seed: int
) -> None:
    company_id, random = uuid4().hex, Random(seed)
    numbered = list(enumerate(told + (deleted if random.random() < 0.2 else [])))
    shuffled = numbered + random.choices(numbered, k=random.randint(0, len(numbered)))
    random.shuffle(shuffled)
    once, often = World.of(store, company_id), World.of(other_store, company_id)

    for number, body in numbered:
        once.apply(str(number), body)
    for number, body in shuffled:
        often.apply(str(number), body)

    assert often.tells() == once.tells()
    assert len(often.bus.published) == len({(type(news), news.id) for news in often.bus.published})
    if not deleted:
        refreshes = [{n.id for n in w.bus.published if isinstance(n, CompanyDataRefreshed)} for w in (once, often)]
        assert refreshes[0] == refreshes[1]


class Killed(BaseException):
    """The function was stopped between two of its calls."""


class Mortal:
    """A client, or a bus, whose every call counts, and which is killed when it made as many as it may."""

    def __init__(self, alive: Any, calls: list[str], most: int) -> None:
        self._alive, self._calls, self._most = alive, calls, most

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._alive, name)
        if name not in ("get_item", "put_item", "delete_item", "get_paginator", "publish"):
            return member

        def call(*arguments: Any, **named: Any) -> Any:
            if len(self._calls) == self._most:
                raise Killed
            self._calls.append(name)
            return member(*arguments, **named)

        return call


KINDS: dict[str, Body] = {
    "reads of two data types": about(
        lambda company_id: bodies.read_completed(
            NOON + MINUTE, ("xero", "invoices", "Complete"), ("plaid", "bills", "Complete"), company_id=company_id
        )
    ),
    "a read of a connection not known": about(
        lambda company_id: bodies.read_completed(NOON, ("new", "invoices", "Complete"), company_id=company_id)
    ),
    "a read that was refused": about(
        lambda company_id: bodies.read_completed(
            NOON + MINUTE, ("xero", "invoices", "AuthError"), company_id=company_id
        )
    ),
    "a connection that lapsed": about(
        bodies.connection, at=NOON, happened="disconnected", status="Deauthorized", connection_id="xero"
    ),
    "a dataset of a rule": about(bodies.rule, rule_type="Dataset data changed", dataset_id="dataset-xero"),
    "an unknown dataset of a rule": about(bodies.rule, rule_type="Data sync completed", dataset_id="unknown"),
    "data written": about(bodies.written, at=NOON, data_type="invoices", connection_id="xero"),
    "a company deleted": about(bodies.company, at=NOON, happened="deleted"),
    "the quota spent": lambda _: bodies.rate_limit(NOON, "reached", NOON + 60 * MINUTE),
}


@pytest.mark.parametrize("kind", KINDS)
def test_killed_between_any_two_calls_and_run_again_it_leaves_the_same_rows_and_loses_no_event(
    store: Store, kind: str
) -> None:
    untouched = World.of(store, uuid4().hex)
    untouched.apply("message", KINDS[kind])
    dynamodb: Any = boto3.client("dynamodb")
    most, finished = 0, False
    while not finished:
        world, calls = World.of(store, uuid4().hex), list[str]()
        client: Any = Mortal(dynamodb, calls, most)
        try:
            world.apply("message", KINDS[kind], store=Store(client, store.tables), bus=Mortal(world.bus, calls, most))
            finished = True
        except Killed:
            world.apply("message", KINDS[kind])

        assert world.tells() == untouched.tells(), f"killed after {calls}"
        assert world.news == untouched.news
        most += 1
    assert most > 3


def test_the_quota_spent_and_given_anew_is_told_in_any_order(make_store: Callable[[], Store]) -> None:
    reached = lambda _: bodies.rate_limit(NOON, "reached", NOON + 60 * MINUTE)  # noqa: E731
    reset = lambda _: bodies.rate_limit(NOON + MINUTE, "reset", NOON + 60 * MINUTE)  # noqa: E731
    for order in ((reached, reset), (reset, reached)):
        world = World.of(make_store(), uuid4().hex)
        for number, body in enumerate(order):
            world.apply(str(number), body)
        assert world.store.quota().no_call_before(NOON + 2 * MINUTE) is None
    world = World.of(make_store(), uuid4().hex)
    world.apply("message", reached)
    assert world.store.quota().no_call_before(NOON + 2 * MINUTE) == NOON + 60 * MINUTE
