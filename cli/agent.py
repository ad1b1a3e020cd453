"""The stack's answers as tools for an agent, by the Model Context Protocol.

An agent may read. Tools that change something are offered only if they are allowed. A budget limits how many refreshes
they may queue, one call of Codat each. Polls of these refreshes are not counted.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic_core import to_jsonable_python

from cli.errors import CommandError
from cli.mcp import Allowed
from cli.output import with_json_keys
from freshness.app.operations import Operations
from freshness.app.reading.queries import NotFound, Queries
from freshness.app.reading.report import attainment
from freshness.app.reading.views import FeedView
from freshness.domain.companies.company import Company
from freshness.domain.feeds.freshness_request import FreshnessRequest
from freshness.domain.slo.attainment import DAYS_KEPT, HOUR
from freshness.policy.file.values import parse_duration
from stack_access.errors import StackError

INSTRUCTIONS = """Answers how fresh the data is that Codat keeps of companies, and why. A company is named by its id, or
its name or the beginning of it; data types are Codat's, such as invoices. Durations are given as "6h"; in answers they
are seconds. `turn` is who must act before a promise can be kept: us, Codat, platform or customer."""
MOST_LISTED = 50
"""The most feeds that one answer lists."""

Json = dict[str, Any]
Ensure = Callable[[str, Json, timedelta], Json]
"""Asks the API for fresh data of a company within a time, and returns the state of the request once it is done."""


class Source(Protocol):
    """The stack that the tools ask and change."""

    @property
    def queries(self) -> Queries:
        """Return the queries about companies and feeds."""

    @property
    def operations(self) -> Operations:
        """Return the operations that change something."""


def server_of(source: Source, ensure: Ensure, allowed: Iterable[Allowed], budget: int) -> MCPServer:
    """Return a server with the tools that are allowed."""
    tools = Tools(source, ensure, budget)
    server = MCPServer("codat-freshness", instructions=INSTRUCTIONS, log_level="WARNING")
    served: list[Callable[..., Json]] = [
        tools.how_fresh,
        tools.why_not_fresh,
        tools.who_must_act,
        tools.what_would_it_cost,
        tools.report,
        *([tools.ensure_fresh] if Allowed.ENSURE in allowed else []),
        *([tools.pause, tools.resume] if Allowed.PAUSE in allowed else []),
    ]
    for tool in served:
        server.add_tool(_answering(tool))
    return server


class Tools:
    """The tools. The agent reads their docstrings as descriptions."""

    def __init__(self, source: Source, ensure: Ensure, budget: int) -> None:
        self._source, self._ensure, self._budget, self._spent = source, ensure, budget, 0

    def how_fresh(self, company: str, data_types: list[str] | None = None) -> Json:
        """Tell how fresh each data type of a company is, compared with what is promised."""
        found, feeds = self._feeds(company, data_types)
        return {"companyId": found.company_id, "companyName": found.name, "dataTypes": [_state(feed) for feed in feeds]}

    def why_not_fresh(self, company: str, data_type: str) -> Json:
        """Tell why a data type of a company is not fresh, whose turn it is, and what to do next."""
        queries = self._source.queries
        explained = queries.explain(queries.find_company(company), data_type, self._now())
        return {
            "connections": [
                _state(each.feed) | _turn(each.feed) | {"reason": each.reason, "until": each.until}
                for each in explained
            ]
        }

    def who_must_act(self) -> Json:
        """List the broken promises, the worst first, with who must act and how."""
        now, queries = self._now(), self._source.queries
        summary = queries.summary(queries.fleet(now), now)
        broken = [feed for feed in summary.not_fresh if feed.is_broken]
        listed = [{"companyName": feed.company_name} | _state(feed) | _turn(feed) for feed in broken[:MOST_LISTED]]
        return {
            "promises": summary.promises,
            "broken": summary.promises_broken,
            "byTurn": summary.broken_by_turn,
            "feeds": listed,
            "notListed": len(broken) - len(listed),
        }

    def what_would_it_cost(self, company: str, data_types: list[str], max_age: str = "1h") -> Json:
        """Tell how many refreshes would make data no older than an age, and how many calls are left."""
        found = self._source.queries.find_company(company)
        limits = self._source.queries.services.tables.control.api_limits()
        return {
            "refreshes": self._cost(found, data_types, parse_duration(max_age)),
            "budgetLeft": self._budget - self._spent,
            "callsOfCodatLeftToday": limits.remaining,
        }

    def report(self, since: str = "30d") -> Json:
        """Tell what share of the promised time data was as fresh as promised, from an hour to 90 days back."""
        length = parse_duration(since)
        if not HOUR <= length <= DAYS_KEPT:
            raise ToolError(f"expected from 1h to {DAYS_KEPT.days}d, got {since!r}")
        services = self._source.queries.services
        rows = attainment(services.tables, services.policy, self._now(), length)
        return {
            "since": rows[0].since,
            "parts": [
                {"kind": row.kind or "all", "name": row.name, "kept": row.times.share, "objective": row.objective}
                for row in rows
            ],
        }

    def ensure_fresh(self, company: str, data_types: list[str], max_age: str = "1h", within: str = "5m") -> Json:
        """Make sure that data is no older than an age, and wait for it. This may queue refreshes at Codat."""
        age, wait = parse_duration(max_age), parse_duration(within)
        found = self._source.queries.find_company(company)
        cost, left = self._cost(found, data_types, age), self._budget - self._spent
        if cost > left:
            raise ToolError(
                f"It takes {cost} calls of Codat, one for each refresh, and {left} are left of --budget {self._budget}."
            )
        self._spent += cost
        body = {"dataTypes": data_types, "maxAge": age.total_seconds(), "within": wait.total_seconds()}
        return self._ensure(found.company_id, body, wait)

    def pause(self, company: str) -> Json:
        """Pause the refreshes of a company."""
        return self._set_paused(company, paused=True)

    def resume(self, company: str) -> Json:
        """Resume the refreshes of a company."""
        return self._set_paused(company, paused=False)

    def _now(self) -> datetime:
        return self._source.queries.services.clock()

    def _feeds(self, name: str, data_types: list[str] | None) -> tuple[Company, list[FeedView]]:
        queries = self._source.queries
        company = queries.find_company(name)
        known = {feed.key for feed in queries.find_feeds(company, data_types or ())}
        return company, [feed for feed in queries.company(company, self._now()) if feed.key in known]

    def _cost(self, company: Company, data_types: list[str], max_age: timedelta) -> int:
        """Return how many feeds have neither a copy within `max_age` nor a read in flight that brings one."""
        now = self._now()
        request = FreshnessRequest(
            request_id="",
            company_id=company.company_id,
            data_types=tuple(data_types),
            not_before=now - max_age,
            deadline=now,
            accepted_at=now,
        )
        feeds = self._source.queries.find_feeds(company, data_types)
        return sum(not request.is_served(feed) for feed in request.feeds_of(feeds, company))

    def _set_paused(self, name: str, *, paused: bool) -> Json:
        company, operations = self._source.queries.find_company(name), self._source.operations
        operations.pause(company) if paused else operations.resume(company)
        return {"companyName": company.name, "paused": paused}


def _answering(tool: Callable[..., Json]) -> Callable[..., Json]:
    """Wrap a tool: turn its answer into JSON values, and its errors into a `ToolError` that says what to do."""

    @wraps(tool)
    def answer(*arguments: Any, **named: Any) -> Json:
        try:
            answered: Json = to_jsonable_python(with_json_keys(tool(*arguments, **named)), timedelta_mode="float")
        except (NotFound, CommandError, StackError, ValueError) as error:
            raise ToolError(str(error)) from error
        except (BotoCoreError, ClientError) as error:
            raise ToolError(f"AWS did not answer: {error}") from error
        return answered

    return answer


def _state(feed: FeedView) -> Json:
    return {
        "dataType": feed.data_type,
        "platform": feed.platform,
        "connectionId": feed.connection_id,
        "state": feed.shown_state,
        "asOf": feed.as_of,
        "refreshedAt": feed.succeeded_at,
        "age": feed.age,
        "promise": feed.promise if feed.is_promised else None,
        "keepsPromise": feed.keeps_promise,
        "dueAt": feed.due_at,
    }


def _turn(feed: FeedView) -> Json:
    return {
        "turn": feed.turn.turn,
        "waitsFor": feed.turn.waited_for,
        "why": feed.turn.why,
        "next": feed.turn.next_action,
        "codatSays": feed.codat_says,
    }
