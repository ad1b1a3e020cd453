"""The client against the sandbox over HTTP: its own responses, and prescribed ones."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from codat_sandbox.model import Dataset, RequestedBy
from codat_sandbox.platforms import DataType
from codat_sandbox.server import RunningSandbox, running_sandbox
from codat_sandbox.settings import Settings
from codat_sandbox.stubs import StubResponse
from freshness.codat import client, errors, http
from freshness.codat.client import Codat
from tests.builders import DAY

SETTINGS = Settings(
    companies=3,
    sync_time_min=timedelta(hours=1),
    sync_time_max=timedelta(hours=1),
    needs_relink=0,
    sync_schedule={DataType.INVOICES: 24},
)
ERROR = {"statusCode": 0, "service": "PublicApi", "error": "No.", "correlationId": "c-1", "validation": None}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox(SETTINGS) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def fresh(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.do(lambda sandbox: sandbox.reset(SETTINGS))
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.01)


@pytest.fixture
async def codat(sandbox: RunningSandbox) -> AsyncIterator[Codat]:
    async with httpx.AsyncClient(base_url=sandbox.base_url) as http:
        yield Codat(http, sandbox.api_key, clock=lambda: datetime.now(UTC))


@pytest.fixture
def company_id(sandbox: RunningSandbox) -> str:
    """A company with an accounting connection and a banking one."""
    return sandbox.backend.companies()[0].id


def accounting_connection(sandbox: RunningSandbox, company_id: str) -> str:
    """Return the id of a company's accounting connection."""
    [company] = [company for company in sandbox.backend.companies() if company.id == company_id]
    return next(connection.id for connection in company.connections if connection.platform.source_type == "Accounting")


def datasets(sandbox: RunningSandbox, company_id: str) -> list[Dataset]:
    """Return the datasets that were queued of a company's invoices since the sandbox started."""
    history = sandbox.do(lambda sandbox: list(sandbox.backend.history(company_id, sandbox.now())))
    return [each for each in history if each.data_type is DataType.INVOICES and each.requested_by is RequestedBy.API]


def prescribe(sandbox: RunningSandbox, path: str = "*", body: object = "", **prescribed: Any) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = StubResponse.model_validate({"path": path, "body": text, **prescribed})
    sandbox.do(lambda sandbox: sandbox.stubs.add(answer))


async def test_every_operation_is_understood(codat: Codat, sandbox: RunningSandbox, company_id: str) -> None:
    companies = {company.id: company async for _, company in codat.companies()}
    assert companies.keys() == {company.id for company in sandbox.backend.companies()}
    connection_id = accounting_connection(sandbox, company_id)
    assert connection_id in {connection.id for connection in companies[company_id].connections}

    operation = await codat.queue(company_id, "invoices", connection_id)
    assert operation.connection_id == connection_id
    status = (await codat.data_status(company_id))[1]["invoices"]
    assert status.latest_sync_id == operation.id
    assert await codat.dataset(company_id, operation.id)
    await codat.queue_all(company_id)
    history = [operation async for operation in codat.history(company_id)]
    assert history == sorted(history, key=lambda operation: operation.requested, reverse=True)
    assert operation.id in {operation.id for operation in history}

    settings = {setting.data_type: setting for setting in await codat.sync_settings()}
    assert settings["invoices"].sync_schedule == 24
    assert settings["invoices"].fetch_on_first_link


async def test_a_webhook_consumer_that_was_created_is_listed(codat: Codat) -> None:
    assert await codat.webhook_consumers() == []

    created = await codat.create_webhook_consumer("http://127.0.0.1:9/", ["read.completed"])

    assert await codat.webhook_consumers() == [created]


async def test_companies_are_filtered_by_tags(codat: Codat, sandbox: RunningSandbox) -> None:
    region = sandbox.backend.companies()[0].tags["region"]

    listed = {company.id async for _, company in codat.companies(f"region={region}")}

    assert listed == {company.id for company in sandbox.backend.companies() if company.tags["region"] == region}


