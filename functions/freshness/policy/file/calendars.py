"""Public holidays by the code of a country, or of a part of it."""

from datetime import date

YEARS_AHEAD = 10
"""How many years of dates to look up."""


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
