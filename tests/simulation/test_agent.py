"""An agent's questions, whose answers are those of the tables."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer

from cli.agent import server_of
from cli.mcp import Allowed
from codat_sandbox.model import ConnectionStatus
from freshness.domain.companies.company import Company
from freshness.domain.feeds.feed import Feed
from freshness.domain.slo.attainment import attained, hour_of
from tests.builders import HOUR
from tests.page.world import SETTINGS, World

READ = {"how_fresh", "why_not_fresh", "who_must_act", "what_would_it_cost", "report"}


class InProcess:
    """The system in simulated time, whose API remembers what it is asked for."""

    def __init__(self, world: World) -> None:
        self.world, self.asked = world, list[tuple[str, dict[str, Any]]]()

    def server(self, allowed: list[Allowed], budget: int) -> MCPServer:
        return server_of(self.world, self.ensure, allowed, budget)

    def ensure(self, company_id: str, body: dict[str, Any], _within: timedelta) -> dict[str, Any]:
        self.asked.append((company_id, body))
        return {"done": True, "dataTypes": []}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Return ten hours of twelve companies. One has lost its connection."""
    world = World(SETTINGS.model_copy(update={"fails_first": 0.2, "permissions_error": 0.1}))
    world.pass_time(HOUR, every=timedelta(minutes=5))
    world.set_link(ConnectionStatus.DEAUTHORIZED)
    world.pass_time(9 * HOUR, every=timedelta(minutes=30), lost=0.5)
    yield world
    world.close()


@pytest.fixture
def source(world: World) -> InProcess:
    return InProcess(world)


async def ask(server: MCPServer, tool: str, **arguments: Any) -> dict[str, Any]:
    """Return the answer to a question, as an agent gets it."""
    async with Client(server) as client:
        result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    answer = result.structured_content
    assert isinstance(answer, dict)
    return answer


async def refusal(server: MCPServer, tool: str, **arguments: Any) -> str:
    """Return why a question is refused."""
    async with Client(server) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    [content] = result.content
    return str(getattr(content, "text", ""))


def companies(world: World) -> list[Company]:
    return sorted(world.simulation.tables.companies.scan(), key=lambda company: company.name)


def feeds(world: World, company: Company) -> dict[tuple[str, str], Feed]:
    """Return the feeds of a company by data type and connection, as they are in the table."""
    of_company = world.simulation.tables.feeds.of_company(company.company_id)
    return {(feed.data_type, feed.connection_id): feed for feed in of_company}


async def test_how_fresh_each_company_is(source: InProcess, world: World) -> None:
    for company in companies(world):
        answer = await ask(source.server([], 0), "how_fresh", company=company.name)

        known = feeds(world, company)
        assert answer["companyId"] == company.company_id
        assert {(each["dataType"], each["connectionId"]) for each in answer["dataTypes"]} == known.keys()
        for each in answer["dataTypes"]:
            age = known[each["dataType"], each["connectionId"]].age(world.now())
            assert each["age"] == (None if age is None else age.total_seconds())


async def test_why_the_oldest_data_of_each_company_is_not_fresh(source: InProcess, world: World) -> None:
    for company in companies(world):
        known = feeds(world, company)
        oldest = max(known.values(), key=lambda feed: feed.age(world.now()) or timedelta.max)
        question = {"company": company.company_id, "data_type": oldest.data_type}
        answer = await ask(source.server([], 0), "why_not_fresh", **question)

        assert {each["connectionId"] for each in answer["connections"]} == {
            connection_id for data_type, connection_id in known if data_type == oldest.data_type
        }
        for each in answer["connections"]:
            feed = known[oldest.data_type, each["connectionId"]]
            connection = company.connections[feed.connection_id]
            age = feed.age(world.now())
            assert each["age"] == (None if age is None else age.total_seconds())
            assert each["keepsPromise"] or each["promise"] is None or each["why"]
            if feed.is_unsupported:
                assert each["why"] == f"{connection.platform} does not have this data type"
            elif feed.is_blocked(connection) and each["promise"] is not None and not each["keepsPromise"]:
                assert each["turn"] == "customer"


