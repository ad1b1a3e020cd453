"""The operator's command line, with the deployed stack."""

import csv
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from subprocess import PIPE
from typing import Any, Literal

import boto3
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from typer.testing import CliRunner

import stack_access.stack
from cli.commands import app
from freshness.app.policy_in_force import TAKEN
from freshness.app.tick import UNUSABLE
from freshness.aws.dynamodb.control_items.policy_versions import PolicyVersion
from freshness.policy import compiled
from local.settings import ROOT, Settings
from local.stack import RunningStack
from stack_access.stack import clock
from tests.end_to_end.conftest import LONGEST_WAIT, Sandbox, answered, send_webhook, wait_for

Freshness = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module", autouse=True)
def began() -> datetime:
    """When the first of these tests began."""
    return clock()


@pytest.fixture(scope="module")
def freshness(stack: RunningStack, settings: Settings) -> Iterator[Freshness]:
    """`./freshness --local` for the stack of these tests, without a process of its own."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        result = CliRunner().invoke(app, ["--local", *arguments])
        assert isinstance(result.exception, SystemExit | None), (arguments, result.exception)
        return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack_access.stack, "LOCAL_FOLDER", settings.local_folder)
        yield run


@pytest.fixture(scope="module")
def command(stack: RunningStack, settings: Settings) -> Freshness:
    """The same, as a process."""
    environment = {**os.environ, "LOCAL_FOLDER": str(settings.local_folder)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        words = [str(ROOT / "freshness"), "--local", *arguments]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="module")
def fleet(freshness: Freshness) -> dict[str, Any]:
    """The summary of the fleet once it has fresh feeds."""

    def known() -> dict[str, Any] | None:
        summary = output_of(freshness("status", "--json"))
        return summary if summary["states"].get("fresh", 0) > 10 else None

    return wait_for(known)


@dataclass(frozen=True, slots=True)
class Pushed:
    """A policy that Ann pushed while Ben was asked whether to push his."""

    at: float
    version: PolicyVersion
    answer_to_ben: str


@pytest.fixture(scope="module")
def pushed(
    stack: RunningStack, settings: Settings, fleet: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pushed]:
    """A policy that has customers read once a month. What was pushed after it cannot be loaded."""
    file, policies = tmp_path_factory.mktemp("pushed") / "freshness.toml", stack.deployed.policies
    of_repository, deployed = (ROOT / "freshness.toml").read_text(), policies.latest()
    file.write_text(of_repository.replace("[data_types]", '[data_types]\ncustomers = { fresh_within = "30 days" }'))
    command = [str(ROOT / "freshness"), "--local", "policy", "push", str(file)]
    environment = {**os.environ, "LOCAL_FOLDER": str(settings.local_folder)}
    with subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as ben:
        assert ben.stdout
        said = ""
        while not said.endswith("Put it in force? [y/N]: "):
            assert ben.poll() is None, said
            said += ben.stdout.read(1)
        version = policies.put(compiled.compiled(file), deployed, by="Ann", how="pushed")
        at = time.monotonic()
        _, answer = ben.communicate("y\n")
    assert ben.returncode == 1
    corrupted = replace(version, by="Eve", fingerprint="corrupted")
    stack.tables.policies.put(corrupted, "no compiled policy", version)
    yield Pushed(at, version, answer)
    policies.put(policies.content(deployed), policies.latest(), by="Ann", how="rolled back")


@pytest.fixture(scope="module")
def feed(freshness: Freshness, fleet: dict[str, Any]) -> dict[str, Any]:
    """A feed that is fresh, of a company that no other test changes."""
    feeds = [json.loads(text) for text in freshness("export").stdout.splitlines()]
    return next(feed for feed in feeds if feed["state"] == "fresh")


def output_of(run: subprocess.CompletedProcess[str]) -> Any:
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_of_two_people_who_push_at_once_the_second_is_told_of_the_first(pushed: Pushed) -> None:
    assert "Nothing was changed: Ann put version 2 in force meanwhile (pushed)." in pushed.answer_to_ben


def test_a_bad_policy_cannot_be_stored(
    freshness: Freshness, stack: RunningStack, pushed: Pushed, tmp_path: Path
) -> None:
    file, before = tmp_path / "freshness.toml", stack.deployed.policies.latest()
    for bad, why in (('fresh_within = "soon"', ":2: "), ('fresh_within = "1 day"\n[codat]\naccount = "Other"', ":4: ")):
        file.write_text(f"[default]\n{bad}\n")
        push = freshness("policy", "push", str(file), "--yes")
        assert push.returncode == 2
        assert why in push.stderr
    assert stack.deployed.policies.latest() == before


def test_status_shows_the_fleet_or_one_company(
    freshness: Freshness, command: Freshness, fleet: dict[str, Any], feed: dict[str, Any]
) -> None:
    assert fleet["companies"] > 5
    assert not fleet["pause"]
    assert fleet["limits"]["remaining"] > 0
    assert "promises are broken" in command("status").stdout

    company = output_of(freshness("status", feed["companyName"], "--json"))
    assert company["company"]["companyId"] == feed["companyId"]
    assert feed["dataType"] in {each["dataType"] for each in company["feeds"]}
    assert feed["dataType"] in freshness("status", feed["companyId"]).stdout


def test_status_is_the_same_with_the_outputs_of_cloudformation(freshness: Freshness) -> None:
    run = subprocess.run([ROOT / "freshness", "status", "--json"], capture_output=True, text=True, check=False)
    assert output_of(run)["companies"] == output_of(freshness("status", "--json"))["companies"]


def test_explain_shows_the_promise_its_rule_and_the_decision(freshness: Freshness, feed: dict[str, Any]) -> None:
    explanation = output_of(freshness("explain", feed["companyId"], feed["dataType"], "--json"))[0]
    assert "freshness.toml:" in explanation["feed"]["rule"]
    assert explanation["action"]
    assert explanation["reason"]
    assert "Promise" in freshness("explain", feed["companyId"], feed["dataType"]).stdout


def test_the_schedules_run_both_functions_by_themselves(stack: RunningStack, began: datetime) -> None:
    since = round(began.timestamp() * 1000)

    def has_run(function: str) -> bool:
        """Return whether a function has logged anything since: nothing else has run it."""
        group = stack.deployed.log_group(function)
        events = boto3.client("logs").filter_log_events(logGroupName=group, startTime=since)["events"]
        return any(event["timestamp"] >= since for event in events)

    for function in (stack.outputs.check_freshness_function, stack.outputs.queue_refreshes_function):
        wait_for(partial(has_run, function))


def test_refresh_queues_once_and_explain_shows_its_dataset(freshness: Freshness, feed: dict[str, Any]) -> None:
    arguments = ("refresh", feed["companyId"], feed["dataType"], "--json")
    first, second = output_of(freshness(*arguments)), output_of(freshness(*arguments))
    queued = [result for result in first if result["outcome"] == "queued"]
    assert queued
    assert {result["outcome"] for result in second} <= {"queued", "already in flight"}
    datasets = [
        dataset
        for explanation in output_of(freshness("explain", feed["companyId"], feed["dataType"], "--json"))
        for dataset in explanation["datasets"]
    ]
    by_id = {dataset["datasetId"]: dataset for dataset in datasets}
    assert by_id[queued[0]["datasetId"]]["trigger"] == "operator"


def test_ensure_waits_until_data_is_fresh_enough(freshness: Freshness, feed: dict[str, Any]) -> None:
    run = freshness("ensure", feed["companyId"], feed["dataType"], "--max-age", "1s", "--within", "2m", "--json")

    assert run.returncode in (0, 3), run.stderr
    status = json.loads(run.stdout)
    assert status["done"] is True
    # A read that fails is tried again later.
    assert {each["state"] for each in status["dataTypes"]} == {"fresh" if run.returncode == 0 else "stale"}
    assert "Waiting for" in run.stderr


def test_the_api_answers_over_http(stack: RunningStack, feed: dict[str, Any]) -> None:
    unsigned = httpx.get(f"{stack.outputs.api_url}/openapi.json", timeout=LONGEST_WAIT)
    assert unsigned.status_code == 403

    with httpx.Client(base_url=stack.outputs.api_url, auth=_signed, timeout=LONGEST_WAIT) as api:
        _ensure(api, feed)


def _signed(request: httpx.Request) -> httpx.Request:
    """Sign a request as the API's callers must."""
    session = boto3.Session()
    signed = AWSRequest(request.method, str(request.url), data=request.content)
    credentials = session.get_credentials()
    assert credentials
    SigV4Auth(credentials, "execute-api", session.region_name).add_auth(signed)
    request.headers.update(signed.headers.items())
    return request


