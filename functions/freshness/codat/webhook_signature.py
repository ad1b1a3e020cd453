"""Telling Codat's webhooks from forgeries: the Standard Webhooks scheme, through which Codat sends.

What a request holds may be anything at all: whatever is wrong with it ends as `Refused`.
"""

import base64
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

LARGEST_BODY = 256_000
"""Bytes. With its attributes, a message of this size still fits the 262,144 bytes that SQS takes in any region."""
KEPT_FOR = 300.0
"""Seconds after which the secrets are read again: one that was taken out of use is accepted no longer than that."""
READ_AGAIN_AFTER = 60.0
"""Seconds between two readings, however many signatures fail: forgeries cannot make us call Secrets Manager."""

_ID = re.compile(r"[!-~]{1,256}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_SIGNATURES = re.compile(r"\w{1,9},[\w+/]{1,999}={0,2}( \w{1,9},[\w+/]{1,999}={0,2}){0,9}", re.ASCII)


class Reason(StrEnum):
    """Why a request was refused."""

    ADDRESS_NOT_ALLOWED = "AddressNotAllowed"
    HEADER_WRONG = "HeaderWrong"
    """The header that the deployment asks for is missing, or has another value."""
    BODY_TOO_LARGE = "BodyTooLarge"
    BODY_MALFORMED = "BodyMalformed"
    """It is missing, not base64 although it is said to be, or not UTF-8."""
    HEADERS_MALFORMED = "HeadersMalformed"
    """One of the three is missing, or not of the form that it has by the scheme."""
    NOT_SIGNED = "NotSigned"
    """It was not signed with any of our secrets, or not within the last minutes."""


class Refused(Exception):
    """The request is not one of Codat's, or cannot be told to be."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class SecretsUnavailable(Exception):
    """The signing secrets cannot be read, so that no request can be told from a forgery."""


class KeptSecrets:
    """Secrets of one kind, kept in memory: several while one is being replaced.

    `read` gives them as they are stored, separated by white space, or raises `SecretsUnavailable`; `clock` counts
    seconds.
    """

    def __init__(self, read: Callable[[], str], clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock
        self._secrets: tuple[str, ...] = ()
        self._read_at: float | None = None

    def have(self, value: str) -> bool:
        """Whether a value is one of them; how long it takes does not tell how much of it is right.

        Raises:
            SecretsUnavailable: they cannot be read, and never could.
        """
        self._read_if_older_than(KEPT_FOR)
        given = value.encode(errors="backslashreplace")
        return any(hmac.compare_digest(given, secret.encode()) for secret in self._secrets)

    def _read_if_older_than(self, seconds: float) -> bool:
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


class SigningSecrets(KeptSecrets):
    """The secrets that Codat may sign with."""

    def verify(self, body: str, headers: Mapping[str, Any]) -> str:
        """The id of a message that was signed with one of the secrets. `headers` have lower-case names.

        The secrets are kept in memory, and read again when they are old or when no signature fits.

        Raises:
            Refused: the headers are malformed, or the message was not signed with any of the secrets.
            SecretsUnavailable: they cannot be read, and never could.
        """
        self._read_if_older_than(KEPT_FOR)
        try:
            return verify(body, headers, self._secrets)
        except Refused as refused:
            if refused.reason is not Reason.NOT_SIGNED or not self._read_if_older_than(READ_AGAIN_AFTER):
                raise
        return verify(body, headers, self._secrets)


def body_of(event: Mapping[str, Any]) -> str:
    """The body of a request as API Gateway hands it over, as text that is the same bytes in UTF-8.

    Raises:
        Refused: it is too large or malformed.
    """
    given = event.get("body")
    if not isinstance(given, str):
        raise Refused(Reason.BODY_MALFORMED)
    if len(given) > LARGEST_BODY * 4 // 3 + 4:
        raise Refused(Reason.BODY_TOO_LARGE)
    try:
        body = base64.b64decode(given, validate=True) if event.get("isBase64Encoded") else given.encode()
        text = body.decode()
    except ValueError as error:
        raise Refused(Reason.BODY_MALFORMED) from error
    if len(body) > LARGEST_BODY:
        raise Refused(Reason.BODY_TOO_LARGE)
    return text


def verify(body: str, headers: Mapping[str, Any], secrets: Sequence[str]) -> str:
    """The id of a message that was signed with one of `secrets`. `headers` have lower-case names.

    Raises:
        Refused: the headers are malformed, or the message was not signed with any of the secrets.
    """
    standard = _standard(headers)
    for secret in secrets:
        try:
            Webhook(secret).verify(body, standard, json_parse=False)
        except (WebhookVerificationError, EmptyWebhookSecretError, ValueError):
            continue
        return standard["webhook-id"]
    raise Refused(Reason.NOT_SIGNED)


def _standard(headers: Mapping[str, Any]) -> dict[str, str]:
    """The three headers under their standard names, in whichever of its two spellings they came."""
    spelling = "webhook" if "webhook-id" in headers else "svix"
    message_id, timestamp, signature = (headers.get(f"{spelling}-{name}") for name in ("id", "timestamp", "signature"))
    if not (isinstance(message_id, str) and isinstance(timestamp, str) and isinstance(signature, str)):
        raise Refused(Reason.HEADERS_MALFORMED)
    if not (_ID.fullmatch(message_id) and _TIMESTAMP.fullmatch(timestamp) and _SIGNATURES.fullmatch(signature)):
        raise Refused(Reason.HEADERS_MALFORMED)
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
