"""Prices and caps on spending in the policy file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator

from freshness.policy.file.table import LocatedError

_AMOUNT = r"(\d{1,9}(?:\.\d{1,9})?) ([A-Z]{3})"
_PER_REFRESH = re.compile(_AMOUNT + " per refresh")
_PER_GB = re.compile(_AMOUNT + r" per GB, (\d{1,6}(?:\.\d{1,6})?) MB a refresh")
_A_MONTH = re.compile(_AMOUNT + " a month")
_MB_PER_GB = 1000


@dataclass(frozen=True)
class Money:
    """An amount in a currency, by its ISO 4217 code."""

    amount: float
    currency: str

    def __str__(self) -> str:
        return f"{self.amount:,.2f} {self.currency}"


def _price(value: object) -> Money:
    text = value if isinstance(value, str) else ""
    if match := _PER_REFRESH.fullmatch(text):
        amount = float(match[1])
    elif match := _PER_GB.fullmatch(text):
        amount = float(match[1]) * float(match[3]) / _MB_PER_GB
    else:
        expected = '"0.002 USD per refresh" or "0.50 USD per GB, 3 MB a refresh"'
        raise ValueError(f"expected a price such as {expected}, got {value!r}")
    if not amount:
        raise ValueError(f"expected a price above 0, got {value!r}; leave it out if reading is free")
    return Money(amount, match[2])


def _a_month(value: object) -> Money:
    match = _A_MONTH.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'expected an amount such as "50 USD a month", got {value!r}')
    return Money(float(match[1]), match[2])


PricePerRefresh = Annotated[Money, BeforeValidator(_price)]
AmountAMonth = Annotated[Money, BeforeValidator(_a_month)]


def check_spending(prices: Mapping[str, Money], spending: Mapping[str, Money]) -> None:
    """Raise `LocatedError` if a cap has no price or is below the price of a refresh, or if currencies differ."""
    currency = next((price.currency for price in prices.values()), "")
    for platform, price in prices.items():
        if price.currency != currency:
            raise LocatedError(("prices", platform), f"expected {currency}, as in the prices above")
    for platform, cap in spending.items():
        location = "budget", "spending", platform
        if platform not in prices:
            raise LocatedError(location, f"expected the price of {platform} in [prices] too")
        if cap.currency != currency:
            raise LocatedError(location, f"expected {currency}, as in [prices]")
        if cap.amount < prices[platform].amount:
            raise LocatedError(location, f"expected at least the price of a refresh, {prices[platform].amount:g}")