@pytest.mark.parametrize(("max_age", "duration"), [("1h", HOUR), ("7 days", timedelta(days=7))])
async def test_what_fresh_data_would_cost(source: InProcess, world: World, max_age: str, duration: timedelta) -> None:
    since = world.now() - duration
    for company in companies(world):
        known = [feed for feed in feeds(world, company).values() if company.connections[feed.connection_id].is_linked]
        types = sorted({feed.data_type for feed in known})[:3]
        question = {"company": company.name, "data_types": types, "max_age": max_age}
        answer = await ask(source.server([], 7), "what_would_it_cost", **question)

        old = [
            feed
            for feed in known
            if feed.data_type in types
            and not (feed.as_of and not feed.as_of.is_estimated and feed.as_of.at >= since)
            and not (feed.in_flight and feed.in_flight.at >= since)
        ]
        assert (answer["refreshes"], answer["budgetLeft"]) == (len(old), 7)
        assert answer["callsOfCodatLeftToday"] == world.simulation.tables.control.api_limits().remaining


async def test_who_must_act(source: InProcess, world: World) -> None:
    answer = await ask(source.server([], 0), "who_must_act")

    announced = {key for company in companies(world) for key, feed in feeds(world, company).items() if feed.broken_at}
    assert {(each["dataType"], each["connectionId"]) for each in answer["feeds"]} >= announced > set()
    assert answer["broken"] == len(world.queries.fleet(world.now()).broken)
    assert answer["broken"] == sum(answer["byTurn"].values()) == len(answer["feeds"]) + answer["notListed"]
    assert answer["byTurn"]["customer"] > 0


@pytest.mark.parametrize("hours", [6, 24])
async def test_what_was_kept(source: InProcess, world: World, hours: int) -> None:
    answer = await ask(source.server([], 0), "report", since=f"{hours}h")

    tables, now = world.simulation.tables, world.now()
    start = hour_of(now - hours * HOUR).start
    breaches = (breach.until(now) for breach in tables.feeds.open_breaches())
    kept = {
        part: times.share for part, times in attained(tables.attainment.since(start, now), breaches, start, now).items()
    }
    whole, *parts = answer["parts"]
    assert {(part["kind"], part["name"]): part["kept"] for part in parts} == kept
    shares = [share for share in kept.values() if share is not None]
    assert min(shares) <= whole["kept"] <= max(shares)


async def test_an_agent_may_only_read_unless_it_is_allowed_more(source: InProcess) -> None:
    async with Client(source.server([], 0)) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == READ
    async with Client(source.server(list(Allowed), 0)) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == READ | {"ensure_fresh", "pause", "resume"}


async def test_an_agent_causes_no_more_calls_than_its_budget(source: InProcess, world: World) -> None:
    company = next(each for each in companies(world) if len(active(world, each)) >= 2)
    types = active(world, company)[:2]
    server = source.server([Allowed.ENSURE], 3)

    question = {"company": company.name, "data_types": types, "max_age": "1 second"}
    await ask(server, "ensure_fresh", **question)
    assert source.asked == [(company.company_id, {"dataTypes": types, "maxAge": 1.0, "within": 300.0})]
    assert (await refusal(server, "ensure_fresh", **question)).endswith(
        "one for each refresh, and 1 are left of --budget 3."
    )
    assert len(source.asked) == 1


def active(world: World, company: Company) -> list[str]:
    """Return the data types that are read from exactly one connection, which is linked."""
    linked = [feed for feed in feeds(world, company).values() if company.connections[feed.connection_id].is_linked]
    types = [feed.data_type for feed in linked]
    return sorted(each for each in types if types.count(each) == 1)


async def test_an_agent_may_pause_a_company(source: InProcess, world: World) -> None:
    company, server = companies(world)[1], source.server([Allowed.PAUSE], 0)
    await ask(server, "pause", company=company.name)
    assert companies(world)[1].pause
    await ask(server, "resume", company=company.name)
    assert not companies(world)[1].pause


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("how_fresh", {"company": "nobody"}, "No company has the id or the name 'nobody'"),
        ("report", {"since": "soon"}, "expected a duration such as"),
        ("report", {"since": "1000 days"}, "expected"),
    ],
)
async def test_a_question_that_cannot_be_answered_says_what_to_ask_instead(
    source: InProcess, tool: str, arguments: dict[str, Any], says: str
) -> None:
    assert says in await refusal(source.server([], 0), tool, **arguments)
