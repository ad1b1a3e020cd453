"""What follows from a fact about a company: the company after it, and what to publish."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from freshness.domain import backoff
from freshness.domain.clean_text import shown
from freshness.domain.companies.company import Company, Connection, ConnectionStatus
from freshness.domain.companies.company_facts import (
    BulkRefreshStarted,
    CheckFailed,
    CheckNeeded,
    CheckSucceeded,
    CompanyCalled,
    CompanyCreated,
    CompanyDeleted,
    CompanyFact,
    CompanyListed,
    CompanyNotFound,
    CompanyPaused,
    ConnectionChanged,
    LinksRead,
    ReadsEnded,
)
from freshness.domain.companies.listing import ABSENT_AGAIN_AFTER, counts_as_deleted
from freshness.domain.datasets.dataset import LONGEST_REASON, OUTCOMES, DatasetState, Outcome
from freshness.domain.feeds.feed import Feed
from freshness.domain.transitions.notifications import (
    ConnectionBack,
    ConnectionDone,
    Notification,
    RelinkDueSoon,
    RelinkNeeded,
)

CHECK_EVERY = timedelta(days=1)
"""How often a company is checked. Codat is polled then, unless a poll or a webhook's read is more recent than this."""
DELETED_KEPT = timedelta(days=30)
"""How long a deleted connection is kept: webhooks may be replayed for two weeks."""


class ReadEnd(NamedTuple):
    """The end of a read through a connection."""

    connection_id: str
    state: str
    at: datetime
    reason: str = ""


class CompanyTransition(NamedTuple):
    """The result of a fact about a company: the company after it, and what to publish."""

    company: Company
    notifications: tuple[Notification, ...] = ()


def company_transition(
    company: Company,
    fact: CompanyFact,
    now: datetime,
    announced: Company | None = None,
    reads_once: Callable[[Company, Connection], bool] = lambda *_: False,
    consent: Callable[[Company, Connection], timedelta | None] = lambda *_: None,
) -> CompanyTransition:
    """Return what follows from a fact about a company.

    Only a newer list, a deletion or a pause changes a deleted company. `reads_once` returns whether the policy has a
    connection read only once, and `consent` how long the policy lets the customer's consent last.

    There are notifications about connections that lapsed, came back, are done or lapse soon; none about a deleted
    company. `announced` is the company as an earlier attempt published it before its write lost a race: the
    notifications say what differs from that.
    """
    after = _with_fact(company, fact, now).with_read_once(reads_once).with_consent(consent, now)
    if after.deleted_at:
        return CompanyTransition(after)
    reads = fact.reads if isinstance(fact, CheckSucceeded) else fact if isinstance(fact, ReadsEnded) else ReadsEnded()
    return CompanyTransition(after, tuple(_notifications(announced or company, after, reads)))


def _with_fact(company: Company, fact: CompanyFact, now: datetime) -> Company:  # noqa: C901 - a case for each fact
    match fact:
        case CompanyListed():
            return _listed(company, fact, now)
        case CompanyDeleted():
            return _deleted(company, fact.at)
        case CompanyPaused():
            return _paused(company, fact, now)
        case _ if company.deleted_at:
            return company
        case CompanyCreated():
            return company if company.version else company.due_for_check(now)
        case ConnectionChanged():
            return _with_connection(company, fact.connection, now)
        case ReadsEnded():
            return company.with_each(_after_reads(fact))
        case BulkRefreshStarted():
            return replace(company, bulk_refresh_at=fact.at)
        case CheckNeeded():
            return company.due_for_check(now)
        case CheckSucceeded():
            return _checked(company, fact, now)
        case CheckFailed():
            return _check_failed(company, fact.first, fact.longest, now)
        case CompanyCalled():
            return replace(company, unanswered_at=None if fact.is_answered else fact.at)
        case LinksRead():
            return company.with_each(lambda known: known.with_link(fact.urls.get(known.connection_id, ""), fact.at))
        case CompanyNotFound():
            return _not_found(company, fact, now)


