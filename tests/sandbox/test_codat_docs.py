"""`docs/codat.md` names each of Codat's operations and events, and says truly whether it is used."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from inspect import isasyncgenfunction, iscoroutinefunction
from pathlib import Path
from typing import Any

import httpx
import pytest

from freshness.codat.client import Codat
from freshness.codat.errors import CodatError
from freshness.codat.webhooks.parser import Malformed, parse
from freshness.codat.webhooks.registration import event_types

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "codat.md"
CODAT = ROOT / "functions" / "freshness" / "codat"
OPENAPI = ROOT.parent / "shared" / "codat" / "platform-openapi-full.json"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NAMES = {"{dataType}": "invoices", "{productIdentifier}": "lending-plus", "{name}": "loanVerification"}

described = pytest.mark.skipif(not OPENAPI.exists(), reason=f"Codat's OpenAPI file is not at {OPENAPI}")


def rows(heading: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the table under a heading."""
    section = DOCS.read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def operations() -> dict[str, tuple[str, str]]:
    return {name.strip("`"): (call.strip("`"), use) for name, call, use in rows("Operations")}


def events() -> dict[str, str]:
    return {name: use for names, use in rows("Events") for name in re.findall(r"`(.+?)`", names)}


def is_used(event_type: str) -> bool:
    """Return whether events of a type are read: one without its payload is then malformed."""
    try:
        return parse(json.dumps({"eventType": event_type, "generatedDate": "2026-11-23T12:00:00Z"}), NOON) is not None
    except Malformed:
        return True


def description() -> Any:
    return json.loads(OPENAPI.read_text("utf-8-sig"))


@described
def test_every_operation_has_a_row() -> None:
    calls = {
        operation["operationId"]: f"{method.upper()} {path}"
        for path, methods in description()["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    }

    documented = {name: call for name, (call, _) in operations().items()}
    assert calls.items() <= documented.items()
    # The file leaves some out: `test_official_client.py` compares with all that Codat's own client has.
    assert len(documented) == 52


@described
def test_every_event_has_a_row() -> None:
    assert description()["webhooks"].keys() - events().keys() == set()


async def test_exactly_the_operations_that_are_used_are_called() -> None:
    calls = {tuple(call.split(" ")): (name, use) for name, (call, use) in operations().items()}
    called = set()

    def respond(request: httpx.Request) -> httpx.Response:
        for (method, path), (name, _) in calls.items():
            pattern = re.sub(r"\{\w+\}", "[^/]+", path)
            if method == request.method and re.fullmatch(pattern, request.url.path):
                called.add(name)
        return httpx.Response(404, json={})

    transport = httpx.MockTransport(respond)
    async with httpx.AsyncClient(base_url="http://codat", transport=transport) as client:
        codat = Codat(client, "key", clock=lambda: datetime.now(UTC))
        for call in every_call(codat):
            with pytest.raises(CodatError):
                await (anext(call) if isinstance(call, AsyncIterator) else call)

    assert called == {name for name, use in calls.values() if use.startswith("yes")}
    for _, use in calls.values():
        if use.startswith("yes"):
            [file] = re.findall(r"`(\w+\.py)`", use)
            assert (CODAT / file).exists()


def every_call(codat: Codat) -> Iterator[Any]:
    """Yield a call of each operation of the client, whose parameters all get the same text."""
    for name in dir(Codat):
        method: Any = None if isinstance(getattr(Codat, name), property) else getattr(codat, name)
        if name.startswith("_") or not (iscoroutinefunction(method) or isasyncgenfunction(method)):
            continue
        code = method.__func__.__code__
        required = code.co_argcount - 1 - len(method.__func__.__defaults__ or ())
        yield method(*["x"] * required)
    yield codat.queue("x", "custom.x", "x")


def test_exactly_the_events_that_are_used_are_read_and_those_subscribed_to_are_registered() -> None:
    subscribed = set()
    for event, use in events().items():
        name = event
        for placeholder, example in NAMES.items():
            name = name.replace(placeholder, example)
        assert is_used(name) == use.startswith("yes"), event
        if use.startswith("yes, subscribed"):
            subscribed.add(name)

    registered = set(event_types([NAMES["{productIdentifier}"]]))
    writes = {each for each in registered if each.endswith(".write.successful")}
    assert subscribed - writes == registered - writes
    assert subscribed & writes
