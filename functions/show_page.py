"""The page, as a custom widget of the CloudWatch dashboard. `act_on_page` does what its buttons change.

CloudWatch invokes the function with the permissions of whoever looks at the dashboard. The event has what the widget or
a button asks for, and `widgetContext`. The result is HTML.
"""

import asyncio
import os
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from freshness.app.page.read import page_view
from freshness.app.page.render import Frame, Medium, render, render_explanations, render_text
from freshness.app.reading.links import links_of
from freshness.app.reading.queries import NotFound, Queries
from freshness.app.services import Services
from freshness.domain.companies.company import Company

DESCRIPTION = """## Codat Freshness
Whether the promises about the age of companies' data are kept, whose turn it is, and what to do next.
It needs no parameters. Give the widget the width of the dashboard, and let it refresh itself.
"""

logger = Logger(service="show_page")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> str:
    """Return the HTML of the page, of a feed or of a link. For `describe`, return the widget's description."""
    if event.get("describe"):
        return DESCRIPTION
    theme = str((event.get("widgetContext") or {}).get("theme", ""))
    arn, acting_arn = context.invoked_function_arn, os.environ["ACT_ON_PAGE_FUNCTION"]
    frame = Frame(Medium.WIDGET, theme=theme, function_arn=arn, acting_function_arn=acting_arn)
    services = Services.deployed()
    queries = Queries(services=services)
    try:
        match event:
            case {"explain": str(company_id), "dataType": str(data_type)}:
                company = _company(queries, company_id)
                return render_explanations(queries.explain(company, data_type, services.clock()), frame)
            case {"link": str(company_id), "connection": str(connection_id)}:
                return _link(services, _company(queries, company_id), connection_id, frame)
            case _:
                return render(page_view(queries, services.clock()), frame)
    except NotFound as error:
        return render_text(str(error), "", frame)


def _company(queries: Queries, company_id: str) -> Company:
    company = queries.services.tables.companies.get(company_id)
    if company is None:
        raise NotFound(f"There is no company {company_id} any more.")
    return company


def _link(services: Services, company: Company, connection_id: str, frame: Frame) -> str:
    links = asyncio.run(links_of(services, company, {connection_id}))
    link = next((each for each in links if each.connection_id == connection_id), None)
    if link is None or not link.url:
        return render_text("Codat has no link for this connection: see Codat's portal.", "", frame)
    age = "" if link.is_live else " Codat could not be asked for another one, so it may have expired."
    return render_text(f"{company.name} authorises {link.platform} again at this address.{age}", link.url, frame)
