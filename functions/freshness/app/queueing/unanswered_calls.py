"""Finding what earlier calls queued, if their response was lost and Codat no longer repeats it."""

from freshness.app.queueing.calls import Queueing
from freshness.codat import bulk_refresh
from freshness.codat.errors import CodatError
from freshness.domain.times import CLOCKS_DIFFER
from freshness.planning.decision import Decision


async def find_queued(queueing: Queueing, group: list[Decision]) -> list[Decision]:
    """Record which feeds of a company earlier calls have queued. Return the decisions that are left.

    Codat repeats its response to an idempotency key for 90 minutes. For older calls, and those whose key was lost with
    a killed run, the company's history is read.
    """
    company, now = group[0].company, queueing.services.clock()
    unknown = {
        decision.feed.key: (decision, unanswered.at)
        for decision in group
        if (unanswered := decision.feed.unanswered) and not unanswered.is_repeatable(now)
    }
    if not unknown:
        return group
    feeds = {key: decision.feed for key, (decision, _) in unknown.items()}
    called_at = min(at for _, at in unknown.values())
    try:
        queued = await bulk_refresh.queued_since(
            called_at - CLOCKS_DIFFER, queueing.codat, company.company_id, feeds, called_at
        )
    except CodatError as error:
        await queueing.record_unknown(company, (decision for decision, _ in unknown.values()), error)
        return [decision for decision in group if decision.feed.key not in unknown and not queueing.stopped_by]
    for key, operation in queued.items():
        decision, called_at = unknown[key]
        await queueing.record_queued(company, feeds[key], operation, decision, called_at)
    return [decision for decision in group if decision.feed.key not in queued]
