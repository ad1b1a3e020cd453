"""Whether a request for fresh data can be accepted, and when it is expected to be satisfied."""

from collections.abc import Iterable

from freshness.app.ensure.problems import Problem, RelinkNeeded, codat_unavailable, seconds
from freshness.app.services import Services
from freshness.aws.dynamodb.control import DispatchState
from freshness.domain.api_limits import ApiLimits
from freshness.domain.companies.company import Company
from freshness.domain.companies.pause import in_force
from freshness.domain.feeds.feed import Feed
from freshness.domain.feeds.freshness_request import FreshnessRequest, OnLate, ReadEstimate, estimate
from freshness.domain.promises.promise import Promise
from freshness.planning.budgets import on_demand_call_budget, renewed_at


def require_supported(request: FreshnessRequest, feeds: list[Feed], company: Company) -> None:
    """Raise a `Problem` if the company cannot have one of the data types."""
    mine = request.feeds_of(feeds, company)
    unsupported = {feed.data_type for feed in mine if feed.is_unsupported}
    unknown = set(request.data_types) - {feed.data_type for feed in mine}
    if not unsupported | unknown:
        return
    known = sorted({feed.data_type for feed in feeds if not feed.is_unsupported})
    raise Problem(
        422,
        "unsupported-data-type",
        f"The company has no {', '.join(sorted(unsupported | unknown))}. It has {', '.join(known) or 'none yet'}.",
    )


def require_possible(
    services: Services, request: FreshnessRequest, feeds: list[Feed], company: Company, account: DispatchState
) -> None:
    """Raise a `Problem` if the data cannot be read now, or with `OnLate.FAIL` not in time."""
    mine = [feed for feed in request.feeds_of(feeds, company) if not feed.is_as_of(request.not_before)]
    unlinked = {
        connection.platform
        for feed in mine
        if (connection := company.connections[feed.connection_id]) and connection.is_unlinked
    }
    if unlinked:
        names = ", ".join(sorted(unlinked))
        raise Problem(409, "unlinked", f"You unlinked {names} at Codat: it can be read once it is linked again.")
    blocked = {
        feed.connection_id: company.connections[feed.connection_id]
        for feed in mine
        if feed.is_blocked(company.connections[feed.connection_id])
    }
    if blocked:
        raise RelinkNeeded({connection_id: each.platform for connection_id, each in sorted(blocked.items())})
    off = sorted(feed.data_type for feed in mine if _promise(services, feed, company).off)
    if off:
        raise Problem(422, "off", f"The policy turns off {', '.join(off)}.")
    now = services.clock()
    if pause := in_force(account.pause, now) or in_force(company.pause, now):
        raise Problem(409, "paused", f"An operator paused the company's refreshes, or all of them: {pause}.")
    to_queue = [feed for feed in mine if not request.is_served(feed)]
    if to_queue:
        _require_calls(services, len(to_queue), account.limits)
    if request.on_late is OnLate.FAIL and mine:
        ahead = estimated(services, request, mine, company)
        if ahead.obstacle:
            raise Problem(
                422,
                "deadline-impossible",
                f"The deadline cannot be met: {ahead.obstacle}.",
                extra={"expectedAt": ahead.expected_at},
            )


def _promise(services: Services, feed: Feed, company: Company) -> Promise:
    return services.policy.promise(feed.data_type, company, company.connections[feed.connection_id])


def _require_calls(services: Services, wanted: int, limits: ApiLimits) -> None:
    """Raise a `Problem` if Codat accepts no calls now, or if the callers' share of the quota is spent."""
    now = services.clock()
    if until := limits.stopped_before(now):
        raise codat_unavailable("Codat accepts no calls, because a limit is reached", until, now)
    left = on_demand_call_budget(services.policy.budget, limits, now)
    if wanted > left:
        raise Problem(
            429,
            "share-spent",
            "The share of Codat's daily quota that is reserved for such requests is spent.",
            retry_after=seconds(renewed_at(now) - now),
            extra={"remaining": left},
        )


def estimated(services: Services, request: FreshnessRequest, feeds: Iterable[Feed], company: Company) -> ReadEstimate:
    """Return when the last feed is expected to be fresh, and the lowest probability of any to be so in time."""
    now = services.clock()
    each = [
        estimate(request, feed, _promise(services, feed, company), now)
        for feed in feeds
        if not feed.is_as_of(request.not_before)
    ]
    return ReadEstimate(
        expected_at=max((ahead.expected_at for ahead in each), default=now),
        probability=min((ahead.probability for ahead in each), default=1.0),
        obstacle=next((ahead.obstacle for ahead in each if ahead.obstacle), ""),
    )
