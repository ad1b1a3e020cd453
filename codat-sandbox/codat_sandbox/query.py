"""Codat's query language and ordering, applied to lists of JSON objects.

A query consists of conditions `property operator value`, joined by `&&` (which binds tighter) and `||`, and grouped by
parentheses. Operators: `=`, `!=`, `~` (contains), `>`, `>=`, `<`, `<=`. Values, times included, are compared as text.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias, TypeVar

from codat_sandbox.errors import BadRequestError

Item: TypeAlias = Mapping[str, object]
Matches: TypeAlias = Callable[[Item], bool]
_Item = TypeVar("_Item", bound=Item)

_TOKEN = re.compile(r"\s*(?:(&&)|(\|\|)|([()])|([^\s=!~<>&|()]+)\s*(!=|>=|<=|=|~|>|<)\s*([^&|()]*))")


def parse(query: str, kind: str, properties: Collection[str] | None = None) -> Matches:
    """Return a function that says whether an object matches `query`.

    `kind` names the objects in error messages. Only `properties` can be queried, or any property if it is None. A
    property that an object does not have equals no value.

    Raises:
        BadRequestError: the query is malformed, or names a property that cannot be queried.
    """
    parser = _Parser(_tokens(query), kind, properties)
    matches = parser.any_of()
    parser.expect_end()
    return matches


def order(items: Sequence[_Item], order_by: str, kind: str, properties: Collection[str]) -> Sequence[_Item]:
    """Return `items` sorted by the property `order_by`, or descending if it begins with `-`.

    Missing and null values come first in ascending order.

    Raises:
        BadRequestError: `order_by` is not one of `properties`.
    """
    name = order_by.removeprefix("-")
    if name not in properties:
        raise _unresolved(name, kind)
    return sorted(items, key=lambda item: str(item.get(name) or ""), reverse=order_by.startswith("-"))


def _tokens(query: str) -> list[tuple[str, ...]]:
    tokens = []
    position = 0
    text = query.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _malformed()
        tokens.append(tuple(group.strip() for group in match.groups() if group is not None))
        position = match.end()
    return tokens


class _Parser:
    """A parser of tokens: `("&&",)`, `("||",)`, `("(",)`, `(")",)` or `(property, operator, value)`."""

    def __init__(self, tokens: list[tuple[str, ...]], kind: str, properties: Collection[str] | None) -> None:
        self._tokens = tokens[::-1]
        self._kind = kind
        self._properties = properties

    def any_of(self) -> Matches:
        alternatives = [self._all_of()]
        while self._next_is("||"):
            alternatives.append(self._all_of())
        return lambda item: any(matches(item) for matches in alternatives)

    def expect_end(self) -> None:
        if self._tokens:
            raise _malformed()

    def _all_of(self) -> Matches:
        conditions = [self._condition()]
        while self._next_is("&&"):
            conditions.append(self._condition())
        return lambda item: all(matches(item) for matches in conditions)

    def _condition(self) -> Matches:
        if self._next_is("("):
            inner = self.any_of()
            if not self._next_is(")"):
                raise _malformed()
            return inner
        if not self._tokens or len(self._tokens[-1]) != 3:
            raise _malformed()
        name, operator, value = self._tokens.pop()
        if self._properties is not None and name not in self._properties:
            raise _unresolved(name, self._kind)
        compare = _OPERATORS[operator]
        return lambda item: compare(_text(item.get(name)), value)

    def _next_is(self, token: str) -> bool:
        if self._tokens and self._tokens[-1] == (token,):
            self._tokens.pop()
            return True
        return False


_OPERATORS: Mapping[str, Callable[[str | None, str], bool]] = {
    "=": lambda actual, value: actual == value,
    "!=": lambda actual, value: actual != value,
    "~": lambda actual, value: actual is not None and value in actual,
    ">": lambda actual, value: actual is not None and actual > value,
    ">=": lambda actual, value: actual is not None and actual >= value,
    "<": lambda actual, value: actual is not None and actual < value,
    "<=": lambda actual, value: actual is not None and actual <= value,
}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _malformed() -> BadRequestError:
    return BadRequestError("Error parsing query - Malformed query.")


def _unresolved(name: str, kind: str) -> BadRequestError:
    return BadRequestError(f"Error parsing query - Could not resolve property {name} on {kind}")
