"""What the doctor asks Codat, with the stack's own key: two calls, neither of which changes anything."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from cli.target import Target
from freshness.codat.client import CALL_TIMEOUT, Codat
from freshness.codat.errors import CodatError
from freshness.codat.models import SyncSetting, WebhookConsumer


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What Codat said; `None` where it did not get to that. `error` is why."""

    at: datetime | None = None
    """Codat's own time."""
    limit: int | None = None
    remaining: int | None = None
    settings: tuple[SyncSetting, ...] | None = None
    consumers: tuple[WebhookConsumer, ...] | None = None
    error: CodatError | None = None


async def ask_codat(stack: Target) -> Told:
    """Ask Codat for its own schedule, and for the webhooks that it sends."""
    told = Told()
    base_url = stack.environment(stack.outputs.check_freshness_function)["CODAT_BASE_URL"]

    async def note(response: httpx.Response) -> None:
        nonlocal told
        told = _with_headers(told, response.headers)

    hooks = {"response": [note]}
    async with httpx.AsyncClient(base_url=base_url, timeout=CALL_TIMEOUT, event_hooks=hooks) as http:
        key = stack.secret(stack.outputs.codat_api_key_secret).strip()
        codat = Codat(http, key, clock=lambda: datetime.now(UTC))
        try:
            settings = await codat.sync_settings()
            consumers = await codat.webhook_consumers()
        except CodatError as error:
            return replace(told, error=error)
    return replace(told, settings=tuple(settings), consumers=tuple(consumers))


def _with_headers(told: Told, headers: httpx.Headers) -> Told:
    limit, remaining = (headers.get(f"X-Rate-Limit-{name}", "") for name in ("Limit", "Remaining"))
    if limit.isdigit() and remaining.isdigit():
        told = replace(told, limit=int(limit), remaining=int(remaining))
    try:
        return replace(told, at=parsedate_to_datetime(headers["Date"]).astimezone(UTC))
    except (KeyError, ValueError):
        return told