async def test_all_pages_are_read(codat: Codat, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE_SIZE", 2)

    assert len([company async for company in codat.companies()]) == 3
    assert sandbox.sandbox.calls["list-companies"] == 2


@pytest.mark.parametrize("total", [0, -1, 10**30])
async def test_a_page_that_links_to_itself_is_read_once(codat: Codat, sandbox: RunningSandbox, total: int) -> None:
    page = {
        "results": [{"id": "a", "name": None, "tags": None}, {"id": "b"}],
        "pageNumber": 1,
        "pageSize": 2,
        "totalResults": total,
        "_links": {"self": {"href": "/companies"}, "next": {"href": "/companies"}},
    }
    prescribe(sandbox, body=page, status=200, times=9)

    assert [company.id async for _, company in codat.companies()] == ["a", "b"]
    assert codat.calls == 2


async def test_one_company_that_cannot_be_read_does_not_hide_the_others(codat: Codat, sandbox: RunningSandbox) -> None:
    prescribe(sandbox, body={"results": [{"id": 5}, None, {"id": "b"}]}, status=200)

    assert [company.id async for _, company in codat.companies()] == ["b"]


async def test_items_that_cannot_be_read_are_logged_once_for_a_response_and_counted(
    codat: Codat, sandbox: RunningSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = {"id": "a", "companyId": "c", "connectionId": "n", "dataType": "bills", "status": "Complete"}
    readable = dataset | {"requested": "2026-11-24T10:00:00Z"}
    headers = {"X-Correlation-Id": "correlation-1"}
    prescribe(sandbox, body={"results": [readable, *[dataset] * 300]}, status=200, headers=headers)

    assert [operation.id async for operation in codat.history("company-1")] == ["a"]

    [record] = [vars(record) for record in caplog.records if record.name == "codat-freshness"]
    assert (record["levelname"], record["skipped"]) == ("WARNING", 300)
    assert (record["company_id"], record["correlation_id"]) == ("company-1", "correlation-1")
    assert record["call"] == "GET /companies/company-1/data/history"
    assert "requested" in record["first_reason"]
    assert codat.items_skipped == 300


async def test_a_response_that_can_be_read_logs_nothing(
    codat: Codat, sandbox: RunningSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    assert len([company async for _, company in codat.companies()]) == 3

    assert [record for record in caplog.records if record.name == "codat-freshness"] == []
    assert codat.items_skipped == 0


async def test_what_codat_adds_passes_through(codat: Codat, sandbox: RunningSandbox) -> None:
    status = {"dataType": "crystals", "currentStatus": "Polishing", "hue": 1, "lastSuccessfulSync": None}
    odd = {"dataType": "invoices", "currentStatus": ["?"]}
    prescribe(sandbox, body={"crystals": status, "invoices": odd, "bills": None}, status=200)

    _, statuses = await codat.data_status("company")

    assert {name: status.current_status for name, status in statuses.items()} == {"crystals": "Polishing"}


OPERATION = {
    "id": "d",
    "companyId": "c",
    "connectionId": "n",
    "dataType": "bills",
    "status": "Complete",
    "requested": "2019-06-11T13:26:54.6884704Z",
    "completed": "2019-06-11T13:26:55.6884704",
}


async def test_times_with_seven_decimals_are_read(codat: Codat, sandbox: RunningSandbox) -> None:
    prescribe(sandbox, body=OPERATION, status=200)

    dataset = await codat.dataset("c", "d")

    assert dataset.requested == datetime(2019, 6, 11, 13, 26, 54, 688470, tzinfo=UTC)
    assert dataset.completed == dataset.requested + timedelta(seconds=1)


@pytest.mark.parametrize(
    "time", [*(f"{year}-12-31T23:59:59.9999999Z" for year in (1960, 2200, 9999)), timedelta(minutes=6)], ids=str
)
async def test_what_is_to_have_happened_at_an_absurd_time_is_unreadable(
    codat: Codat, sandbox: RunningSandbox, time: str | timedelta
) -> None:
    if isinstance(time, timedelta):
        time = (datetime.now(UTC) + time).isoformat()
    prescribe(sandbox, body=OPERATION | {"requested": time}, status=200)
    with pytest.raises(errors.Unreadable, match="is not plausible: expected a time after 1970"):
        await codat.queue("c", "bills", "x")

    absurd = {"dataType": "invoices", "currentStatus": "Complete", "lastSuccessfulSync": time}
    prescribe(sandbox, body={"invoices": absurd, "bills": {"dataType": "bills"}}, status=200)
    assert (await codat.data_status("c"))[1].keys() == {"bills"}


async def test_the_year_1_is_no_time_at_all(codat: Codat, sandbox: RunningSandbox) -> None:
    never = "0001-01-01T00:00:00"
    prescribe(sandbox, body=OPERATION | {"completed": never}, status=200)
    assert (await codat.dataset("c", "d")).completed is None

    failed = {"dataType": "bills", "currentStatus": "FetchError", "lastSuccessfulSync": f"{never}Z"}
    prescribe(sandbox, body={"bills": failed}, status=200)
    assert (await codat.data_status("c"))[1]["bills"].last_successful_sync is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, errors.Refused),
        (400, errors.Refused),
        (401, errors.Unauthorized),
        (402, errors.AccountLimit),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (408, errors.Temporary),
        (409, errors.Refused),
        (418, errors.Refused),
        (429, errors.RateLimited),
        (500, errors.Temporary),
        (503, errors.Temporary),
        (599, errors.Temporary),
    ],
)
async def test_each_refusal_is_an_error_of_its_kind_with_codats_correlation_id(
    codat: Codat, sandbox: RunningSandbox, status: int, kind: type[errors.CodatError]
) -> None:
    prescribe(sandbox, body=ERROR, status=status, times=9)

    with pytest.raises(errors.CodatError) as raised:
        await codat.data_status("company")

    assert type(raised.value) is kind
    assert raised.value.correlation_id == "c-1"
    assert str(raised.value) == f"GET /companies/company/dataStatus ({status}): No. [correlation id c-1]"
    assert codat.calls == (http.TRIES if kind is errors.Temporary else 1)


