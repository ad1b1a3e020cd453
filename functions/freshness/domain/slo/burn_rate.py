"""How fast error budgets are used up, for an alarm on several windows at once.

The method is that of "Alerting on SLOs" in Google's Site Reliability Workbook, chapter 5. At a burn rate of 1 the
budget of 30 days lasts 30 days. An alarm is raised if 2 % of it is used up in an hour, or 5 % in six hours. The
workbook has short windows too, so that an alarm ends soon after the trouble. Here, the rate at the moment must be as
high instead.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from freshness.domain.slo.attainment import HOUR, Attained, Breakdown, PeriodRecord, attained, hour_of
from freshness.domain.slo.breach import BreachTime

MANY_FEEDS = 20
"""A rule with this many feeds is watched by itself: with fewer, one late feed is already a high rate."""
MOST = 0.5
"""This share of late feeds raises the alarm, even where an objective is so low that no burn rate is high."""


@dataclass(frozen=True, slots=True)
class Window:
    """A length of time, and the burn rate that is too high if it is reached both over that time and at the moment."""

    length: timedelta
    rate: float


WINDOWS = (Window(HOUR, 14.4), Window(6 * HOUR, 6))


def burn(
    records: Iterable[PeriodRecord],
    open_breaches: Iterable[BreachTime],
    objective: Callable[[str], float | None],
    now: datetime,
) -> float:
    """Return the highest burn rate as a share of the rate that is too high: from 1 on, too much is late.

    It is the rate of all rules with an objective together, or of one rule with many feeds. `records` are all hours that
    are kept, because feeds may not have been counted lately. Windows start at a whole hour: they may be up to an hour
    longer.
    """
    records, open_breaches = list(records), list(open_breaches)

    def since(length: timedelta) -> dict[str, Attained]:
        parts = attained(records, open_breaches, hour_of(now - length).start, now)
        return {name: times for (kind, name), times in parts.items() if kind is Breakdown.RULE}

    present = _present(records, open_breaches)
    watched = {rule for rule, times in present.items() if times.promised >= MANY_FEEDS * HOUR}
    highest = 0.0
    for window in WINDOWS:
        over_window = dict(_burning(since(window.length), objective, window.rate))
        for rule, at_moment in _burning(present, objective, window.rate):
            if rule is None or rule in watched:
                highest = max(highest, min(at_moment, over_window.get(rule, 0.0)))
    return highest


def _present(records: Iterable[PeriodRecord], open_breaches: Iterable[BreachTime]) -> dict[str, Attained]:
    """Return by rule how many feeds are promised, late and waiting at the moment, each as one hour of feed-time."""
    ordered = sorted(records, key=lambda record: record.period.start, reverse=True)
    feeds = next((record.feeds for record in ordered if record.feeds), {})
    present = {
        name: Attained(promised=number * HOUR) for (kind, name), number in feeds.items() if kind is Breakdown.RULE
    }
    for breach in open_breaches:
        rule = breach.group.rule
        present[rule] = present.get(rule, Attained()) + (
            Attained(waiting=HOUR) if breach.waiting else Attained(late=HOUR)
        )
    return present


def _burning(
    times: Mapping[str, Attained], objective: Callable[[str], float | None], too_high: float
) -> Iterator[tuple[str | None, float]]:
    """Yield burn rates by rule, and that of all rules by `None`, each as a share of the rate that is too high."""
    total, allowed = Attained(), 0.0
    for rule, of_rule in times.items():
        aim = objective(rule)
        if aim is not None and of_rule.counted > timedelta(0):
            yield rule, _relative(of_rule, 1 - aim, too_high)
            total, allowed = total + of_rule, allowed + (1 - aim) * (of_rule.counted / HOUR)
    if total.counted > timedelta(0):
        yield None, _relative(total, allowed / (total.counted / HOUR), too_high)


def _relative(times: Attained, allowed: float, too_high: float) -> float:
    return (times.late / times.counted) / min(too_high * allowed, MOST)
