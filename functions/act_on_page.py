"""The buttons of the dashboard's page that change something: refresh, pause and resume.

A function of its own, so that who may see the page need not be allowed to pause everything. The event is what a button
asks for; the result is HTML, which CloudWatch shows above the page.
"""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness.app.operations import Operations, Paused
from freshness.app.page.refresh import refresh_worst
from freshness.app.page.render import Frame, Medium, render_text
from freshness.app.reading.queries import Queries
from freshness.app.services import Services

logger = Logger(service="act_on_page")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> str:  # noqa: ARG001 - Lambda passes it
    """Do what a button asks for, and return what was done."""
    frame = Frame(Medium.WIDGET, theme=str((event.get("widgetContext") or {}).get("theme", "")))
    return render_text(_done(event, Services.deployed()), "", frame)


def _done(event: dict[str, Any], services: Services) -> str:
    match event:
        case {"pause": bool(pause)}:
            control = services.tables.control
            control.pause() if pause else control.resume()
            logger.info("Paused or resumed on the dashboard", extra={"paused": pause})
            return "Everything is paused." if pause else "Refreshes are resumed."
        case {"refresh": True}:
            return _refresh(services)
        case _:
            return "No button asks for this."


def _refresh(services: Services) -> str:
    try:
        requested = refresh_worst(Queries(services=services), Operations(services=services), services.clock())
    except Paused as error:
        return str(error)
    logger.info("Refreshes were requested on the dashboard", extra={"refreshes": requested})
    return f"{requested} refreshes are requested, which the next tick queues."