@pytest.mark.parametrize("body", ["<html>No.</html>", "", "[]", '{"error": 5, "correlationId": {}}', '{"error": null}'])
async def test_a_refusal_that_is_not_as_described_is_told_by_its_status(
    codat: Codat, sandbox: RunningSandbox, body: str
) -> None:
    prescribe(sandbox, body=body, status=404)

    with pytest.raises(errors.NotFound):
        await codat.data_status("company")


@pytest.mark.parametrize("status", [400, 409])
async def test_a_refresh_that_already_runs_is_named(codat: Codat, sandbox: RunningSandbox, status: int) -> None:
    sandbox.do(lambda sandbox: sandbox.reset(SETTINGS.model_copy(update={"already_in_progress_status": status})))
    company_id = sandbox.backend.companies()[0].id
    running = await codat.queue(company_id, "invoices", accounting_connection(sandbox, company_id))

    with pytest.raises(errors.AlreadyInProgress) as raised:
        await codat.queue(company_id, "invoices", accounting_connection(sandbox, company_id))

    assert raised.value.dataset_id == running.id


async def test_an_unsupported_data_type_is_distinguished_from_an_unknown_company(
    codat: Codat, sandbox: RunningSandbox, company_id: str
) -> None:
    with pytest.raises(errors.UnsupportedDataType):
        await codat.queue(company_id, "commerce-orders", accounting_connection(sandbox, company_id))
    with pytest.raises(errors.NotFound):
        await codat.queue("00000000-0000-0000-0000-000000000000", "invoices", "x")


@pytest.mark.parametrize("odd", ["../webhooks", "a/b", "a?b=c", "a#b", "ä", " "])
async def test_an_odd_id_stays_within_its_place_in_the_path(codat: Codat, sandbox: RunningSandbox, odd: str) -> None:
    with pytest.raises(errors.NotFound):
        await codat.data_status(odd)

    assert set(sandbox.sandbox.calls) <= {"get-company-data-status", "unknown"}


