"""The examples of `docs/ensure-fresh.md`."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner

import serve_api
from cli.__main__ import app
from freshness.app.api_description import openapi
from freshness.app.api_models import EnsureFreshBody
from freshness.aws import bootstrap
from freshness.domain.company import Company
from freshness.domain.freshness_request import FreshnessRequest
from freshness.domain.notifications import request_ended
from tests.integration.deployed import ROOT, Deployed
from tests.integration.test_serve_api import TYPES, api, company, read_an_hour_ago

__all__ = ["api", "company"]

MANUAL: Path = ROOT / "docs" / "ensure-fresh.md"


def blocks(language: str) -> list[str]:
    """Return the examples in a language."""
    return re.findall(rf"```{language}\n(.*?)```", MANUAL.read_text(), flags=re.DOTALL)


def test_the_python_example_ensures_fresh_data(api: httpx.Client, company: Company, deployed: Deployed) -> None:
    for feed in deployed.tables.feeds.of_company(company.company_id):
        if feed.data_type in TYPES:
            deployed.tables.feeds.update(feed, read_an_hour_ago)
    [source] = blocks("python")
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 - the manual's own example

    api_url = str(api.base_url).rstrip("/")
    result = names["ensure_fresh"](api_url, company.company_id, TYPES)

    assert result["done"] is True
    assert {each["state"] for each in result["dataTypes"]} == {"fresh"}
    signed = names["call"]("GET", f"{api_url}/openapi.json").request.headers["Authorization"]
    assert signed.startswith("AWS4-HMAC-SHA256")
    assert "/execute-api/aws4_request" in signed


def test_the_state_machine_asks_until_the_request_is_done() -> None:
    machine = json.loads(blocks("json")[2])
    states = machine["States"]

    body = EnsureFreshBody.model_validate(states["Ensure"]["Parameters"]["RequestBody"])
    assert body.data_types == ("invoices", "balanceSheet")
    reachable = {machine["StartAt"]}
    for _ in states:
        for name in set(reachable):
            state = states[name]
            reachable |= {state[key] for key in ("Next", "Default") if key in state}
            reachable |= {choice["Next"] for choice in state.get("Choices", ())}
    assert reachable == states.keys()
    for state in ("Ensure", "Ask"):
        [path] = re.findall(r"Format\('([^']*)'", states[state]["Parameters"]["Path.$"])
        parameter = "companyId" if state == "Ensure" else "id"
        assert path.replace("{}", f"{{{parameter}}}") in openapi()["paths"]


def test_the_event_pattern_matches_the_events_of_a_request() -> None:
    pattern = json.loads(blocks("json")[1])
    now = bootstrap.clock()
    request = FreshnessRequest(
        request_id="REQUEST_ID", company_id="c", data_types=("bills",), not_before=now, deadline=now, accepted_at=now
    )
    event = request_ended(request.with_results([], Company(company_id="c"), now))

    assert event.detail_type in pattern["detail-type"]
    assert event.detail()["requestId"] in pattern["detail"]["requestId"]
    assert "connectionId" not in event.detail()
    assert [each["state"] for each in event.detail()["dataTypes"]] == ["failed"]


def test_the_policy_of_a_caller_names_every_route_of_data() -> None:
    [statement] = json.loads(blocks("json")[0])["Statement"]
    allowed = {resource.split("/$default/")[1].replace("/", " /", 1) for resource in statement["Resource"]}
    routes = {re.sub(r"\{\w+\}", "*", key) for key in serve_api._ROUTES if key != "GET /openapi.json"}

    assert allowed == routes


def test_the_command_has_the_options_of_the_example() -> None:
    [command] = blocks("sh")
    shown = CliRunner().invoke(app, ["ensure", "--help"], env={"COLUMNS": "200"}).stdout

    for option in re.findall(r"--[a-z-]+", command):
        assert option in shown


def test_every_problem_is_in_the_manual() -> None:
    sources = [ROOT / "functions" / "serve_api.py", *(ROOT / "functions" / "freshness" / "app").glob("*.py")]
    kinds = {
        found
        for path in sources
        for found in re.findall(r"(?:Problem|__init__)\(\s*\d{3},\s*\"([a-z-]+)\"", path.read_text())
    }

    assert len(kinds) > 10
    assert kinds == set(
        re.findall(r"`([a-z-]+)`", " ".join(re.findall(r"\| [45]\d\d \|([^|]*)\|", MANUAL.read_text())))
    )
