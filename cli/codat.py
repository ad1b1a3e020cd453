"""What the doctor reads from Codat with the stack's own API key: two calls, neither of which changes anything."""

from dataclasses import dataclass, replace
from datetime import datetime

import httpx

from deployed.stack import DeployedStack, clock
from freshness.codat.client import Codat
from freshness.codat.errors import CodatError
from freshness.codat.http import CALL_TIMEOUT, reported_quota, response_date
from freshness.codat.models import SyncSetting, WebhookConsumer


@dataclass(frozen=True, slots=True, kw_only=True)
class CodatReport:
    """What Codat returned. A field is `None` if it was not returned; `error` is the call that failed, if one did."""

    at: datetime | None = None
    """The time of the last response, by Codat's clock."""
    quota: tuple[int, int] | None = None
    """The daily quota of calls, and how many are left."""
    settings: tuple[SyncSetting, ...] | None = None
    consumers: tuple[WebhookConsumer, ...] | None = None
    error: CodatError | None = None


async def read_report(stack: DeployedStack) -> CodatReport:
    """Return Codat's own schedule and its webhook endpoints, with what the headers of the responses report."""
    report = CodatReport()

    async def read_headers(response: httpx.Response) -> None:
        nonlocal report
        quota = reported_quota(response.headers) or report.quota
        report = replace(report, at=response_date(response.headers) or report.at, quota=quota)

    base_url = stack.environment(stack.outputs.check_freshness_function)["CODAT_BASE_URL"]
    hooks = {"response": [read_headers]}
    async with httpx.AsyncClient(base_url=base_url, timeout=CALL_TIMEOUT, event_hooks=hooks) as http:
        codat = Codat(http, stack.secret(stack.outputs.codat_api_key_secret).strip(), clock=clock)
        try:
            settings = await codat.sync_settings()
            consumers = await codat.webhook_consumers()
        except CodatError as error:
            return replace(report, error=error)
    return replace(report, settings=tuple(settings), consumers=tuple(consumers))