@pytest.mark.parametrize(
    "body", ["<html>Welcome</html>", '{"id": "cut o', "", "null", "[]", '{"results": 1}', '{"results": {}}']
)
async def test_an_answer_that_is_not_as_described_is_unreadable(
    codat: Codat, sandbox: RunningSandbox, body: str
) -> None:
    for call in (
        codat.queue("company", "invoices", "connection"),
        codat.dataset("company", "dataset"),
        codat.webhook_consumers(),
    ):
        prescribe(sandbox, body=body, status=200)
        with pytest.raises(errors.Unreadable):
            await call


async def test_an_answer_cut_off_is_asked_for_again(codat: Codat, sandbox: RunningSandbox, company_id: str) -> None:
    prescribe(sandbox, cutAfter=9, times=http.TRIES - 1)

    assert (await codat.data_status(company_id))[1]


@pytest.mark.parametrize("lost", [{"close": True}, {"cutAfter": 9}])
@pytest.mark.parametrize("times", [1, http.TRIES - 1])
async def test_a_refresh_without_a_response_is_sent_again_and_takes_effect_once(
    codat: Codat, sandbox: RunningSandbox, company_id: str, lost: dict[str, Any], times: int
) -> None:
    prescribe(sandbox, carryOut=True, times=times, **lost)

    operation = await codat.queue(company_id, "invoices", accounting_connection(sandbox, company_id))

    assert sandbox.sandbox.calls["refresh-data-type"] == times + 1
    assert [each.id for each in datasets(sandbox, company_id)] == [operation.id]


@pytest.mark.parametrize("lost", [{"close": True, "times": http.TRIES}, {"status": 502}])
async def test_a_refresh_whose_responses_are_lost_takes_effect_once_when_it_is_sent_with_the_same_key(
    codat: Codat, sandbox: RunningSandbox, company_id: str, lost: dict[str, Any]
) -> None:
    prescribe(sandbox, carryOut=True, **lost)
    connection_id, key = accounting_connection(sandbox, company_id), uuid4()

    with pytest.raises(errors.Temporary) as raised:
        await codat.queue(company_id, "invoices", connection_id, key)
    assert raised.value.is_unanswered
    operation = await codat.queue(company_id, "invoices", connection_id, key)

    assert [each.id for each in datasets(sandbox, company_id)] == [operation.id]


async def test_an_error_of_codat_itself_is_a_response_to_a_refresh(
    codat: Codat, sandbox: RunningSandbox, company_id: str
) -> None:
    prescribe(sandbox, body=ERROR, status=500)

    with pytest.raises(errors.Temporary) as raised:
        await codat.queue(company_id, "invoices", accounting_connection(sandbox, company_id))

    assert not raised.value.is_unanswered
    assert codat.calls == 1


async def test_a_refresh_that_is_sent_again_during_the_first_try_waits_for_its_response(
    codat: Codat, sandbox: RunningSandbox, company_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.do(lambda sandbox: sandbox.reset(SETTINGS.model_copy(update={"latency": timedelta(seconds=0.25)})))
    monkeypatch.setattr(http, "CALL_TIMEOUT", 0.1)
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.15)
    connection_id, key = accounting_connection(sandbox, company_id), uuid4()

    for _ in range(3):
        with pytest.raises(errors.Temporary) as raised:
            await codat.queue(company_id, "invoices", connection_id, key)
        assert raised.value.is_unanswered
    monkeypatch.setattr(http, "CALL_TIMEOUT", 5)
    operation = await codat.queue(company_id, "invoices", connection_id, key)

    assert [each.id for each in datasets(sandbox, company_id)] == [operation.id]


async def test_a_conflict_is_a_refusal_unless_it_is_about_the_key(codat: Codat, sandbox: RunningSandbox) -> None:
    prescribe(sandbox, body=ERROR, status=409)
    with pytest.raises(errors.Refused):
        await codat.queue("company", "invoices", "connection")

    conflict = ERROR | {"error": "A request with this idempotency key is being processed."}
    prescribe(sandbox, body=conflict, status=409, times=http.TRIES)
    with pytest.raises(errors.StillProcessing):
        await codat.queue("company", "invoices", "connection")


