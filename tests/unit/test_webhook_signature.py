"""Only webhooks that Codat signed are accepted. The signatures in these tests are created with Svix's library."""

import base64
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
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
from freshness.codat.webhooks.signature import (
    CACHE_SECONDS,
    MAX_BODY_BYTES,
    MIN_SECONDS_BETWEEN_READS,
    RefusalReason,
    SecretsUnavailable,
    SigningSecrets,
    WebhookRefused,
    decode_body,
    verify,
)
from local import local_aws

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret, of 24 by").decode()
BODY = json.dumps({"eventType": "read.completed", "name": "Ærø"}, ensure_ascii=False)


def signed(
    body: str = BODY, at: datetime | None = None, prefix: str = "webhook", secret: str = SECRET
) -> dict[str, str]:
    at = at or datetime.now(UTC)
    return {
        f"{prefix}-id": "message",
        f"{prefix}-timestamp": str(int(at.timestamp())),
        f"{prefix}-signature": Webhook(secret).sign("message", at, body),
    }


def test_one_signature_suffices_with_either_header_prefix_and_any_of_several_secrets() -> None:
    several = signed() | {"webhook-signature": f"v1a,AAAA v1,AAAA {signed()['webhook-signature']}"}
    for headers in (signed(), signed(prefix="svix"), several, signed(secret=OTHER)):
        assert verify(BODY, headers, [OTHER, SECRET]) == "message"


@pytest.mark.parametrize("malformed", ["", "whsec_", "whsec_a", "whsec_é", "no secret at all!"])
def test_a_malformed_secret_does_not_prevent_the_use_of_another(malformed: str) -> None:
    assert verify(BODY, signed(), [malformed, SECRET]) == "message"


@pytest.mark.parametrize("secrets", [[], [OTHER], ["whsec_"], ["whsec_é"]])
def test_a_message_is_refused_if_no_secret_fits(secrets: list[str]) -> None:
    with pytest.raises(WebhookRefused, match=RefusalReason.NOT_SIGNED):
        verify(BODY, signed(), secrets)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"webhook-id": "another"}, RefusalReason.NOT_SIGNED),
        ({"webhook-id": ""}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-id": None}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-id": "two\nlines"}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-id": "m" * 257}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-id": "message,message"}, RefusalReason.NOT_SIGNED),
        ({"webhook-timestamp": "0"}, RefusalReason.NOT_SIGNED),
        ({"webhook-timestamp": "999999999999"}, RefusalReason.NOT_SIGNED),
        ({"webhook-timestamp": "soon"}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-timestamp": "nan"}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-timestamp": "1e400"}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-timestamp": "١٢٣"}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-timestamp": 1}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-signature": ""}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-signature": ["v1,AAAA"]}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-signature": "v1"}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-signature": "v1,%%%"}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-signature": "v1,é"}, RefusalReason.HEADERS_MALFORMED),
        ({"webhook-signature": "v2,AAAA"}, RefusalReason.NOT_SIGNED),
        ({"webhook-signature": "v1,a,b"}, RefusalReason.HEADERS_MALFORMED),
    ],
)
def test_a_message_with_a_changed_header_is_refused(changed: dict[str, Any], reason: RefusalReason) -> None:
    with pytest.raises(WebhookRefused, match=reason):
        verify(BODY, signed() | changed, [SECRET])


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_not_replaced_by_the_one_with_the_other_prefix(missing: str) -> None:
    headers = signed()
    headers[missing.replace("webhook", "svix")] = headers.pop(missing)
    with pytest.raises(WebhookRefused, match=RefusalReason.HEADERS_MALFORMED):
        verify(BODY, headers, [SECRET])


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_message_with_a_timestamp_ten_minutes_off_is_refused(minutes: int) -> None:
    with pytest.raises(WebhookRefused, match=RefusalReason.NOT_SIGNED):
        verify(BODY, signed(at=datetime.now(UTC) + timedelta(minutes=minutes)), [SECRET])


