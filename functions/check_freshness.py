"""Runs on a schedule: lists the companies, and checks those that are due."""

import asyncio
from datetime import timedelta

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness.app.checking.check_freshness import check_freshness
from freshness.app.services import Services
from freshness.app.tick import run_tick

logger = Logger(service="check_freshness")


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> None:  # noqa: ARG001 - Lambda passes both
    """Run one tick, unless another run holds the lease."""
    services = Services.deployed()
    remaining = timedelta(milliseconds=context.get_remaining_time_in_millis())
    asyncio.run(run_tick(services, check_freshness, context.aws_request_id, remaining))