def _ensure(api: httpx.Client, feed: dict[str, Any]) -> None:
    company = f"/companies/{feed['companyId']}"
    known = answered(lambda: api.get(f"{company}/freshness"))
    assert known.status_code == 200, known.text
    assert feed["dataType"] in {each["dataType"] for each in known.json()["dataTypes"]}
    body = {"dataTypes": [feed["dataType"]], "maxAge": "P1D", "within": "PT10M"}
    assert answered(lambda: api.post(f"{company}/ensure-fresh", json=body)).json()["done"] is True
    unknown = answered(lambda: api.post("/companies/nobody/ensure-fresh", json=body))
    assert (unknown.status_code, unknown.headers["Content-Type"]) == (404, "application/problem+json")
    assert answered(lambda: api.get("/openapi.json")).json()["openapi"] == "3.1.0"


@pytest.mark.parametrize("what", ["company", "everything"])
def test_a_pause_refuses_refreshes_until_it_is_resumed(freshness: Freshness, feed: dict[str, Any], what: str) -> None:
    named = [feed["companyId"]] if what == "company" else []
    # What pauses everything in an emergency does not need the policy.
    options = [] if named else ["--policy", "/nowhere.toml"]
    assert output_of(freshness(*options, "pause", *named, "--json"))["paused"] is True
    refused = freshness("refresh", feed["companyId"])
    assert refused.returncode == 1
    assert "is paused" in refused.stderr
    assert output_of(freshness(*options, "resume", *named, "--json"))["paused"] is False
    assert output_of(freshness("refresh", feed["companyId"], feed["dataType"], "--json"))


