"""The buttons of the dashboard's page that change something: refresh, pause and resume.

It is a separate function because whoever may see the page need not be allowed to pause everything. The event is what a
button asks for. The result is HTML, which CloudWatch shows above the page.
"""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness.app.operations import Operations, Paused
from freshness.app.page.refresh import refresh_worst
from freshness.app.page.render import Frame, Medium, render_text
from freshness.app.reading.queries import Queries
from freshness.app.services import Services
from freshness.domain.audit import Actor

logger = Logger(service="act_on_page")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> str:  # noqa: ARG001 - Lambda passes it
    """Do what a button asks for. Return one sentence about it, as HTML."""
    frame = Frame(Medium.WIDGET, theme=str((event.get("widgetContext") or {}).get("theme", "")))
    return render_text(_done(event, Operations(services=Services.deployed(), actor=_actor(event))), "", frame)


def _actor(event: dict[str, Any]) -> Actor:
    """Return who pressed a button: CloudWatch names the account and the dashboard, but not the person."""
    widget = event.get("widgetContext") or {}
    who = f"someone in account {widget.get('accountId') or 'unknown'}: CloudTrail's data events name them"
    return Actor(who=who, source=f"the dashboard {widget.get('dashboardName') or ''}".rstrip())


def _done(event: dict[str, Any], operations: Operations) -> str:
    match event:
        case {"pause": bool(pause)}:
            operations.pause_all() if pause else operations.resume_all()
            logger.info("Paused or resumed on the dashboard", extra={"paused": pause})
            return "Everything is paused." if pause else "Refreshes are resumed."
        case {"refresh": True}:
            return _refresh(operations)
        case _:
            return "No button asks for this."


def _refresh(operations: Operations) -> str:
    try:
        requested = refresh_worst(Queries(services=operations.services), operations)
    except Paused as error:
        return str(error)
    logger.info("Refreshes were requested on the dashboard", extra={"refreshes": requested})
    return f"{requested} refreshes are requested, which the next tick queues."
