"""Verification of webhook signatures. The signatures in these tests are created with Svix's library."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from svix.webhooks import Webhook

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


@pytest.mark.parametrize("prefix", ["webhook", "svix"])
def test_a_signed_message_is_accepted_with_either_header_prefix(prefix: str) -> None:
    assert verify(BODY, signed(prefix=prefix), [SECRET]) == "message"


def test_one_of_several_signatures_is_enough() -> None:
    headers = signed()
    headers["webhook-signature"] = f"v1a,AAAA v1,AAAA {headers['webhook-signature']}"

    assert verify(BODY, headers, [SECRET]) == "message"


def test_a_message_may_be_signed_with_any_of_several_secrets() -> None:
    assert verify(BODY, signed(), [OTHER, SECRET]) == "message"
    assert verify(BODY, signed(secret=OTHER), [OTHER, SECRET]) == "message"


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


@pytest.mark.parametrize("base64_encoded", [False, True])
def test_the_body_is_decoded_to_what_was_sent(base64_encoded: bool) -> None:
    body = base64.b64encode(BODY.encode()).decode() if base64_encoded else BODY

    assert decode_body({"body": body, "isBase64Encoded": base64_encoded}) == BODY


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


@pytest.mark.parametrize("base64_encoded", [False, True])
def test_a_body_of_the_maximum_size_is_accepted(base64_encoded: bool) -> None:
    body = base64.b64encode(b"a" * MAX_BODY_BYTES).decode() if base64_encoded else "a" * MAX_BODY_BYTES

    assert len(decode_body({"body": body, "isBase64Encoded": base64_encoded})) == MAX_BODY_BYTES


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