def test_export_has_every_feed_in_either_format(freshness: Freshness, fleet: dict[str, Any]) -> None:
    feeds = [json.loads(text) for text in freshness("export").stdout.splitlines()]
    rows = list(csv.DictReader(StringIO(freshness("export", "--format", "csv").stdout)))
    assert len(feeds) == len(rows) >= sum(fleet["states"].values())
    assert rows[0].keys() == feeds[0].keys()
    assert any(feed["syncs"] for feed in feeds)


def test_redrive_moves_dead_letters_to_the_queue_once(freshness: Freshness, stack: RunningStack) -> None:
    sqs = boto3.client("sqs")
    event = {"id": "e", "eventType": "not.used", "generatedDate": "2026-11-23T12:00:00Z", "payload": {}}
    sqs.send_message(
        QueueUrl=stack.outputs.webhook_dead_letter_queue_url,
        MessageBody=json.dumps(event),
        MessageAttributes={"webhook-id": {"DataType": "String", "StringValue": "msg_redriven"}},
    )
    assert output_of(freshness("redrive", "--json"))["moved"] == 1
    assert output_of(freshness("redrive", "--json"))["moved"] == 0


def test_the_error_of_a_failed_command_is_a_sentence(
    freshness: Freshness, command: Freshness, feed: dict[str, Any]
) -> None:
    for run, reason in (
        (command("status", "nobody at all"), "No company"),
        (freshness("explain", feed["companyId"], "nonsense"), "has no data type"),
    ):
        assert run.returncode == 1
        assert reason in run.stderr
        assert "Traceback" not in run.stderr


def consumer(sandbox: Sandbox) -> str:
    [found] = sandbox.http.get("/webhooks").json()["results"]
    return str(found["id"])


@contextmanager
def without_webhook(stack: RunningStack, sandbox: Sandbox) -> Iterator[None]:
    sandbox.http.delete(f"/webhooks/{consumer(sandbox)}").raise_for_status()
    try:
        yield
    finally:
        stack.codat.register_webhook(stack.outputs.webhook_url)


@contextmanager
def with_webhook_disabled(sandbox: Sandbox) -> Iterator[None]:
    path = f"/sandbox/webhooks/{consumer(sandbox)}"
    sandbox.http.patch(path, json={"disabled": True}).raise_for_status()
    try:
        yield
    finally:
        sandbox.http.patch(path, json={"disabled": False}).raise_for_status()


@contextmanager
def secret(name: str, value: str) -> Iterator[None]:
    secrets = boto3.client("ssm")
    before = secrets.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    secrets.put_parameter(Name=name, Value=value, Overwrite=True)
    try:
        yield
    finally:
        secrets.put_parameter(Name=name, Value=before, Overwrite=True)


@contextmanager
def schedule_off(stack: RunningStack) -> Iterator[None]:
    scheduler = boto3.client("scheduler")
    [name] = [one["Name"] for one in scheduler.list_schedules()["Schedules"] if "QueueRefreshes" in one["Name"]]
    known = scheduler.get_schedule(Name=name)

    def turn(state: Literal["ENABLED", "DISABLED"]) -> None:
        scheduler.update_schedule(
            Name=name,
            State=state,
            ScheduleExpression=known["ScheduleExpression"],
            FlexibleTimeWindow=known["FlexibleTimeWindow"],
            Target=known["Target"],
        )

    turn("DISABLED")
    try:
        yield
    finally:
        turn("ENABLED")


