"""`freshness register-webhook`: having Codat send its webhooks to the stack."""

import asyncio
from datetime import UTC, datetime

import httpx
import typer

from cli.output import Json, say, say_json
from cli.target import Target, target
from freshness.codat.client import CALL_TIMEOUT, Codat
from freshness.codat.webhook_registration import Registration, register

PORTAL = "https://app.codat.io/monitor/events"


def register_webhook(context: typer.Context, *, as_json: Json = False) -> None:
    """Have Codat send its webhooks to the stack, unless it does; and say what is left to do by hand."""
    stack = target(context)
    registration = asyncio.run(_register(stack))
    if as_json:
        say_json(
            {
                "id": registration.consumer.id,
                "url": registration.consumer.url,
                "isNew": registration.is_new,
                "disabled": registration.consumer.disabled,
                "missingEventTypes": registration.missing,
                "onlyCompaniesTagged": registration.consumer.company_tags,
                "others": [other.id for other in registration.others],
            }
        )
    else:
        say(_text(stack, registration))


async def _register(stack: Target) -> Registration:
    base_url = stack.environment(stack.outputs.check_freshness_function)["CODAT_BASE_URL"]
    async with httpx.AsyncClient(base_url=base_url, timeout=CALL_TIMEOUT) as http:
        key = stack.secret(stack.outputs.codat_api_key_secret).strip()
        return await register(Codat(http, key, clock=lambda: datetime.now(UTC)), stack.outputs.webhook_url)


def _text(stack: Target, registration: Registration) -> str:
    consumer = registration.consumer
    done = "From now on" if registration.is_new else "As before,"
    lines = [f"{done} Codat sends its webhooks to {consumer.url} (endpoint {consumer.id} in its portal, {PORTAL})."]
    if consumer.disabled:
        lines.append("But it is disabled: enable it there.")
    if consumer.company_tags:
        lines.append(f"But only of companies tagged {' or '.join(consumer.company_tags)}: change that there.")
    if registration.others:
        others = ", ".join(other.id for other in registration.others)
        lines.append(f"It has the same URL more than once: delete {others} there, whose secret is another.")
    if registration.missing:
        lines.append("But not all of them: add these event types there:")
        lines += [f"  {event_type}" for event_type in registration.missing]
    lines += [
        "",
        "Webhooks are refused until the stack knows the endpoint's signing secret:",
        "1. In Codat's portal, open the endpoint and copy its signing secret.",
        "2. Store it; the command waits for you to paste it:",
        '   read -rs SECRET && printf %s "$SECRET" | aws secretsmanager put-secret-value \\',
        f"     --secret-id {stack.outputs.webhook_signing_secret} --secret-string file:///dev/stdin",
        'Then "./freshness doctor" says whether webhooks come and fit the secret.',
    ]
    return "\n".join(lines)
