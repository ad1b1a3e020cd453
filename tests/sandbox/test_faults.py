"""What the sandbox's own API makes go wrong, as a client of Codat's API sees it."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from codat_sandbox import responses
from codat_sandbox.backend import CodatBackend
from codat_sandbox.model import ConnectionStatus, DatasetStatus
from codat_sandbox.platforms import PLATFORMS
from codat_sandbox.server import RunningSandbox
from codat_sandbox.stubs import StubResponse, Stubs
from tests.sandbox.conftest import MINUTE, NOON, QUICK, empty_backend, reads, wait_until


@pytest.fixture
def backend() -> CodatBackend:
    backend = empty_backend(QUICK)
    backend.add_company([PLATFORMS["Xero"]], NOON)
    backend.advance(NOON + MINUTE)
    return backend


def test_a_refused_read_heals_by_itself(backend: CodatBackend) -> None:
    [company] = backend.companies()
    dataset = backend.queue(company.id, "invoices", NOON + MINUTE, ends_in=DatasetStatus.AUTH_ERROR)
    [refused] = reads(backend.advance(NOON + 2 * MINUTE))
    backend.queue(company.id, "invoices", NOON + 2 * MINUTE)
    [healed] = reads(backend.advance(NOON + 3 * MINUTE))

    assert f"/sync/{dataset.id}/validation" in str(responses.webhook(refused, ""))
    assert [read.status for event in (refused, healed) for read in event.reads] == ["AuthError", "Complete"]
    assert backend.company(company.id).connections[0].status is ConnectionStatus.LINKED


def test_changed_books_are_found_by_the_next_read_and_only_by_it(backend: CodatBackend) -> None:
    [company] = backend.companies()
    backend.change_books(company.id, "invoices")
    found = []
    for minute in (1, 2):
        backend.queue(company.id, "invoices", NOON + minute * MINUTE)
        [event] = reads(backend.advance(NOON + (minute + 1) * MINUTE))
        found += [read.records_modified for read in event.reads]

    assert found == [True, False]


def test_codat_is_broken_for_as_long_as_asked() -> None:
    now = [NOON]
    stubs = Stubs(lambda: now[0])
    stubs.add(StubResponse(path="*", status=503, lasts=timedelta(seconds=60)))
    answers = []
    for seconds in (0, 1, 59, 60):
        now[0] = NOON + timedelta(seconds=seconds)
        answers.append(stubs.take("GET", "/companies"))

    assert [answer and answer.status for answer in answers] == [503, 503, 503, None]
    assert stubs.pending() == []


@pytest.mark.parametrize(("listed", "expected"), [("empty", []), ("null", None), ("missing", "missing")])
def test_a_list_of_companies_can_lack_their_connections(codat: httpx.Client, listed: str, expected: Any) -> None:
    codat.patch("/sandbox/settings", json={"listed_connections": listed})

    companies = codat.get("/companies").json()["results"]

    assert {repr(company.get("dataConnections", "missing")) for company in companies} == {repr(expected)}
    assert codat.get(f"/companies/{companies[0]['id']}").json()["dataConnections"]


def test_a_client_creates_a_company_links_it_and_unlinks_it(codat: httpx.Client, sandbox: RunningSandbox) -> None:
    company = codat.post("/companies", json={"name": "Tide Bakery", "tags": {"region": "uk"}}).json()
    path = f"/companies/{company['id']}"
    connection = codat.post(f"{path}/connections", json="gbol").json()
    codat.patch(f"/sandbox{path}/connections/{connection['id']}", json={"status": "Linked"})
    linked = codat.get(path).json()["dataConnections"]
    unlinked = codat.patch(f"{path}/connections/{connection['id']}", json={"status": "Unlinked"}).json()
    codat.patch(path, json={"name": "Tide Bakery Ltd"})
    renamed = codat.get(path).json()
    deleted = codat.delete(f"{path}/connections/{connection['id']}")

    assert (connection["platformName"], connection["status"]) == ("Xero", "PendingAuth")
    assert [each["status"] for each in linked] == ["Linked"]
    assert (unlinked["status"], unlinked["dataConnectionErrors"]) == ("Unlinked", [])
    assert (renamed["name"], renamed["tags"]) == ("Tide Bakery Ltd", {"region": "uk"})
    assert (deleted.status_code, codat.get(path).json()["dataConnections"]) == (200, [])
    assert codat.post("/companies", json={"name": "<script>"}).status_code == 400


def test_what_went_wrong_is_said_by_the_connection_the_dataset_and_its_results(codat: httpx.Client) -> None:
    company = codat.post("/sandbox/companies", json={"platforms": ["QuickBooks Desktop"]}).json()
    path = f"/companies/{company['id']}"
    [connection] = company["dataConnections"]

    def ended() -> list[Any]:
        return [each for each in codat.get(f"{path}/data/history").json()["results"] if "completed" in each]

    wait_until(lambda: len(ended()) == 4)  # all that it reads on the first link
    codat.post(f"/sandbox{path}/refresh", json={"dataType": "suppliers", "endsIn": "ValidationError"})
    wait_until(lambda: len(ended()) == 5)
    [dataset] = [each for each in ended() if each["status"] == "ValidationError"]
    [found] = codat.get(f"{path}/sync/{dataset['id']}/validation").json()["errors"]
    codat.patch(f"/sandbox{path}/connections/{connection['id']}", json={"machineOnline": False})
    offline = codat.get(path).json()["dataConnections"][0]["connectionInfo"]

    assert dataset["errorMessage"] == found["message"]
    assert connection["connectionInfo"] is None
    assert offline["status"] == "Offline"
