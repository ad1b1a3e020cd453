"""Forged webhooks: 100,000 random requests, none of which Codat signed."""

import base64
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config
from svix.webhooks import Webhook

import receive_webhook
from freshness.aws import clients
from freshness.aws.metrics import Metric
from freshness.codat.webhooks.signature import MAX_BODY_BYTES, SigningSecrets
from local import local_aws

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SIGNER = Webhook("whsec_" + base64.b64encode(b"of someone else's making").decode())
REQUESTS = 100_000
BODY = json.dumps(
    {
        "id": "6d5cc5f5-4ac0-4a8b-a4a1-3ad5ad7bd5b2",
        "eventType": "read.completed",
        "generatedDate": "2026-11-23T12:00:00.1234567Z",
        "payload": {"referenceCompany": {"id": "company", "name": "Ærø"}, "dataTypes": []},
    },
    ensure_ascii=False,
)
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
HEADER_VALUES: tuple[Any, ...] = (
    None, 0, -1, 1.5, True, [], ["v1,AAAA"], {}, {"webhook-id": "message"},
    "", " ", "\x00", "\n", "\ud800", "é", "😀", "a" * 10_000, "\r\nX: y", "null", "undefined", "%00", "../..",
    "0", "-1", "1e3", "1e400", "nan", "inf", "9" * 12, "9" * 400, "\uff11\uff12", "0x10", "1_000", "1700000000.5",
    "v1", "v1,", ",", "v1,,", "v1,%%%", "v1,AAA", "v1,AAAA", "v2,AAAA", "v1,a,b", "v1 AAAA", "v1a,AAAA", "  ", "v1,é",
    "v1,AAAA " * 500,
)  # fmt: skip
INVALID_BODIES: tuple[Any, ...] = (
    None, 0, 1.5, True, [], {}, "", " ", "{}", "[]", "null", "\x00", "\ud800", "\ufffe", "a" * (MAX_BODY_BYTES + 1),
    "<xml/>", '{"id": ' * 1000, b"bytes",
)  # fmt: skip
INVALID_EVENTS: tuple[dict[str, Any], ...] = (
    {}, {"body": BODY}, {"headers": {}}, {"body": BODY, "headers": None}, {"body": BODY, "headers": []},
    {"body": BODY, "headers": "webhook-id"}, {"body": None, "headers": None, "isBase64Encoded": None},
    {"version": "1.0", "multiValueHeaders": {"webhook-id": ["message"]}, "body": BODY},
)  # fmt: skip

Event = dict[str, Any]


