"""Requests for fresh data: how long they take, what they cost, and what many callers cost together.

The function behind the API is called over HTTP, with its tables in a local AWS, and the sandbox as Codat. No webhook is
delivered: what callers wait for is found by polls.
"""

import io
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from statistics import median
from typing import Any
from unittest.mock import patch

import httpx

import check_freshness
from bench.figures import Figure, Topic, show
from bench.tables import LocalAws, running_aws
from codat_sandbox.model import Dataset
from codat_sandbox.platforms import XERO
from codat_sandbox.server import TEST_API_KEY, RunningSandbox, running_sandbox
from codat_sandbox.settings import Settings
from freshness.app import services
from freshness.aws.dynamodb.tables import Tables
from freshness.domain.feeds.feed import Feed
from freshness.policy.policy import Policy
from local import local_aws
from local.http_api import context, serving

COMPANIES = 16
SETTINGS = Settings(
    companies=0,
    fails_first=0,
    not_supported=0,
    permissions_error=0,
    sync_time_min=timedelta(0),
    sync_time_max=timedelta(0),
    sync_schedule={},
)
POLICY = Policy.model_validate({"default": {"fresh_within": "1 week"}})
SYNC_TIME = (timedelta(seconds=4), timedelta(seconds=16))
"""The shortest and the longest sync that a request waits for."""
ROUNDS = 3
"""How often each feed is asked for. Before the first time, none of its syncs was measured."""
USERS_POLL = 2.0
"""Seconds between two polls of a user's own loop."""
SLACK = 2.0
"""Seconds that a request may take beyond its sync, besides a share of it."""
WARM = 40
BETWEEN_CALLS = 0.2
"""Seconds between two warm calls, so that the limit on calls of Codat delays none."""
CALLERS, CALLS = 50, 20
TYPES_AT_ONCE = 5
LONG_SYNC = timedelta(seconds=90)
"""A sync so long that all callers have usually asked before the first sync ends."""
_WRITES = ("PutItem", "DeleteItem")


@dataclass(frozen=True, slots=True)
class Waited:
    """How long somebody waited for a sync, in seconds, and how long the sync itself took."""

    took: float
    sync: float

    @property
    def ratio(self) -> float:
        """Return the time waited, less `SLACK`, divided by the time of the sync."""
        return (self.took - SLACK) / self.sync


class World:
    """The API, and the Codat behind it."""

    def __init__(self, url: str, sandbox: RunningSandbox, tables: Tables, writes: list[Callable[[], object]]) -> None:
        self.url, self.sandbox, self.tables, self.writes = url, sandbox, tables, writes

    def feeds(self) -> Iterator[Feed]:
        """Yield the feeds of all companies, sorted by data type."""
        return iter(sorted(self.tables.feeds.scan(), key=lambda feed: (feed.data_type, feed.company_id)))

    def take(self, shortest: timedelta, longest: timedelta) -> None:
        """Set how long syncs take from now on."""
        settings = self.sandbox.backend.settings
        changed = settings.model_copy(update={"sync_time_min": shortest, "sync_time_max": longest})
        self.sandbox.do(lambda sandbox: sandbox.backend.change_settings(changed, datetime.now(UTC)))

    def calls(self) -> int:
        """Return how many calls of Codat were made so far."""
        return self.sandbox.sandbox.calls.total()

    def dataset(self, company_id: str, dataset_id: str) -> Dataset:
        """Return the sandbox's dataset with an id."""
        history = self.sandbox.do(lambda sandbox: sandbox.backend.history(company_id, datetime.now(UTC)))
        return next(each for each in history if each.id == dataset_id)

    def client(self) -> httpx.Client:
        """Return a client of the API."""
        return httpx.Client(base_url=self.url, timeout=60)

    def ask(self, http: httpx.Client, company_id: str, data_types: list[str], **headers: str) -> httpx.Response:
        """Ask for data as of now or later."""
        body = {"dataTypes": data_types, "maxAge": 0, "within": "PT10M"}
        return http.post(f"/companies/{company_id}/ensure-fresh", json=body, headers=headers)

    def done(self, http: httpx.Client, response: httpx.Response) -> dict[str, Any]:
        """Ask for the state of a request until it is done, as the documented example does."""
        while response.is_success and not response.json()["done"]:
            response = http.get(response.headers["Location"], headers={"Prefer": "wait=20"})
        body: dict[str, Any] = response.raise_for_status().json()
        return body


def measure() -> list[Figure]:
    """Measure single requests, warm answers, and a thousand requests at once."""
    with _world() as world:
        return [*_waiting(world), *_many(world), *_warm(world)]


