"""Recording who did what: every operation of a person or a program is recorded here before it is carried out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from freshness.app.services import Services
from freshness.aws.event_bus import NotPublished
from freshness.domain.audit import LONGEST_FAILURE, Actor, AuditEntry, Operation
from freshness.domain.clean_text import shown
from freshness.domain.companies.company import Company
from freshness.domain.transitions.notifications import operation_performed

logger = Logger(service="codat-freshness")


@contextmanager
def recorded(
    services: Services, actor: Actor, operation: Operation, what: str = "", *, company: Company | None = None
) -> Iterator[None]:
    """Record and publish an operation before its block carries it out. Without `company` it concerns all companies.

    If the operation cannot be recorded, the block is not run. If the block fails, the reason is recorded and published.

    Raises:
        freshness.aws.event_bus.NotPublished: EventBridge did not accept the event.
    """
    entry = AuditEntry(
        at=services.clock(),
        operation=operation,
        who=actor.who,
        source=actor.source,
        what=what,
        company_id=company.company_id if company else "",
    )
    services.tables.audit.put(entry)
    try:
        services.bus.publish([operation_performed(entry, company)])
        yield
    except Exception as error:
        reason = shown(str(error) or type(error).__name__, LONGEST_FAILURE)
        _record_failure(services, replace(entry, failed=reason), company)
        raise


def _record_failure(services: Services, entry: AuditEntry, company: Company | None) -> None:
    try:
        services.tables.audit.put(entry)
        services.bus.publish([operation_performed(entry, company)])
    except (NotPublished, BotoCoreError, ClientError) as error:
        logger.warning("It could not be recorded that an operation failed", extra={"id": entry.id, "error": str(error)})
