"""Values: data classes that are not changed after they were created."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform, overload

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
    classes took a tenth of a cold start, and to create an instance takes twice as long. For the same reason, they share
    one function that represents them.
    """

    def decorated(cls: type[Class]) -> type[Class]:
        cls.__repr__ = _represented  # type: ignore[method-assign]
        return dataclass(slots=True, kw_only=kw_only, unsafe_hash=True, repr=False)(cls)

    return decorated if cls is None else decorated(cls)


def _represented(instance: Any) -> str:
    """Return the class and fields of a value, as `repr` of a data class does."""
    named = (f"{each.name}={getattr(instance, each.name)!r}" for each in fields(instance) if each.repr)
    return f"{type(instance).__qualname__}({', '.join(named)})"
