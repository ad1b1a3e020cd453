"""Verification of the signatures of Codat's webhooks, which follow the Standard Webhooks specification.

A request may hold anything. `WebhookRefused` is raised for every request that is not valid, whatever is wrong with it.
"""

import base64
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

MAX_BODY_BYTES = 256_000
"""The most bytes of a body. With its attributes, it still fits the 262,144 bytes that SQS accepts in any region."""
CACHE_SECONDS = 300.0
"""The time after which cached secrets are read again. A secret that was removed is accepted no longer than that."""
MIN_SECONDS_BETWEEN_READS = 60.0
"""The minimum time between two reads, so that forged requests cannot cause a call of Systems Manager each."""

_ID = re.compile(r"[!-~]{1,256}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_SIGNATURES = re.compile(r"\w{1,9},[\w+/]{1,999}={0,2}( \w{1,9},[\w+/]{1,999}={0,2}){0,9}", re.ASCII)


class RefusalReason(StrEnum):
    """The reason why a request was refused."""

    ADDRESS_NOT_ALLOWED = "AddressNotAllowed"
    HEADER_WRONG = "HeaderWrong"
    """The header that the deployment requires is missing, or has a wrong value."""
    BODY_TOO_LARGE = "BodyTooLarge"
    BODY_MALFORMED = "BodyMalformed"
    """The body is missing, is not UTF-8, or is declared as base64 but is not."""
    HEADERS_MALFORMED = "HeadersMalformed"
    """One of the three headers is missing, or does not have the format that the specification requires."""
    NOT_SIGNED = "NotSigned"
    """No signature fits any of the secrets, or the timestamp is more than five minutes off."""


class WebhookRefused(Exception):
    """The request was not sent by Codat, or is not verifiable."""

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__(reason)
        self.reason = reason


class SecretsUnavailable(Exception):
    """The secrets cannot be read, so that no request can be verified."""


class CachedSecrets:
    """The values of a secret, cached in memory. There are several while one is being replaced.

    `read` returns the stored values, separated by white space, or raises `SecretsUnavailable`. `clock` returns seconds.
    """

    def __init__(self, read: Callable[[], str], clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock
        self._secrets: tuple[str, ...] = ()
        self._read_at: float | None = None

    def contains(self, value: str) -> bool:
        """Return whether a value is one of the secrets. The comparison takes constant time.

        Raises:
            SecretsUnavailable: the secrets cannot be read, and none are cached.
        """
        self._read_if_older_than(CACHE_SECONDS)
        given = value.encode(errors="backslashreplace")
        return any(hmac.compare_digest(given, secret.encode()) for secret in self._secrets)

    def _read_if_older_than(self, seconds: float) -> bool:
        """Read the secrets if the last read was this long ago, and return whether it was.

        If the secrets cannot be read, the cached ones stay in use.
        """
        now = self._clock()
        if self._read_at is not None and now - self._read_at < seconds:
            return False
        try:
            self._secrets = tuple(self._read().split())
        except SecretsUnavailable:
            if not self._secrets:
                raise
        self._read_at = now
        return True


class SigningSecrets(CachedSecrets):
    """The secrets that Codat may sign its webhooks with."""

    def verify(self, body: str, headers: Mapping[str, Any]) -> str:
        """Verify the signature of a message and return the message's id.

        The names of `headers` are lower-case. If the signature fits none of the cached secrets, they are read again.

        Raises:
            WebhookRefused: the headers are malformed, or the message was not signed with any of the secrets.
            SecretsUnavailable: the secrets cannot be read, and none are cached.
        """
        self._read_if_older_than(CACHE_SECONDS)
        try:
            return verify(body, headers, self._secrets)
        except WebhookRefused as refused:
            if refused.reason is not RefusalReason.NOT_SIGNED or not self._read_if_older_than(
                MIN_SECONDS_BETWEEN_READS
            ):
                raise
        return verify(body, headers, self._secrets)


def decode_body(event: Mapping[str, Any]) -> str:
    """Return the body of an API Gateway event as text. Encoded as UTF-8, the text has the same bytes as the body.

    Raises:
        WebhookRefused: the body is too large or malformed.
    """
    given = event.get("body")
    if not isinstance(given, str):
        raise WebhookRefused(RefusalReason.BODY_MALFORMED)
    if len(given) > MAX_BODY_BYTES * 4 // 3 + 4:
        raise WebhookRefused(RefusalReason.BODY_TOO_LARGE)
    try:
        body = base64.b64decode(given, validate=True) if event.get("isBase64Encoded") else given.encode()
        text = body.decode()
    except ValueError as error:
        raise WebhookRefused(RefusalReason.BODY_MALFORMED) from error
    if len(body) > MAX_BODY_BYTES:
        raise WebhookRefused(RefusalReason.BODY_TOO_LARGE)
    return text


def verify(body: str, headers: Mapping[str, Any], secrets: Sequence[str]) -> str:
    """Verify that a message was signed with one of `secrets`, and return its id. The header names are lower-case.

    Raises:
        WebhookRefused: the headers are malformed, or the message was not signed with any of the secrets.
    """
    standard = _standard_headers(headers)
    for secret in secrets:
        try:
            Webhook(secret).verify(body, standard, json_parse=False)
        except (WebhookVerificationError, EmptyWebhookSecretError, ValueError):
            continue
        return standard["webhook-id"]
    raise WebhookRefused(RefusalReason.NOT_SIGNED)


def _standard_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the specification's three headers with the prefix `webhook-`. They may have come with `svix-`.

    Raises:
        WebhookRefused: a header is missing or malformed.
    """
    prefix = "webhook" if "webhook-id" in headers else "svix"
    message_id, timestamp, signature = (headers.get(f"{prefix}-{name}") for name in ("id", "timestamp", "signature"))
    if not (isinstance(message_id, str) and isinstance(timestamp, str) and isinstance(signature, str)):
        raise WebhookRefused(RefusalReason.HEADERS_MALFORMED)
    if not (_ID.fullmatch(message_id) and _TIMESTAMP.fullmatch(timestamp) and _SIGNATURES.fullmatch(signature)):
        raise WebhookRefused(RefusalReason.HEADERS_MALFORMED)
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