@pytest.mark.parametrize("body", [BODY, "a" * MAX_BODY_BYTES], ids=["usual", "of the maximum size"])
def test_a_body_is_decoded_to_what_was_sent(body: str) -> None:
    assert decode_body({"body": body, "isBase64Encoded": False}) == body
    assert decode_body({"body": base64.b64encode(body.encode()).decode(), "isBase64Encoded": True}) == body


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({}, RefusalReason.BODY_MALFORMED),
        ({"body": None}, RefusalReason.BODY_MALFORMED),
        ({"body": {}}, RefusalReason.BODY_MALFORMED),
        ({"body": "\ud800"}, RefusalReason.BODY_MALFORMED),
        ({"body": "!", "isBase64Encoded": True}, RefusalReason.BODY_MALFORMED),
        ({"body": "é", "isBase64Encoded": True}, RefusalReason.BODY_MALFORMED),
        ({"body": "/w==", "isBase64Encoded": True}, RefusalReason.BODY_MALFORMED),
        ({"body": "a" * (MAX_BODY_BYTES + 1)}, RefusalReason.BODY_TOO_LARGE),
        ({"body": "é" * (MAX_BODY_BYTES // 2 + 1)}, RefusalReason.BODY_TOO_LARGE),
        (
            {"body": base64.b64encode(b"a" * (MAX_BODY_BYTES + 1)).decode(), "isBase64Encoded": True},
            RefusalReason.BODY_TOO_LARGE,
        ),
        ({"body": "!" * 10 * MAX_BODY_BYTES, "isBase64Encoded": True}, RefusalReason.BODY_TOO_LARGE),
    ],
)
def test_an_invalid_body_is_refused(event: dict[str, Any], reason: RefusalReason) -> None:
    with pytest.raises(WebhookRefused, match=reason):
        decode_body(event)


class SecretStore:
    """A stand-in for Systems Manager that counts its reads, and the `SigningSecrets` that read from it."""

    def __init__(self, value: str) -> None:
        self.value: str | None = value
        self.now = 0.0
        self.reads = 0
        self.secrets = SigningSecrets(self._read, clock=self._clock)

    def accepts(self, headers: dict[str, str]) -> bool:
        try:
            return self.secrets.verify(BODY, headers) == "message"
        except WebhookRefused:
            return False

    def _clock(self) -> float:
        return self.now

    def _read(self) -> str:
        self.reads += 1
        if self.value is None:
            raise SecretsUnavailable("cannot read the signing secret")
        return self.value


def test_the_secret_is_read_once_for_many_messages() -> None:
    store = SecretStore(SECRET)
    assert all(store.accepts(signed()) for _ in range(10))
    assert store.reads == 1


def test_old_and_new_secret_are_both_accepted_during_a_rotation() -> None:
    store = SecretStore(SECRET)
    assert store.accepts(signed())
    store.value = f"{OTHER}\n{SECRET}\n"
    store.now += MIN_SECONDS_BETWEEN_READS
    assert store.accepts(signed())
    assert store.accepts(signed(secret=OTHER))


def test_a_removed_secret_is_refused_once_the_cache_expires() -> None:
    store = SecretStore(f"{SECRET} {OTHER}")
    assert store.accepts(signed())
    store.value = OTHER
    store.now += CACHE_SECONDS
    assert not store.accepts(signed())
    assert store.accepts(signed(secret=OTHER))


def test_forged_messages_cause_at_most_one_read_of_the_secret_a_minute() -> None:
    store = SecretStore(SECRET)
    for _ in range(600):
        store.now += 1
        assert not store.accepts(signed(secret=OTHER))
    assert store.reads <= 11


@pytest.mark.parametrize("changed", [{"webhook-id": ""}, {"webhook-signature": ""}])
def test_malformed_headers_cause_no_read_of_the_secret(changed: dict[str, str]) -> None:
    store = SecretStore(SECRET)
    for _ in range(5):
        store.now += MIN_SECONDS_BETWEEN_READS / 2
        store.accepts(signed() | changed)
    assert store.reads == 1


def test_the_cached_secret_stays_in_use_while_systems_manager_is_unavailable() -> None:
    store = SecretStore(SECRET)
    assert store.accepts(signed())
    store.value = None
    store.now += CACHE_SECONDS
    assert store.accepts(signed())


def test_secrets_unavailable_is_raised_if_no_secret_was_ever_read() -> None:
    store = SecretStore(SECRET)
    store.value = None
    with pytest.raises(SecretsUnavailable):
        store.accepts(signed())


REQUESTS = 10_000
SENT = json.dumps(
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
    {}, {"body": SENT}, {"headers": {}}, {"body": SENT, "headers": None}, {"body": SENT, "headers": []},
    {"body": SENT, "headers": "webhook-id"}, {"body": None, "headers": None, "isBase64Encoded": None},
    {"version": "1.0", "multiValueHeaders": {"webhook-id": ["message"]}, "body": SENT},
)  # fmt: skip

Event = dict[str, Any]


def genuine() -> Event:
    """Return a request as Codat sends it now."""
    headers = {**signed(SENT), "webhook-id": "message"}
    return {"version": "2.0", "headers": headers, "body": SENT, "isBase64Encoded": False}


def forged(random: Random, event: Event) -> Event:
    """Return a request that resembles a genuine one, with at least one invalid part."""
    genuine_headers = event["headers"]
    name, other = random.sample(HEADERS, 2)
    value, some_value = genuine_headers[name], random.choice(HEADER_VALUES)
    without = {each: genuine_headers[each] for each in HEADERS if each != name}
    headers = random.choice(
        [
            without,
            without | {name: some_value},
            {name: some_value, other: random.choice(HEADER_VALUES)},
            # The last two characters of a signature are padding, and may change without making it invalid.
            without | {name: mutated(random, value[:-2]) + value[-2:]},
            # API Gateway joins the values of a repeated header with a comma.
            without | {name: ",".join([value] * random.randint(2, 5))},
            without | {name.replace("webhook", "svix"): value},
            genuine_headers | signed(SENT, secret=OTHER),
        ]
    )
    corrupt = bytearray(SENT.encode())
    corrupt[random.randrange(len(corrupt))] ^= random.randint(1, 255)
    body = random.choice(
        [
            {"body": random.choice(INVALID_BODIES), "isBase64Encoded": random.choice((True, False, None, "false", 0))},
            {"body": mutated(random, SENT)},
            {"isBase64Encoded": True},
            {"body": base64.b64encode(corrupt).decode(), "isBase64Encoded": True},
        ]
    )
    forgeries = [event | {"headers": headers}, event | body, event | body | {"headers": headers}]
    return random.choice([*forgeries, random.choice(INVALID_EVENTS)])


def mutated(random: Random, text: str) -> str:
    """Return a text of which one character is another one, is missing, or is preceded by others."""
    at = random.randrange(len(text))
    code = random.choice((random.randint(0, 127), random.randint(0, 0x10FFFF)))
    inserted = "" if random.random() < 0.3 else "~" + chr(code)
    return text[:at] + inserted + text[at + random.randint(not inserted, 1) :]


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


def test_forged_requests_are_all_answered_with_401(answer: Callable[[Event], int]) -> None:
    random, real = Random(4), genuine()
    receive_webhook.logger.setLevel("CRITICAL")
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        accepted = [event for event in (forged(random, real) for _ in range(REQUESTS)) if answer(event) != 401]
    assert accepted == []


def test_the_genuine_request_is_accepted_and_fails_only_at_the_queue(answer: Callable[[Event], int]) -> None:
    assert answer(genuine()) == 503


def test_a_request_that_is_not_signed_is_counted(
    answer: Callable[[Event], int], capsys: pytest.CaptureFixture[str]
) -> None:
    headers = genuine()["headers"] | {"webhook-signature": "v1,AAAA"}
    answer({"headers": headers, "body": "{}"})
    counted = json.loads(next(line for line in capsys.readouterr().out.splitlines() if "_aws" in line))
    assert counted[Metric.WEBHOOKS_REFUSED_NOT_SIGNED] == [1.0]


def test_the_reason_for_a_refusal_is_logged(answer: Callable[[Event], int], caplog: pytest.LogCaptureFixture) -> None:
    receive_webhook.logger.setLevel("INFO")
    answer({"body": None})
    [record] = caplog.records
    assert vars(record)["reason"] == "BodyMalformed"