async def test_each_post_has_a_key_and_no_get_has(sandbox: RunningSandbox) -> None:
    sent: list[tuple[str, str | None]] = []

    async def note(request: httpx.Request) -> None:
        sent.append((request.method, request.headers.get("Idempotency-Key")))

    async with httpx.AsyncClient(base_url=sandbox.base_url, event_hooks={"request": [note]}) as client:
        codat = Codat(client, sandbox.api_key, clock=lambda: datetime.now(UTC))
        await codat.queue_all(sandbox.backend.companies()[0].id)
        await codat.create_webhook_consumer("http://127.0.0.1:9/", ["read.completed"])
        await codat.sync_settings()

    assert [method for method, _ in sent] == ["POST", "POST", "GET"]
    keys = [key for _, key in sent]
    assert keys[0] and keys[1] and str(UUID(keys[0])) == keys[0] != keys[1]
    assert keys[2] is None


async def test_an_answer_that_does_not_come_is_not_waited_for_long(
    codat: Codat, sandbox: RunningSandbox, company_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "CALL_TIMEOUT", 0.2)
    monkeypatch.setattr(http, "TRY_AGAIN_WITHIN", 0.1)
    prescribe(sandbox, delay=1.0)
    started = time.monotonic()

    with pytest.raises(errors.Temporary, match="no response within"):
        await codat.data_status(company_id)

    assert time.monotonic() - started < 0.9
    assert codat.calls == 1


async def test_a_codat_that_is_not_there_is_a_temporary_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9") as http:
        with pytest.raises(errors.Temporary, match="ConnectError"):
            await Codat(http, "key", clock=lambda: datetime.now(UTC)).data_status("company")


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        ("90", timedelta(seconds=90)),
        ("1.5", timedelta(seconds=1.5)),
        (timedelta(hours=2), timedelta(hours=2)),
        (timedelta(hours=-2), timedelta(seconds=1)),
        ("Fri, 31 Dec 9999 23:59:59 -0000", DAY),
        ("Mon, 01 Jan 0001 00:00:00 +2359", timedelta(seconds=1)),
        ("-5", timedelta(seconds=1)),
        ("1e9", DAY),
        ("1e308", timedelta(minutes=1)),
        ("inf", timedelta(minutes=1)),
        ("nan", timedelta(minutes=1)),
        ("soon", timedelta(minutes=1)),
        ("", timedelta(minutes=1)),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_that_codat_asks_for_is_understood_in_either_form_and_kept_within_reason(
    codat: Codat, sandbox: RunningSandbox, header: str | timedelta, pause: timedelta, status: int
) -> None:
    if isinstance(header, timedelta):
        header = format_datetime(datetime.now(UTC) + header, usegmt=True)
    prescribe(sandbox, body=ERROR, status=status, headers={"Retry-After": header})

    with pytest.raises(errors.RateLimited) as raised:
        await codat.data_status("company")

    assert abs(raised.value.until - datetime.now(UTC) - pause) < timedelta(minutes=1)


def answering(headers: dict[str, str], status: int = 200) -> Codat:
    """A client of a Codat whose headers are all of the test's own: the sandbox's server adds a `Date`."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, json={}, headers=headers))
    return Codat(
        httpx.AsyncClient(base_url="http://codat", transport=transport), "key", clock=lambda: datetime.now(UTC)
    )


@pytest.mark.parametrize("date", ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -0000", "today", ""])
async def test_an_absurd_date_is_not_taken_for_codats_time(date: str) -> None:
    assert abs((await answering({"Date": date}).data_status("company"))[0] - datetime.now(UTC)) < timedelta(minutes=1)


async def test_a_pause_is_measured_by_codats_own_clock() -> None:
    theirs = datetime.now(UTC) + timedelta(minutes=4)
    headers = {
        "Date": format_datetime(theirs, usegmt=True),
        "Retry-After": format_datetime(theirs + timedelta(minutes=20), usegmt=True),
    }

    with pytest.raises(errors.RateLimited) as raised:
        await answering(headers, status=429).data_status("company")

    assert abs(raised.value.until - datetime.now(UTC) - timedelta(minutes=20)) < timedelta(minutes=1)
