"""Lambda function behind the HTTP API: answers callers who need to know, or ensure, how fresh data is.

API Gateway verifies the signature of each call, and that the caller's policy allows the route.
"""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness.app.api.api import answer
from freshness.app.services import Services

logger = Logger(service="serve_api")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one call, in the format of API Gateway's HTTP API."""
    return answer(Services.deployed, event, context)