def _paused(company: Company, fact: CompanyPaused, now: datetime) -> Company:
    """Return a company as paused or resumed, even if it was deleted: Codat may list it again."""
    changed = replace(company, pause=fact.pause)
    return changed if fact.pause or company.deleted_at else changed.due_for_check(now)


def _listed(company: Company, fact: CompanyListed, now: datetime) -> Company:
    """Return a company as Codat listed it; unchanged if the list is from before its deletion.

    It is due for a check if its connections, tags or parent changed: rules match these.
    """
    if company.deleted_at and fact.at <= company.deleted_at:
        return company
    listed = {connection.connection_id: connection for connection in fact.connections}
    connections = {
        connection_id: _with_listed(known, listed[connection_id]) if connection_id in listed else _absent(known, fact)
        for connection_id, known in company.connections.items()
        if connection_id in listed
        or known.status != ConnectionStatus.DELETED
        or known.status_at + DELETED_KEPT >= fact.at
    }
    connections |= {connection_id: listed[connection_id] for connection_id in listed.keys() - connections.keys()}
    tags = company.tags if fact.tags is None else dict(fact.tags)
    is_matched_as_before = tags == company.tags and fact.parent_id == company.parent_id
    has_other_connections = connections != company.connections and (
        _without_remarks(connections) != _without_remarks(company.connections)
    )
    changed = has_other_connections or not is_matched_as_before
    check_at = now if changed or company.check_at is None else company.check_at
    return replace(
        company,
        name=company.name if fact.name is None else fact.name,
        tags=tags,
        parent_id=fact.parent_id,
        products=company.products if fact.products is None else tuple(sorted(fact.products)),
        connections=connections,
        check_at=check_at,
        deleted_at=None,
        restored_at=fact.at if company.deleted_at else company.restored_at,
        not_found_at=None,
    )


def _with_listed(known: Connection, listed: Connection) -> Connection:
    """Return a connection as listed now; unchanged if nothing is new: a list does not say when a status began."""
    if not known.differs(listed):
        reason = listed.reason if listed.status_at >= known.status_at else known.reason
        is_same = known.absent_since is None and known.reason == reason
        return known if is_same else replace(known, absent_since=None, reason=reason)
    if listed.is_linked and known.was_linked and not known.is_linked:
        listed = replace(listed, reconnected_at=listed.status_at)
    return known.latest(listed)


def _absent(known: Connection, fact: CompanyListed) -> Connection:
    """Return a connection after a list lacked it: absent since the first such list, or deleted.

    It is unchanged if the list may be incomplete or is older than the connection's status.
    """
    if not fact.has_all_connections or known.status == ConnectionStatus.DELETED or known.status_at > fact.at:
        return known
    since = known.absent_since or fact.at
    if not counts_as_deleted(since, fact.at, fact.believed_at):
        return replace(known, absent_since=since)
    return replace(known, status=ConnectionStatus.DELETED, status_at=fact.at, absent_since=None)


def _without_remarks(connections: Mapping[str, Connection]) -> dict[str, Connection]:
    """Return connections without `absent_since` and `reason`: changes of these need no check."""
    return {each: replace(known, absent_since=None, reason="") for each, known in connections.items()}


def _with_connection(company: Company, connection: Connection, now: datetime) -> Company:
    known = company.connections.get(connection.connection_id)
    latest = known.latest(connection) if known else connection
    if latest == known:
        return company
    return replace(company, connections=company.connections | {connection.connection_id: latest}).due_for_check(now)


def reads_ended(ends: Iterable[ReadEnd]) -> ReadsEnded:
    """Return by connection when reads were refused, and the latest success. Ends in other states are ignored."""
    refused: defaultdict[str, tuple[datetime, ...]] = defaultdict(tuple)
    succeeded: dict[str, datetime] = {}
    reasons: dict[str, str] = {}
    for connection_id, state, at, reason in ends:
        if state == DatasetState.AUTH_ERROR:
            refused[connection_id] += (at,)
            reasons[connection_id] = max(reason, reasons.get(connection_id, ""), key=len)
        elif OUTCOMES[state] is Outcome.COMPLETE:
            succeeded[connection_id] = max(at, succeeded.get(connection_id, at))
    return ReadsEnded(refused=refused, succeeded=succeeded, reasons=reasons)


