"""What commands read from Codat with the stack's own API key. None of the calls changes anything."""

from dataclasses import dataclass, replace
from datetime import datetime

import httpx

from freshness.codat.client import Codat
from freshness.codat.errors import CodatError
from freshness.codat.models import SyncSetting, WebhookConsumer
from freshness.codat.responses import reported_quota, response_date
from stack_access.stack import DeployedStack


@dataclass(frozen=True, slots=True, kw_only=True)
class CodatReport:
    """What Codat returned. A field is `None` if it was not returned. `error` is the error of a call that failed."""

    at: datetime | None = None
    """The time of the last response, by Codat's clock."""
    quota: tuple[int, int] | None = None
    """The daily quota of calls, and how many are left."""
    settings: tuple[SyncSetting, ...] | None = None
    consumers: tuple[WebhookConsumer, ...] | None = None
    account: str | None = None
    """The name of the Codat account that the key belongs to."""
    error: CodatError | None = None


async def read_report(stack: DeployedStack) -> CodatReport:
    """Read Codat's own schedule, its webhook endpoints and the account, and the headers of the responses."""
    report = CodatReport()

    async def read_headers(response: httpx.Response) -> None:
        nonlocal report
        quota = reported_quota(response.headers) or report.quota
        report = replace(report, at=response_date(response.headers) or report.at, quota=quota)

    async with stack.codat(read_headers) as codat:
        try:
            settings = await codat.sync_settings()
            consumers = await codat.webhook_consumers()
        except CodatError as error:
            return replace(report, error=error)
        account = await read_account(codat)
    return replace(report, settings=tuple(settings), consumers=tuple(consumers), account=account)


async def read_account(codat: Codat) -> str | None:
    """Return the name of the Codat account, or `None` if it cannot be read."""
    try:
        return await codat.account()
    except CodatError:
        return None
