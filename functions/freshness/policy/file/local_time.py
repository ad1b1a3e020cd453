"""Local time in the policy file: days, time zones, and calendars of dates that are left out."""

from collections.abc import Collection
from datetime import date
from functools import cached_property
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from freshness.domain.companies.company import Company
from freshness.domain.promises.calendar_days import WEEKDAYS, Day
from freshness.policy.file import values
from freshness.policy.file.days import DayName, parse_day
from freshness.policy.file.table import Table


class Timing(Table):
    """The days on which something applies, in local time."""

    days: tuple[DayName, ...] = Field(WEEKDAYS, min_length=1)
    """The days; all by default. They are days of the week, days of each month, or dates.

    Of the month: "1st", "last day", "month end", "first Monday", "last business day", each also with "of the month".
    Business days are Monday to Friday, without the dates of the calendar.
    """
    time_zone: values.TimeZone = values.UTC
    """The time zone of companies whose tags name none; UTC by default."""
    calendar: str | None = None
    """The calendar whose dates are left out, for companies whose tags name none."""

    @cached_property
    def parsed_days(self) -> frozenset[Day]:
        """The days as values: 0 for Monday, a date, or a day of each month."""
        return frozenset(map(parse_day, self.days))


class Calendar(Table):
    """Dates on which hours and deadlines do not hold. Tables and tags refer to a calendar by its name."""

    holidays: values.PublicHolidays | None = None
    """The public holidays of a country (ISO 3166) or a part of it, for ten years from the last `cdk deploy`."""
    dates: tuple[values.Date, ...] = ()
    """Further dates."""

    @model_validator(mode="after")
    def _has_dates(self) -> Self:
        if not (self.holidays or self.dates):
            raise ValueError("expected at least one of holidays, dates")
        return self

    @cached_property
    def all_dates(self) -> frozenset[date]:
        return frozenset(self.dates).union(self.holidays.dates if self.holidays else ())


class LocalTime(Table):
    """The tags of companies at Codat that say what their local time is."""

    time_zone_tag: str | None = Field(None, min_length=1)
    """The name of the tag with the time zone."""
    calendar_tag: str | None = Field(None, min_length=1)
    """The name of the tag with the name of a calendar of this file."""

    @cached_property
    def tag_names(self) -> tuple[str, ...]:
        """The names of the tags that say the time zone and the calendar, as far as they are set."""
        return tuple(filter(None, (self.time_zone_tag, self.calendar_tag)))

    def unknown(self, company: Company, calendars: Collection[str]) -> tuple[str, ...]:
        """Return the tags of a company that name no time zone or calendar, such as `zone = Londn`."""
        zone = company.tags.get(self.time_zone_tag or "")
        calendar = company.tags.get(self.calendar_tag or "")
        unknown = []
        if zone and values.time_zone(zone) is None:
            unknown.append(f"{self.time_zone_tag} = {zone}")
        if calendar and calendar not in calendars:
            unknown.append(f"{self.calendar_tag} = {calendar}")
        return tuple(unknown)

    def zone(self, company: Company, default: ZoneInfo) -> ZoneInfo:
        """Return the time zone that a company's tag names, or the default if it names none."""
        name = company.tags.get(self.time_zone_tag or "")
        return (values.time_zone(name) if name else None) or default
