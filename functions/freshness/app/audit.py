"""Recording who did what: every operation of a person or a program is recorded here before it is carried out."""

from datetime import datetime

from freshness.app.services import Services
from freshness.domain.audit import Actor, AuditEntry, Operation
from freshness.domain.companies.company import Company
from freshness.domain.transitions.notifications import operation_performed


def record(
    services: Services,
    actor: Actor,
    operation: Operation,
    what: str = "",
    *,
    company: Company | None = None,
    at: datetime | None = None,
) -> AuditEntry:
    """Record that somebody does something, now or at a time, and publish it. Without a company it is about all.

    Call it first: an operation that cannot be recorded is not to be carried out.

    Raises:
        freshness.aws.event_bus.NotPublished: EventBridge did not accept the event.
    """
    entry = AuditEntry(
        at=at or services.clock(),
        operation=operation,
        who=actor.who,
        source=actor.source,
        what=what,
        company_id=company.company_id if company else "",
    )
    services.bus.publish([operation_performed(entry, company)])
    services.tables.audit.put(entry)
    return entry