@contextmanager
def _world() -> Iterator[World]:
    with (
        running_aws() as aws,
        running_sandbox(SETTINGS, TEST_API_KEY) as sandbox,
        patch.dict(os.environ, _environment(aws, sandbox)),
        redirect_stdout(io.StringIO()),
    ):
        names = aws.create_tables()
        dynamodb = aws.dynamodb()
        tables = Tables.open(dynamodb, names)
        writes: list[Callable[[], object]] = []

        def note(params: dict[str, Any], model: Any, **_: object) -> None:
            """Keep a conditional write, to make it again with a condition that holds."""
            if "ConditionExpression" in params:
                again = {key: value for key, value in params.items() if not key.startswith("Expression")}
                again["ConditionExpression"] = "attribute_not_exists(nothing)"
                write = dynamodb.put_item if model.name == "PutItem" else dynamodb.delete_item
                writes.append(lambda: write(**again))

        for _ in range(COMPANIES):
            sandbox.do(lambda sandbox: sandbox.backend.add_company((XERO,), datetime.now(UTC)))
        with (
            patch.object(services, "_tables", lambda: tables),
            patch.object(services, "_policy", lambda: POLICY),
            serving() as url,
        ):
            check_freshness.handler({}, context())
            hook: Any = note
            for operation in _WRITES:
                dynamodb.meta.events.register(f"provide-client-params.dynamodb.{operation}", hook)
            yield World(url, sandbox, tables, writes)


def _environment(aws: LocalAws, sandbox: RunningSandbox) -> dict[str, str]:
    systems_manager = aws.session.client("ssm", endpoint_url=aws.url)
    systems_manager.put_parameter(Name="codat", Value=TEST_API_KEY, Type="SecureString")
    return local_aws.tool_environment(int(aws.url.rpartition(":")[2])) | {
        "WAITING_CALLERS": "1000",
        "EVENT_BUS": "default",
        "CODAT_BASE_URL": sandbox.base_url,
        "CODAT_API_KEY_SECRET": "codat",
        "DRY_RUN": "false",
    }


def _waiting(world: World) -> list[Figure]:
    """Ask the API for the data of one half of the companies, and let users poll Codat for the other half's."""
    world.take(*SYNC_TIME)
    feeds = list(islice(world.feeds(), COMPANIES))
    half = COMPANIES // 2
    figures = []
    for name, rounds in (("of which no sync was measured", 1), ("whose syncs were measured", ROUNDS - 1)):
        asked: list[Waited] = []
        polled: list[tuple[Waited, int]] = []
        before = world.calls()
        for _ in range(rounds):
            with ThreadPoolExecutor(COMPANIES) as pool:
                ours = [pool.submit(_ask_and_wait, world, feed) for feed in feeds[:half]]
                users = [pool.submit(_queue_and_poll, world, feed) for feed in feeds[half:]]
                asked += [each.result() for each in ours]
                polled += [each.result() for each in users]
        users_calls = sum(calls for _, calls in polled)
        slowest, slowest_loop = max(asked, key=_ratio), max((waited for waited, _ in polled), key=_ratio)
        number = f"the slowest of {len(asked)}"
        figures += [
            Figure(
                what=f"a request that waits for a feed {name}, less {SLACK:g} s, {number}",
                topic=Topic.LATENCY,
                value=slowest.took - SLACK,
                unit="s",
                against="its sync alone",
                floor=slowest.sync,
                at_most=1.2,
            ),
            Figure(
                what=f"a user's own loop that queues, and polls every {USERS_POLL:g} s, less {SLACK:g} s, {number}",
                topic=Topic.LATENCY,
                value=slowest_loop.took - SLACK,
                unit="s",
                against="its sync alone",
                floor=slowest_loop.sync,
            ),
            Figure(
                what=f"calls of Codat for a request that waits for a feed {name}",
                topic=Topic.CALLS,
                value=(world.calls() - before - users_calls) / len(asked),
                unit="calls",
                against="a user's own loop",
                floor=users_calls / len(polled),
                at_most=1.3,
            ),
        ]
    return figures


def _ratio(waited: Waited) -> float:
    return waited.ratio


def _ask_and_wait(world: World, feed: Feed) -> Waited:
    with world.client() as http:
        started = time.monotonic()
        body = world.done(http, world.ask(http, feed.company_id, [feed.data_type], Prefer="wait=20"))
        took = time.monotonic() - started
    [result] = body["dataTypes"]
    if result["state"] != "fresh":
        raise RuntimeError(f"expected fresh data, got {result}")
    return Waited(took, _sync_time(world.dataset(feed.company_id, result["datasetId"])))


