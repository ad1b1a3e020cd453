"""Hours on some days of the week, and moments in them, in local time."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from freshness.domain.promises.calendar_days import WEEKDAYS, Day, is_one_of

DAY = timedelta(days=1)

Interval = tuple[datetime, datetime]
"""A start and an end in UTC. The start is included, the end is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """Days without `holidays`, in the local time of `zone`."""

    days: frozenset[Day]
    zone: ZoneInfo
    holidays: frozenset[date] = frozenset()

    def include(self, day: date) -> bool:
        return is_one_of(self.days, day, self.holidays)

    def moment(self, day: date, at: time) -> datetime:
        """Return, in UTC, the moment of a local time on a date.

        If clocks skip that time, return the moment of the change; if it comes twice, the first.
        """
        moment = datetime.combine(day, at, self.zone)
        before, after = _offset(moment), _offset(moment.replace(fold=1))
        at_utc = moment.astimezone(UTC)
        # PEP 495: of a time in a gap, fold 0 has the offset before it, and fold 1 the offset after it.
        return _change(moment.replace(fold=1).astimezone(UTC), at_utc, self.zone) if before < after else at_utc


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or timedelta()


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment, to the second, when a zone's offset changes between two times in UTC."""
    old = _offset(before.astimezone(zone))
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        before, after = (middle, after) if _offset(middle.astimezone(zone)) == old else (before, middle)
    return after


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours(Days):
    """A time of day, from `start` to `end`, on some days. It belongs to the day on which it starts.

    If `end` is not after `start`, it ends on the next day. Both are local times, also where clocks change for daylight
    saving time. If clocks skip one of them, the moment of the change counts.
    """

    start: time
    end: time

    def interval(self, day: date) -> Interval | None:
        """Return the interval that starts on `day`, or `None` if none does."""
        if not self.include(day):
            return None
        last = day + DAY if self.end <= self.start else day
        start, end = self.moment(day, self.start), self.moment(last, self.end)
        return (start, end) if start < end else None

    def __str__(self) -> str:
        end = f"{self.end:%H:%M}" if self.end != time() else "24:00"
        return f"{self.start:%H:%M} to {end} {days_text(self)}"


def days_text(days: Days) -> str:
    """Return days in words, such as `Mon to Fri, not on holidays, Europe/London`."""
    holidays = ", not on holidays" if days.holidays else ""
    others = sorted(str(each) for each in days.days if not isinstance(each, int))
    return f"{', '.join([*_weekdays(days.days), *others])}{holidays}, {days.zone.key}"


def _weekdays(days: frozenset[Day]) -> list[str]:
    numbers = sorted(each for each in days if isinstance(each, int))
    if len(numbers) == len(WEEKDAYS):
        return ["every day"]
    names = [WEEKDAYS[number][:3] for number in numbers]
    is_run = len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1
    return [f"{names[0]} to {names[-1]}"] if is_run else names
