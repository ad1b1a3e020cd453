"""Values: data classes that are not changed after they were created."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar, dataclass_transform, overload

Class = TypeVar("Class")


@overload
def value(cls: type[Class], /) -> type[Class]: ...


@overload
def value(*, kw_only: bool) -> Callable[[type[Class]], type[Class]]: ...


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def value(
    cls: type[Class] | None = None, /, *, kw_only: bool = True
) -> type[Class] | Callable[[type[Class]], type[Class]]:
    """Make a class a value: created by keywords, compared by its fields, hashable, and for mypy read-only.

    That it is read-only is not checked at run time too, as `dataclass(frozen=True)` does: to create a hundred such
    classes took a tenth of a cold start, and to create an instance takes twice as long.
    """
    decorate = partial(dataclass, slots=True, kw_only=kw_only, unsafe_hash=True)
    return decorate if cls is None else decorate(cls)