def _queue_and_poll(world: World, feed: Feed) -> tuple[Waited, int]:
    """Queue a refresh and poll it, as a user does without this system. Return the time waited, and the calls."""
    headers = {"Authorization": world.sandbox.authorization}
    with httpx.Client(base_url=world.sandbox.base_url, headers=headers, timeout=60) as codat:
        started = time.monotonic()
        path = f"/companies/{feed.company_id}/data"
        query = {"connectionId": feed.connection_id}
        dataset = codat.post(f"{path}/queue/{feed.data_type}", params=query).raise_for_status().json()
        calls = 1
        while not dataset["isCompleted"]:
            time.sleep(USERS_POLL)
            dataset = codat.get(f"{path}/history/{dataset['id']}").raise_for_status().json()
            calls += 1
        took = time.monotonic() - started
    return Waited(took, _sync_time(world.dataset(feed.company_id, dataset["id"]))), calls


def _sync_time(dataset: Dataset) -> float:
    if dataset.completed is None:
        raise RuntimeError(f"expected {dataset} to be complete")
    return (dataset.completed - dataset.requested).total_seconds()


def _warm(world: World) -> list[Figure]:
    """Request one data type after another, so that each is queued. After each request, repeat its writes alone."""
    world.take(LONG_SYNC, LONG_SYNC)
    feeds = islice((feed for feed in world.feeds() if not feed.in_flight), WARM)
    took: list[float] = []
    writes: list[float] = []
    with world.client() as http:
        for feed in feeds:
            world.writes.clear()
            started = time.monotonic()
            response = world.ask(http, feed.company_id, [feed.data_type])
            took.append(time.monotonic() - started)
            if response.status_code != httpx.codes.ACCEPTED:
                raise RuntimeError(f"expected 202, got {response.status_code}: {response.text}")
            made, started = world.writes.copy(), time.monotonic()
            for write in made:
                write()
            writes.append(time.monotonic() - started)
            time.sleep(BETWEEN_CALLS)
    return [
        Figure(
            what=f"a warm 202 that queues one feed, median of {WARM}",
            value=1000 * median(took),
            unit="ms",
            against=f"its {len(made)} conditional writes alone",
            floor=1000 * median(writes),
        )
    ]


def _many(world: World) -> list[Figure]:
    """Let many callers ask about the same company at once, and wait for the ends of all their requests."""
    world.take(LONG_SYNC, LONG_SYNC)
    *_, last = sorted({feed.company_id for feed in world.feeds()})
    data_types = [feed.data_type for feed in world.feeds() if feed.company_id == last][:TYPES_AT_ONCE]
    before = world.sandbox.sandbox.calls["refresh-data-type"]
    bodies: list[dict[str, Any]] = []

    def call(caller: int) -> float:
        """Make all requests of a caller, and wait for the end of each. Return when the last one was made."""
        with world.client() as http:
            headers = {"X-Test-Caller": f"arn:aws:iam::1:user/{caller}"}
            asked = [world.ask(http, last, data_types, **headers) for _ in range(CALLS)]
            ended = time.monotonic()
            bodies.extend(world.done(http, response) for response in asked)
            return ended

    started = time.monotonic()
    with ThreadPoolExecutor(CALLERS) as pool:
        all_asked = max(pool.map(call, range(CALLERS))) - started
    results = [(each, body["notBefore"]) for body in bodies for each in body["dataTypes"]]
    stale = sum(each["state"] != "fresh" or each["asOf"] < not_before for each, not_before in results)
    asked = f"{CALLERS * CALLS:,} requests of {CALLERS} callers for {TYPES_AT_ONCE} data types"
    within = f"all made within {all_asked:.0f} s, while a sync takes {LONG_SYNC.total_seconds():.0f} s"
    calls = world.sandbox.sandbox.calls["refresh-data-type"] - before
    return [
        Figure(
            what=f"queueing calls for each feed, of {asked}",
            value=calls / TYPES_AT_ONCE,
            unit="calls",
            against=within,
            at_most=2,
        ),
        Figure(
            what="data types that did not end as of when they were asked for",
            value=stale + CALLERS * CALLS * TYPES_AT_ONCE - len(results),
            unit="",
            against=f"of {len(results):,}",
            at_most=0,
        ),
    ]


if __name__ == "__main__":
    show("Ensuring fresh data", measure())