def reads_of(feeds: Iterable[Feed]) -> ReadsEnded:
    """Return what the latest ends and successes of feeds show about their connections."""
    ends: list[ReadEnd] = []
    for feed in feeds:
        if feed.end:
            ends.append(ReadEnd(feed.connection_id, feed.end.state, feed.end.at, feed.end.reason))
        if feed.succeeded_at:
            ends.append(ReadEnd(feed.connection_id, DatasetState.COMPLETE, feed.succeeded_at))
    return reads_ended(ends)


def _after_reads(reads: ReadsEnded) -> Callable[[Connection], Connection]:
    return lambda known: known.with_reads(
        reads.refused.get(known.connection_id, ()), reads.succeeded.get(known.connection_id)
    )


def _deleted(company: Company, at: datetime) -> Company:
    """Return what is kept of a deleted company: an operator's pause, and enough to ignore late facts.

    A report from before the company was listed again is ignored.
    """
    if company.restored_at and at <= company.restored_at:
        return company
    return Company(
        company_id=company.company_id,
        deleted_at=max(filter(None, (company.deleted_at, at))),
        pause=company.pause,
        version=company.version,
    )


def _checked(company: Company, fact: CheckSucceeded, now: datetime) -> Company:
    not_found_at = None if fact.polled else company.not_found_at
    company = replace(company.with_each(_after_reads(fact.reads)), failed_checks=0, not_found_at=not_found_at)
    if company.version != fact.version:
        # The company changed during the check, so the check may have missed something: it stays due.
        return company
    return replace(
        company,
        check_at=now + CHECK_EVERY,
        checked_at=now if fact.polled else company.checked_at,
        feeds=dict(fact.feeds),
    )


def _check_failed(company: Company, first: timedelta, longest: timedelta, now: datetime) -> Company:
    failed_checks = company.failed_checks + 1
    retry_at = now + backoff.delay(company.company_id, failed_checks, first=first, longest=longest)
    return replace(company, failed_checks=failed_checks, check_at=retry_at)


def _not_found(company: Company, fact: CompanyNotFound, now: datetime) -> Company:
    """Return a company after Codat answered 404 for it: deleted, or due for the next try.

    It is deleted if the first 404 was `ABSENT_AGAIN_AFTER` or more ago, and a list since then was not doubted.
    """
    if company.not_found_at and counts_as_deleted(company.not_found_at, now, fact.believed_at):
        return _deleted(company, fact.at)
    failed = _check_failed(company, ABSENT_AGAIN_AFTER, backoff.FIRST_REFUSED, now)
    return replace(failed, not_found_at=company.not_found_at or now)


def _notifications(before: Company, after: Company, reads: ReadsEnded) -> Iterator[Notification]:
    for connection_id, connection in after.connections.items():
        known = before.connections.get(connection_id)
        had_lapsed = known is not None and known.lapsed_at is not None
        relink: dict[str, Any] = {
            "link_url": connection.link_url,
            "link_url_read_at": connection.link_url_known_at,
            "data_types": after.feeds.get(connection_id, ()),
        }
        if connection.lapsed_at and not had_lapsed:
            reason = shown(connection.reason or reads.reasons.get(connection_id, ""), LONGEST_REASON)
            yield RelinkNeeded.of_connection(after, connection, connection.lapsed_at, reason=reason, **relink)
        elif connection.is_over and not connection.is_unlinked and not (known and known.is_over):
            read_once = connection.read_once.value
            yield ConnectionDone.of_connection(after, connection, connection.status_at, read_once=read_once)
        elif connection.is_linked and not connection.lapsed_at and had_lapsed:
            since = max(connection.status_at, reads.succeeded.get(connection_id, connection.status_at))
            yield ConnectionBack.of_connection(after, connection, since)
        if (ends_at := connection.consent_ends_at) and not (known and known.consent_ends_at == ends_at):
            linked_at = connection.linked_at
            yield RelinkDueSoon.of_connection(after, connection, ends_at, linked_at=linked_at, **relink)
