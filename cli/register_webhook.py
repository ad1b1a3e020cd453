"""`freshness register-webhook`: registering the stack's URL for Codat's webhooks."""

import asyncio

import typer

from cli.arguments import Json, selected_stack
from cli.output import print_json, print_text
from freshness.app import audit
from freshness.app.webhook_heartbeat import WEBHOOK_RECEIVED
from freshness.codat.webhooks.registration import Registration, create, find
from freshness.domain.audit import Operation
from stack_access.stack import DeployedStack

PORTAL = "https://app.codat.io/monitor/events"


def register_webhook(context: typer.Context, *, as_json: Json = False) -> None:
    """Register the stack's URL for Codat's webhooks, unless it is registered, and show what to do by hand."""
    stack = selected_stack(context)
    registration = asyncio.run(_register(stack))
    if as_json:
        print_json(
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
        print_text(_text(stack, registration))


async def _register(stack: DeployedStack) -> Registration:
    async with stack.codat() as codat:
        url, products = stack.outputs.webhook_url, stack.policy.products
        if found := await find(codat, url, products):
            return found
        with audit.recorded(stack.services, stack.actor, Operation.REGISTER_WEBHOOK, url):
            return await create(codat, url, products)


def _text(stack: DeployedStack, registration: Registration) -> str:
    consumer = registration.consumer
    done = "now sends" if registration.is_new else "already sends"
    lines = [f"Codat {done} its webhooks to {consumer.url} (endpoint {consumer.id} in its portal, {PORTAL})."]
    if consumer.disabled:
        lines.append("But the endpoint is disabled: enable it in the portal.")
    if consumer.company_tags:
        tags = " or ".join(consumer.company_tags)
        lines.append(f"But only those about companies tagged {tags}: change that in the portal.")
    if registration.others:
        others = ", ".join(other.id for other in registration.others)
        lines.append(f"Other endpoints have the same URL and another secret: delete {others} in the portal.")
    if registration.missing:
        lines.append("But some event types are missing: add these in the portal:")
        lines += [f"  {event_type}" for event_type in registration.missing]
    if stack.tables.control.last_done(WEBHOOK_RECEIVED):
        lines.append("Webhooks arrive, so the stored signing secret fits.")
        return "\n".join(lines)
    is_stored = bool(stack.secret(stack.outputs.webhook_signing_secret))
    key = f" --key-id {stack.outputs.kms_key}" if stack.outputs.kms_key else ""
    lines += [
        "",
        "A signing secret is stored, and no webhook has arrived with it yet. If it is not the endpoint's:"
        if is_stored
        else "The stack refuses webhooks until it has the endpoint's signing secret:",
        "1. In Codat's portal, open the endpoint and copy its signing secret.",
        "2. Store it; the command waits for you to paste it:",
        '   read -rs SECRET && printf %s "$SECRET" | aws ssm put-parameter --type SecureString --overwrite \\',
        f"     --name {stack.outputs.webhook_signing_secret} --value file:///dev/stdin{key}",
        'Then run "./freshness doctor" to see whether webhooks arrive and the secret is right.',
    ]
    return "\n".join(lines)
