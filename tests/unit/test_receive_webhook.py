"""Telling Codat's webhooks from forgeries. The signatures here are made by Svix's own library."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from svix.webhooks import Webhook

from freshness.signature import Forged, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = json.dumps({"eventType": "read.completed", "name": "Ærø"}).encode()


def signed(body: bytes = BODY, at: datetime | None = None, spelling: str = "webhook") -> dict[str, str]:
    at = at or datetime.now(UTC)
    signature = Webhook(SECRET).sign("message", at, body.decode())
    return {
        f"{spelling}-id": "message",
        f"{spelling}-timestamp": str(int(at.timestamp())),
        f"{spelling}-signature": signature,
    }


@pytest.mark.parametrize("spelling", ["webhook", "svix"])
def test_what_codat_signed_is_accepted_under_either_spelling(spelling: str) -> None:
    assert verify(BODY, signed(spelling=spelling), SECRET) == "message"


def test_one_of_several_signatures_is_enough() -> None:
    headers = signed()
    headers["webhook-signature"] = f"v1,AAAA {headers['webhook-signature']}"

    assert verify(BODY, headers, SECRET) == "message"


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "another"},
        {"webhook-timestamp": "0"},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "1e400"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,%%%"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": "v2,AAAA"},
        {"webhook-signature": "v1,a,b"},
    ],
)
def test_a_header_that_was_changed_is_a_forgery(changed: dict[str, str]) -> None:
    with pytest.raises(Forged):
        verify(BODY, signed() | changed, SECRET)


@pytest.mark.parametrize("body", [BODY + b" ", b"", b"\xff\xfe"])
def test_a_body_that_was_changed_is_a_forgery(body: bytes) -> None:
    with pytest.raises(Forged):
        verify(body, signed(), SECRET)


def test_a_message_of_ten_minutes_ago_is_a_forgery() -> None:
    with pytest.raises(Forged):
        verify(BODY, signed(at=datetime.now(UTC) - timedelta(minutes=10)), SECRET)


def test_another_secret_does_not_do() -> None:
    with pytest.raises(Forged):
        verify(BODY, signed(), "whsec_" + "A" * 32)
