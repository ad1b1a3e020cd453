"""Reading Codat's own schedule, once a day."""

import asyncio

from aws_lambda_powertools import Logger

from freshness.app.services import Services
from freshness.aws.metrics import Metric
from freshness.codat.client import Codat
from freshness.codat.errors import CodatError
from freshness.domain.feeds.codat_schedule import CodatSchedule

logger = Logger(service="codat-freshness")


async def read_codat_schedule(services: Services, codat: Codat) -> None:
    """Read the account's sync settings once a day, and warn if Codat syncs data types that are kept fresh here too.

    The account's settings must not name data types of the policy's custom products at all.
    """
    control, now = services.tables.control, services.clock()
    of_products = services.policy.products_types
    known = await asyncio.to_thread(control.read, CodatSchedule)
    if not known.is_outdated(now):
        return
    try:
        settings = await codat.sync_settings()
    except CodatError as error:
        # A key may lack the permission for this alone.
        logger.warning("Codat's sync settings could not be read", extra={"error": str(error)})
        return
    schedule = CodatSchedule(
        on_first_link=frozenset(setting.data_type for setting in settings if setting.fetch_on_first_link),
        hours={setting.data_type: setting.sync_schedule for setting in settings if setting.sync_schedule > 0},
        read_at=now,
    )
    doubled = schedule.doubles(of_products)
    if doubled and (schedule.hours != known.hours or doubled != known.doubles(of_products)):
        services.counts.count(Metric.DOUBLED_SCHEDULES, len(doubled))
        logger.warning(
            "Codat syncs data types on its own schedule as well, so that each is read twice: "
            "turn that off in Codat's portal, Settings > Integrations > Data types",
            extra={"data_types": sorted(doubled), "hours_by_data_type": schedule.hours},
        )
    await asyncio.to_thread(control.update, known, lambda _: schedule)
