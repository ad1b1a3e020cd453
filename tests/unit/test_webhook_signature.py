"""Telling Codat's webhooks from forgeries. The signatures here are made by Svix's own library."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from svix.webhooks import Webhook

from freshness.codat.webhook_signature import (
    KEPT_FOR,
    LARGEST_BODY,
    READ_AGAIN_AFTER,
    Reason,
    Refused,
    SecretsUnavailable,
    SigningSecrets,
    body_of,
    verify,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret, of 24 by").decode()
BODY = json.dumps({"eventType": "read.completed", "name": "Ærø"}, ensure_ascii=False)


def signed(
    body: str = BODY, at: datetime | None = None, spelling: str = "webhook", secret: str = SECRET
) -> dict[str, str]:
    at = at or datetime.now(UTC)
    return {
        f"{spelling}-id": "message",
        f"{spelling}-timestamp": str(int(at.timestamp())),
        f"{spelling}-signature": Webhook(secret).sign("message", at, body),
    }


@pytest.mark.parametrize("spelling", ["webhook", "svix"])
def test_what_codat_signed_is_accepted_under_either_spelling(spelling: str) -> None:
    assert verify(BODY, signed(spelling=spelling), [SECRET]) == "message"


def test_one_of_several_signatures_is_enough() -> None:
    headers = signed()
    headers["webhook-signature"] = f"v1a,AAAA v1,AAAA {headers['webhook-signature']}"

    assert verify(BODY, headers, [SECRET]) == "message"


def test_any_of_several_secrets_will_do() -> None:
    assert verify(BODY, signed(), [OTHER, SECRET]) == "message"
    assert verify(BODY, signed(secret=OTHER), [OTHER, SECRET]) == "message"


@pytest.mark.parametrize("useless", ["", "whsec_", "whsec_a", "whsec_é", "no secret at all!"])
def test_a_secret_that_is_none_does_not_keep_another_from_being_tried(useless: str) -> None:
    assert verify(BODY, signed(), [useless, SECRET]) == "message"


@pytest.mark.parametrize("secrets", [[], [OTHER], ["whsec_"], ["whsec_é"]])
def test_without_the_right_secret_nothing_is_accepted(secrets: list[str]) -> None:
    with pytest.raises(Refused, match=Reason.NOT_SIGNED):
        verify(BODY, signed(), secrets)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"webhook-id": "another"}, Reason.NOT_SIGNED),
        ({"webhook-id": ""}, Reason.HEADERS_MALFORMED),
        ({"webhook-id": None}, Reason.HEADERS_MALFORMED),
        ({"webhook-id": "two\nlines"}, Reason.HEADERS_MALFORMED),
        ({"webhook-id": "m" * 257}, Reason.HEADERS_MALFORMED),
        ({"webhook-id": "message,message"}, Reason.NOT_SIGNED),
        ({"webhook-timestamp": "0"}, Reason.NOT_SIGNED),
        ({"webhook-timestamp": "999999999999"}, Reason.NOT_SIGNED),
        ({"webhook-timestamp": "soon"}, Reason.HEADERS_MALFORMED),
        ({"webhook-timestamp": "nan"}, Reason.HEADERS_MALFORMED),
        ({"webhook-timestamp": "1e400"}, Reason.HEADERS_MALFORMED),
        ({"webhook-timestamp": "١٢٣"}, Reason.HEADERS_MALFORMED),
        ({"webhook-timestamp": 1}, Reason.HEADERS_MALFORMED),
        ({"webhook-signature": ""}, Reason.HEADERS_MALFORMED),
        ({"webhook-signature": ["v1,AAAA"]}, Reason.HEADERS_MALFORMED),
        ({"webhook-signature": "v1"}, Reason.HEADERS_MALFORMED),
        ({"webhook-signature": "v1,%%%"}, Reason.HEADERS_MALFORMED),
        ({"webhook-signature": "v1,é"}, Reason.HEADERS_MALFORMED),
        ({"webhook-signature": "v2,AAAA"}, Reason.NOT_SIGNED),
        ({"webhook-signature": "v1,a,b"}, Reason.HEADERS_MALFORMED),
    ],
)
def test_a_header_that_was_changed_is_a_forgery(changed: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(Refused, match=reason):
        verify(BODY, signed() | changed, [SECRET])


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_is_missing_is_not_looked_for_under_the_other_spelling(missing: str) -> None:
    headers = signed()
    headers[missing.replace("webhook", "svix")] = headers.pop(missing)

    with pytest.raises(Refused, match=Reason.HEADERS_MALFORMED):
        verify(BODY, headers, [SECRET])


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_message_of_another_time_is_a_forgery(minutes: int) -> None:
    with pytest.raises(Refused, match=Reason.NOT_SIGNED):
        verify(BODY, signed(at=datetime.now(UTC) + timedelta(minutes=minutes)), [SECRET])


@pytest.mark.parametrize("base64_encoded", [False, True])
def test_the_body_is_taken_as_it_was_sent(base64_encoded: bool) -> None:
    body = base64.b64encode(BODY.encode()).decode() if base64_encoded else BODY

    assert body_of({"body": body, "isBase64Encoded": base64_encoded}) == BODY


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({}, Reason.BODY_MALFORMED),
        ({"body": None}, Reason.BODY_MALFORMED),
        ({"body": {}}, Reason.BODY_MALFORMED),
        ({"body": "\ud800"}, Reason.BODY_MALFORMED),
        ({"body": "!", "isBase64Encoded": True}, Reason.BODY_MALFORMED),
        ({"body": "é", "isBase64Encoded": True}, Reason.BODY_MALFORMED),
        ({"body": "/w==", "isBase64Encoded": True}, Reason.BODY_MALFORMED),
        ({"body": "a" * (LARGEST_BODY + 1)}, Reason.BODY_TOO_LARGE),
        ({"body": "é" * (LARGEST_BODY // 2 + 1)}, Reason.BODY_TOO_LARGE),
        (
            {"body": base64.b64encode(b"a" * (LARGEST_BODY + 1)).decode(), "isBase64Encoded": True},
            Reason.BODY_TOO_LARGE,
        ),
        ({"body": "!" * 10 * LARGEST_BODY, "isBase64Encoded": True}, Reason.BODY_TOO_LARGE),
    ],
)
def test_a_body_that_is_none_is_refused(event: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(Refused, match=reason):
        body_of(event)


@pytest.mark.parametrize("base64_encoded", [False, True])
def test_a_body_of_just_the_largest_size_is_taken(base64_encoded: bool) -> None:
    body = base64.b64encode(b"a" * LARGEST_BODY).decode() if base64_encoded else "a" * LARGEST_BODY

    assert len(body_of({"body": body, "isBase64Encoded": base64_encoded})) == LARGEST_BODY


class Stored:
    """What Secrets Manager holds, and how often it was asked."""

    def __init__(self, value: str) -> None:
        self.value: str | None = value
        self.now = 0.0
        self.read_times = 0
        self.secrets = SigningSecrets(self._read, clock=self._clock)

    def accepts(self, headers: dict[str, str]) -> bool:
        try:
            return self.secrets.verify(BODY, headers) == "message"
        except Refused:
            return False

    def _clock(self) -> float:
        return self.now

    def _read(self) -> str:
        self.read_times += 1
        if self.value is None:
            raise SecretsUnavailable("the signing secret cannot be read")
        return self.value


def test_the_secret_is_read_once_for_many_messages() -> None:
    stored = Stored(SECRET)

    assert all(stored.accepts(signed()) for _ in range(10))
    assert stored.read_times == 1


def test_a_secret_is_replaced_without_a_gap() -> None:
    stored = Stored(SECRET)
    assert stored.accepts(signed())

    stored.value = f"{OTHER}\n{SECRET}\n"
    stored.now += READ_AGAIN_AFTER
    assert stored.accepts(signed())
    assert stored.accepts(signed(secret=OTHER))


def test_a_secret_taken_out_of_use_is_not_accepted_for_long() -> None:
    stored = Stored(f"{SECRET} {OTHER}")
    assert stored.accepts(signed())

    stored.value = OTHER
    stored.now += KEPT_FOR
    assert not stored.accepts(signed())
    assert stored.accepts(signed(secret=OTHER))


def test_forgeries_do_not_make_us_read_the_secret_more_than_once_a_minute() -> None:
    stored = Stored(SECRET)
    for _ in range(600):
        stored.now += 1
        assert not stored.accepts(signed(secret=OTHER))

    assert stored.read_times <= 11


@pytest.mark.parametrize("changed", [{"webhook-id": ""}, {"webhook-signature": ""}])
def test_malformed_headers_do_not_make_us_read_the_secret_again(changed: dict[str, str]) -> None:
    stored = Stored(SECRET)
    for _ in range(5):
        stored.now += READ_AGAIN_AFTER / 2
        stored.accepts(signed() | changed)

    assert stored.read_times == 1


def test_while_secrets_manager_is_down_the_secret_in_memory_does() -> None:
    stored = Stored(SECRET)
    assert stored.accepts(signed())

    stored.value = None
    stored.now += KEPT_FOR
    assert stored.accepts(signed())


def test_without_any_secret_read_nothing_can_be_told() -> None:
    stored = Stored(SECRET)
    stored.value = None

    with pytest.raises(SecretsUnavailable):
        stored.accepts(signed())