class Forger:
    """A generator of requests that resemble Codat's, each with at least one invalid part."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        now = datetime.now(UTC)
        self._genuine = {
            "webhook-id": "message",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(SECRET).sign("message", now, BODY),
        }
        self._other_signature = OTHER_SIGNER.sign("message", now, BODY)
        self._mutations: tuple[Callable[[Event], Event], ...] = (
            self._remove_headers,
            self._replace_headers,
            self._change_a_header,
            self._repeat_a_header,
            self._mix_header_prefixes,
            self._sign_with_another_secret,
            self._replace_the_body,
            self._change_the_body,
            self._declare_as_base64,
            self._corrupt_base64,
            self._replace_the_event,
        )

    def genuine(self) -> Event:
        return {"version": "2.0", "headers": dict(self._genuine), "body": BODY, "isBase64Encoded": False}

    def forge(self) -> Event:
        return self._random.choice(self._mutations)(self.genuine())

    def _remove_headers(self, event: Event) -> Event:
        for name in self._random.sample(HEADERS, self._random.randint(1, 3)):
            del event["headers"][name]
        return event

    def _replace_headers(self, event: Event) -> Event:
        for name in self._random.sample(HEADERS, self._random.randint(1, 3)):
            event["headers"][name] = self._random.choice(HEADER_VALUES)
        return event

    def _change_a_header(self, event: Event) -> Event:
        # Skip the last two characters: those of the signature are padding, and may change without making it invalid.
        name = self._random.choice(HEADERS)
        event["headers"][name] = self._mutated(event["headers"][name], up_to=-2)
        return event

    def _repeat_a_header(self, event: Event) -> Event:
        # API Gateway joins the values of a repeated header with a comma.
        name = self._random.choice(HEADERS)
        event["headers"][name] = ",".join([event["headers"][name]] * self._random.randint(2, 5))
        return event

    def _mix_header_prefixes(self, event: Event) -> Event:
        for name in self._random.sample(HEADERS, self._random.randint(1, 2)):
            event["headers"][name.replace("webhook", "svix")] = event["headers"].pop(name)
        return event

    def _sign_with_another_secret(self, event: Event) -> Event:
        event["headers"]["webhook-signature"] = self._other_signature
        return self._change_the_body(event) if self._random.random() < 0.5 else event

    def _replace_the_body(self, event: Event) -> Event:
        event["body"] = self._random.choice(INVALID_BODIES)
        event["isBase64Encoded"] = self._random.choice((True, False, None, "false", 0))
        return event

    def _change_the_body(self, event: Event) -> Event:
        event["body"] = self._mutated(BODY)
        return event

    def _declare_as_base64(self, event: Event) -> Event:
        event["isBase64Encoded"] = True
        return event

    def _corrupt_base64(self, event: Event) -> Event:
        raw = bytearray(BODY.encode())
        raw[self._random.randrange(len(raw))] ^= self._random.randint(1, 255)
        event["body"] = base64.b64encode(raw).decode()
        event["isBase64Encoded"] = True
        return event

    def _replace_the_event(self, _: Event) -> Event:
        return self._random.choice(INVALID_EVENTS)

    def _mutated(self, text: str, up_to: int | None = None) -> str:
        at = self._random.randrange(len(text[:up_to]))
        other = chr(self._random.choice((self._random.randint(0, 127), self._random.randint(0, 0x10FFFF))))
        match self._random.randrange(3):
            case 0 if other != text[at]:
                return text[:at] + other + text[at + 1 :]
            case 1:
                return text[:at] + text[at + 1 :]
            case _:
                return text[:at] + "~" + other + text[at:]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Event], int]]:
    """Yield a function that returns the handler's status code. The secret is set; the queue is unreachable."""
    secrets = SigningSecrets(lambda: SECRET, clock=lambda: 0.0)
    monkeypatch.setattr(receive_webhook, "_signing_secrets", lambda: secrets)
    monkeypatch.setenv("WEBHOOK_QUEUE_URL", "http://127.0.0.1:9/000000000000/none")
    monkeypatch.setattr(clients, "CONFIG", clients.CONFIG.merge(Config(retries={"total_max_attempts": 1})))
    for name, value in local_aws.tool_environment(port=9).items():
        monkeypatch.setenv(name, value)
    receive_webhook._sqs.cache_clear()
    yield lambda event: receive_webhook.handler(event, LambdaContext())["statusCode"]
    receive_webhook._sqs.cache_clear()


def test_100_000_forged_requests_are_all_answered_with_401(answer: Callable[[Event], int]) -> None:
    forger = Forger(seed=4)
    receive_webhook.logger.setLevel("CRITICAL")
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        accepted = [event for event in (forger.forge() for _ in range(REQUESTS)) if answer(event) != 401]

    assert accepted == []


def test_the_genuine_request_is_accepted_and_fails_only_at_the_queue(answer: Callable[[Event], int]) -> None:
    assert answer(Forger(seed=4).genuine()) == 503


def test_a_request_that_is_not_signed_is_counted(
    answer: Callable[[Event], int], capsys: pytest.CaptureFixture[str]
) -> None:
    headers = Forger(seed=4).genuine()["headers"] | {"webhook-signature": "v1,AAAA"}
    answer({"headers": headers, "body": "{}"})

    counted = json.loads(next(line for line in capsys.readouterr().out.splitlines() if "_aws" in line))
    assert counted[Metric.WEBHOOKS_REFUSED_NOT_SIGNED] == [1.0]


def test_the_reason_for_a_refusal_is_logged(answer: Callable[[Event], int], caplog: pytest.LogCaptureFixture) -> None:
    receive_webhook.logger.setLevel("INFO")
    answer({"body": None})

    [record] = caplog.records
    assert vars(record)["reason"] == "BodyMalformed"
