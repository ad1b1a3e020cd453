"""Waiting for a request: advancing it with a client for Codat, as long as its caller prefers."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

from aws_lambda_powertools import Logger

from freshness.app.ensure.accept import EnsureFresh, Progress
from freshness.aws.dynamodb.table import ContentionError
from freshness.codat.client import Codat

logger = Logger(service="codat-freshness")


async def wait_for(ensure: EnsureFresh, progress: Progress, preferred: timedelta, remaining: timedelta) -> Progress:
    """Queue what a request needs, then wait as long as its caller prefers. Return its progress.

    This takes at most `remaining`. The client for Codat is opened for the first call.

    Raises:
        Problem: Codat accepted none of the calls.
    """
    if progress.request.is_done:
        return progress
    services, now = ensure.services, ensure.services.clock()
    known = progress.account.limits if progress.account else None
    try:
        async with AsyncExitStack() as stack:
            opened: list[Codat] = []
            lock = asyncio.Lock()

            async def codat() -> Codat:
                async with lock:
                    if not opened:
                        client = services.codat(now + remaining, on_demand=True, known=known)
                        opened.append(await stack.enter_async_context(client))
                return opened[0]

            client: Callable[[], Awaitable[Codat]] = codat
            try:
                progress = await ensure.wait(progress, now + min(preferred, remaining), client)
            finally:
                services.recorder.write_collected()
                services.emit(services.counts)
                calls = sum(each.calls for each in opened)
                logger.info("Request advanced", extra={"counts": dict(services.counts), "codat_calls": calls})
    except ContentionError as error:
        # Only the number of calls was not written. The request goes on.
        logger.warning("The number of calls could not be written", extra={"error": str(error)})
    return progress