@contextmanager
def signed_with_another_secret(stack: RunningStack, sandbox: Sandbox) -> Iterator[None]:
    """Send a webhook that is signed with another secret than the stack's."""
    with sandbox.set(webhooks_lost=1.0):
        assert send_webhook(stack.deployed, "whsec_" + "A" * 32) == httpx.codes.UNAUTHORIZED
        yield


@contextmanager
def unusable_company_logged(stack: RunningStack) -> Iterator[None]:
    """Log a company whose data cannot be stored, as a function does."""
    configuration = boto3.client("lambda").get_function_configuration(
        FunctionName=stack.outputs.check_freshness_function
    )
    logs, group, stream = boto3.client("logs"), configuration["LoggingConfig"]["LogGroup"], "unusable"
    message = json.dumps({"level": "ERROR", "message": UNUSABLE, "company_id": ascii("c-1")})
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    event: Any = {"timestamp": round(datetime.now(UTC).timestamp() * 1000), "message": message}
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event])
    try:
        yield
    finally:
        logs.delete_log_stream(logGroupName=group, logStreamName=stream)


def findings(freshness: Freshness) -> dict[str, str]:
    """Return what the doctor found to be wrong, by subject."""
    run = freshness("doctor", "--json")
    found = {finding["subject"]: finding for finding in json.loads(run.stdout)}
    assert run.returncode == (1 if any(finding["toDo"] for finding in found.values()) else 0), run.stderr
    return {subject: finding["found"] for subject, finding in found.items() if finding["toDo"]}


def test_doctor_finds_each_problem_and_no_other(freshness: Freshness, stack: RunningStack, sandbox: Sandbox) -> None:
    outputs = stack.outputs
    with sandbox.set(sync_schedule={}):
        assert findings(freshness) == {}
        for broken, subject, found in (
            (secret(outputs.codat_api_key_secret, "wrong"), "Codat's API key", "Codat refuses it"),
            (without_webhook(stack, sandbox), "webhook", "Codat has none"),
            (with_webhook_disabled(sandbox), "webhook", "disabled"),
            (secret(outputs.webhook_signing_secret, "wrong"), "webhooks' signing secret", "not one of Codat's"),
            (signed_with_another_secret(stack, sandbox), "webhooks' signing secret", "it does not fit"),
            (unusable_company_logged(stack), "unusable companies", "data of 1 could not be stored within a day: c-1"),
            (schedule_off(stack), f"schedule of {outputs.queue_refreshes_function}", "disabled"),
            (sandbox.set(sync_schedule={"invoices": 24}), "Codat's own schedule", "invoices every 24 h"),
            (sandbox.with_quota(stack, 0), "quota", "it is spent"),
        ):
            with broken:
                found_now = findings(freshness)
            assert found in found_now.get(subject, "nothing"), found_now


def taken(stack: RunningStack, function: str) -> str:
    """Return the fingerprint of the policy that a function said last that it took."""
    found = boto3.client("logs").filter_log_events(
        logGroupName=stack.deployed.log_group(function), filterPattern=f'"{TAKEN}"'
    )["events"]
    last = max(found, key=lambda event: event["timestamp"])
    return str(json.loads(last["message"])["fingerprint"])


def test_a_pushed_policy_is_in_force_on_all_functions_after_a_minute_and_a_corrupted_one_changes_nothing(
    stack: RunningStack, pushed: Pushed, feed: dict[str, Any]
) -> None:
    time.sleep(max(0.0, pushed.at + 60 - time.monotonic()))
    outputs = stack.outputs
    with httpx.Client(base_url=outputs.api_url, auth=_signed, timeout=30) as api:
        path = f"/companies/{feed['companyId']}/freshness"
        assert answered(lambda: api.get(path)).status_code == httpx.codes.OK
    for function in (outputs.act_on_page_function, outputs.show_page_function, outputs.apply_webhook_function):
        stack.deployed.functions.invoke(FunctionName=function, Payload=b'{"Records": []}')
    for function in (outputs.check_freshness_function, outputs.queue_refreshes_function):
        stack.deployed.invoke(function)

    def are_replanned() -> bool:
        due = [each.due_at for each in stack.tables.feeds.scan() if each.data_type == "customers" and each.due_at]
        return any(at > clock() + timedelta(days=20) for at in due)

    wait_for(are_replanned)
    for function in (
        outputs.check_freshness_function,
        outputs.queue_refreshes_function,
        outputs.apply_webhook_function,
        outputs.serve_api_function,
        outputs.show_page_function,
        outputs.act_on_page_function,
    ):
        assert taken(stack, function) == pushed.version.fingerprint, function
