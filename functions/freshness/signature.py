"""Telling Codat's webhooks from forgeries: the Standard Webhooks scheme, through which Codat sends."""

import binascii
from collections.abc import Mapping

from standardwebhooks import Webhook, WebhookVerificationError


class Forged(Exception):
    """The request was not signed with our secret, or not within the last minutes."""


def verify(body: bytes, headers: Mapping[str, str], secret: str) -> str:
    """The id of a message that Codat signed. `headers` have lower-case names.

    Raises:
        Forged: the signature is missing, malformed, wrong, or too old.
    """
    standard = {
        name: headers.get(f"webhook-{name}") or headers.get(f"svix-{name}", "")
        for name in ("id", "timestamp", "signature")
    }
    try:
        Webhook(secret).verify(body, {f"webhook-{name}": value for name, value in standard.items()}, json_parse=False)
    except (WebhookVerificationError, ValueError, binascii.Error) as error:
        raise Forged(str(error)) from error
    return standard["id"]
