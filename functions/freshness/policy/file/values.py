"""The types of the policy file's values, and the messages for invalid ones."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from importlib.resources import files
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from freshness.domain.data_types import CUSTOM, DATA_TYPES
from freshness.domain.feeds.schedule import QUEUEING_MARGIN

UTC = ZoneInfo("UTC")
_ZONES_OF_ABBREVIATIONS = {
    "BST": "Europe/London",
    "IST": "Europe/Dublin",
    "CEST": "Europe/Paris",
    "EEST": "Europe/Helsinki",
    "ET": "America/New_York",
    "EDT": "America/New_York",
    "CDT": "America/Chicago",
    "CT": "America/Chicago",
    "MDT": "America/Denver",
    "PT": "America/Los_Angeles",
    "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles",
    "AEST": "Australia/Sydney",
    "AEDT": "Australia/Sydney",
    "NZST": "Pacific/Auckland",
}
"""What is meant by names that the time zone database does not have."""
WHOLE_DAY = (time(), time())
LONGEST_DURATION = timedelta(days=366)
SHORTEST_RETENTION, LONGEST_RETENTION = timedelta(days=7), timedelta(days=3660)
_DURATION = re.compile(
    r"""
    (?P<seconds>\d{1,9})\ ?(?:seconds?|s) | (?P<minutes>\d{1,6})\ ?(?:minutes?|min|m)
    | (?P<hours>\d{1,6})\ ?(?:hours?|h) | (?P<days>\d{1,6})\ ?(?:days?|d) | (?P<weeks>\d{1,6})\ ?(?:weeks?|w)
    """,
    re.VERBOSE | re.ASCII,
)
_ISO_8601 = re.compile(
    r"""
    P(?=\d|T\d) (?:(?P<weeks>\d{1,6})W)? (?:(?P<days>\d{1,6})D)?
    (?:T(?=\d) (?:(?P<hours>\d{1,6})H)? (?:(?P<minutes>\d{1,6})M)? (?:(?P<seconds>\d{1,9})S)?)?
    """,
    re.VERBOSE | re.ASCII,
)
_EXPECTED_DURATION = 'expected a duration such as "30 minutes", "6h" or "P1D", got '
_CUSTOM_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,100}")
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_TIMES_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d) to (?:([01]\d|2[0-3]):([0-5]\d)|24:00)")


EARLIEST_YEAR = 2026
YEARS_AHEAD = 10
"""How many years of public holidays to look up."""
LONGEST_SHOWN = 80
SHORTEST_BEGINNING = 3
"""The beginning of a name must have this many characters to suggest the name."""
SIMILAR = 0.75
"""How similar a name must be to be suggested, as `difflib` measures it from 0 to 1."""
SHORTEST_PROMISE = 2 * QUEUEING_MARGIN
"""The shortest `fresh_within`: a due feed waits up to `QUEUEING_MARGIN` for its request, and then for its read."""


@dataclass(frozen=True)
class Holidays:
    """The public holidays of a country or a part of it, by its code."""

    code: str
    dates: tuple[date, ...]


def quoted(value: object) -> str:
    """Return a value of a file or of the command line as messages show it: shortened, in quotes if it is text."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that was most likely meant, ignoring case; empty if none is similar enough."""
    names = {each.casefold(): each for each in sorted(known)}
    given = name.casefold()
    if len(given) >= SHORTEST_BEGINNING and (longer := [each for each in names if each.startswith(given)]):
        return names[min(longer, key=len)]
    return next((names[each] for each in difflib.get_close_matches(given, names, n=1, cutoff=SIMILAR)), "")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a hint that suggests the nearest known name, or an empty string if none is similar."""
    found = nearest(name, known)
    return f"; did you mean {found!r}?" if found else ""


def read_duration(value: object) -> timedelta:
    """Return the duration that a text means: "6 hours", "6h" or "PT6H".

    This is the one notation of the policy file, the command line and the API.

    Raises:
        ValueError: the text means no duration.
    """
    text = value if isinstance(value, str) else ""
    match = _DURATION.fullmatch(text) or _ISO_8601.fullmatch(text)
    if match is None:
        raise ValueError(_EXPECTED_DURATION + quoted(value))
    return timedelta(**{unit: int(n) for unit, n in match.groupdict().items() if n})


def parse_duration(value: object) -> timedelta:
    """Return the duration that a text means, as `read_duration` does.

    Raises:
        ValueError: the text means none, or 0, or more than `LONGEST_DURATION`.
    """
    duration = read_duration(value)
    if not duration:
        raise ValueError(_EXPECTED_DURATION + quoted(value))
    if duration > LONGEST_DURATION:
        raise ValueError(f"expected a duration of at most {LONGEST_DURATION.days} days, got {quoted(value)}")
    return duration


def _promise(value: object) -> timedelta:
    age = parse_duration(value)
    if age < SHORTEST_PROMISE:
        minutes, wait = (each // timedelta(minutes=1) for each in (SHORTEST_PROMISE, QUEUEING_MARGIN))
        raise ValueError(f"expected at least {minutes} minutes, got {quoted(value)}: a refresh waits up to {wait}")
    return age


def _retention(value: object) -> timedelta:
    kept = read_duration(value)
    if not SHORTEST_RETENTION <= kept <= LONGEST_RETENTION:
        shortest, longest = SHORTEST_RETENTION.days, LONGEST_RETENTION.days
        raise ValueError(f"expected a duration from {shortest} to {longest} days, got {quoted(value)}")
    return kept


def _data_type(value: str) -> str:
    if value.startswith(CUSTOM):
        if not _CUSTOM_IDENTIFIER.fullmatch(value.removeprefix(CUSTOM)):
            raise ValueError(f"expected {CUSTOM} and the identifier of a custom data type, got {quoted(value)}")
        return value
    if value not in DATA_TYPES:
        raise ValueError(f"expected one of Codat's data types, got {quoted(value)}{suggestion(value, DATA_TYPES)}")
    return value


def _times_of_day(value: object) -> tuple[time, time]:
    match = _TIMES_OF_DAY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'expected two times of day such as "22:00 to 06:00", got {quoted(value)}')
    start, end = time(int(match[1]), int(match[2])), time(int(match[3] or 0), int(match[4] or 0))
    if start == end and match[3]:
        raise ValueError(f"expected two times of day that differ, got {quoted(value)}")
    return start, end


def _time_of_day(value: object) -> time:
    match = _TIME_OF_DAY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'expected a time of day such as "08:00", got {quoted(value)}')
    return time(int(match[1]), int(match[2]))


def _date(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"expected a valid date such as 2026-12-24, got {quoted(value)}") from None


def _holidays(value: object, info: ValidationInfo) -> Holidays:
    """Take the dates from `holidays` of the validation context, or look them up from its `year` on."""
    if not isinstance(value, str):
        raise ValueError(f'expected the code of a country or of a part of it, such as "GB-ENG", got {quoted(value)}')
    context = info.context or {}
    if known := context.get("holidays", {}).get(value):
        return Holidays(code=value, dates=tuple(map(date.fromisoformat, known)))
    return Holidays(code=value, dates=public_holidays(value, context.get("year", EARLIEST_YEAR)))


def time_zone(name: str) -> ZoneInfo | None:
    """Return a time zone of the package `tzdata`, which the functions have too; `None` if it has no zone of that name.

    A machine may know more names, such as `localtime`.
    """
    try:
        if not files("tzdata.zoneinfo").joinpath(name).is_file():
            return None
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _time_zone(value: object) -> ZoneInfo:
    name = str(value)
    if zone := time_zone(name):
        return zone
    # Only called after a mistake: it opens about 600 files.
    zones = available_timezones()
    meant = _ZONES_OF_ABBREVIATIONS.get(name.upper()) or next(
        (each for each in sorted(zones) if name and each.casefold().endswith(f"/{name.casefold().replace(' ', '_')}")),
        "",
    )
    hint = f"; did you mean {meant!r}?" if meant else suggestion(name, zones)
    raise ValueError(f'expected a time zone such as "Europe/London", got {quoted(value)}{hint}')


def _company_id(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        raise ValueError(f"expected Codat's id of a company, a UUID, got {quoted(value)}") from None


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Retention = Annotated[timedelta, BeforeValidator(_retention)]
Age = Annotated[timedelta, BeforeValidator(_promise)]
Name = Annotated[str, Field(min_length=1)]
DataType = Annotated[str, AfterValidator(_data_type)]
TimeOfDay = Annotated[time, BeforeValidator(_time_of_day)]
Date = Annotated[date, BeforeValidator(_date)]
PublicHolidays = Annotated[Holidays, BeforeValidator(_holidays)]
TimesOfDay = Annotated[tuple[time, time], BeforeValidator(_times_of_day)]
TimeZone = Annotated[ZoneInfo, BeforeValidator(_time_zone)]
CompanyId = Annotated[str, AfterValidator(_company_id)]
Count = Annotated[int, Field(ge=1, strict=True)]
Weight = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]


def public_holidays(code: str, first_year: int) -> tuple[date, ...]:
    """Return the holidays of a country or a part of it, such as `GB-ENG`, from a year on.

    Raises:
        ValueError: there is no such code.
    """
    # Slow to import, and not deployed: functions load a compiled policy, which has the dates.
    import holidays

    country, _, part = code.partition("-")
    try:
        found = holidays.country_holidays(
            country, subdiv=part or None, years=range(first_year, first_year + YEARS_AHEAD)
        )
    except NotImplementedError:
        parts = holidays.list_supported_countries().get(country)
        hint = f"; the parts of {country} are {', '.join(parts)}" if parts else ""
        raise ValueError(
            f'expected the code of a country such as "GB" or of a part of it such as "GB-ENG", got {code!r}{hint}'
        ) from None
    return tuple(sorted(found))
