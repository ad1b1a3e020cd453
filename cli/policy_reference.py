"""The reference of the policy file, `docs/policy.md`: the docstrings of its schema, with an example of each key."""

import inspect
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, get_args

from freshness.domain.field_docs import docs_of
from freshness.policy.file.schema import Terms
from freshness.policy.file.table import Table
from freshness.policy.policy import Policy

_EXAMPLES = Path(__file__).parent.parent / "docs" / "policy.toml"
_INTRODUCTION = """\
# The policy file

`freshness.toml` says how old Codat's copy of your customers' data may be. `./freshness policy check` and `cdk synth`
check it. This page is written by `./freshness policy reference`, with the examples of [`policy.toml`](policy.toml).

Durations are written "30 minutes", "30m" or "PT30M", in seconds, minutes, hours, days or weeks. Platforms are named by
Codat's `integrationKey`, or by the name or the beginning of it, whatever the case: "Sage 50" is also "Sage 50 (UK)".

If several tables apply to a data type of a company, each key is taken from the last of them that sets it: `[default]`
first, then `[data_types]`, then the rules in the order of the file; within a rule, its entry for a data type is after
its other keys. `./freshness explain COMPANY DATA_TYPE` shows which table applied.
"""


def reference() -> str:
    """Return the reference as Markdown."""
    examples = tomllib.loads(_EXAMPLES.read_text(encoding="utf-8"))
    shown: set[tuple[type, str]] = set()
    sections = [_section(key, examples[key], shown) for key in Policy.model_fields]
    return "\n".join([_INTRODUCTION, *sections])


def _section(key: str, examples: Any, shown: set[tuple[type, str]]) -> str:
    """Return the section of a table of the file. Keys in `shown` are left out: earlier tables have them too."""
    annotation = Policy.model_fields[key].annotation
    model = _model_in(annotation)
    entries: list[dict[str, Any]] = examples if isinstance(examples, list) else [examples]
    is_by_name = isinstance(examples, dict) and getattr(annotation, "__origin__", None) is dict
    title = f"[[{key}]]" if isinstance(examples, list) else f"[{key}.NAME]" if is_by_name and model else f"[{key}]"
    lines = [f"## `{title}`", "", docs_of(Policy).get(key) or (inspect.getdoc(model) if model else "") or "", ""]
    if model is None or model is Terms:
        return "\n".join([*lines, "```toml", f"[{key}]", *_assignments(entries[0]), "```", ""])
    if is_by_name:
        entries = list(entries[0].values())
    lines += ["| key | meaning | example |", "| --- | --- | --- |"]
    for name, meaning in _keys(model, shown):
        example = next(_value(entry[name]) for entry in entries if name in entry)
        lines.append(f"| `{name}` | {' '.join(meaning.split())} | `{example}` |")
    return "\n".join([*lines, ""])


def _keys(model: type[Table], shown: set[tuple[type, str]]) -> Iterator[tuple[str, str]]:
    """Yield the keys of a table that were not shown yet, with their meaning."""
    docs = docs_of(model)
    for name in model.model_fields:
        definer = next(kind for kind in reversed(model.__mro__) if name in getattr(kind, "__annotations__", {}))
        if (definer, name) not in shown:
            shown.add((definer, name))
            yield name, docs[name]


def _assignments(table: dict[str, Any]) -> Iterator[str]:
    yield from (f"{_name(key)} = {_value(value)}" for key, value in table.items())


def _name(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() else f'"{key}"'


def _value(value: Any) -> str:
    """Return a value as TOML."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case dict():
            return f"{{ {', '.join(_assignments(value))} }}"
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _model_in(annotation: Any) -> type[Table] | None:
    """Return the type of table in the annotation of a key. The key may hold one table, a list, or several by name."""
    inner = (annotation, *get_args(annotation))
    return next((kind for kind in inner if isinstance(kind, type) and issubclass(kind, Table)), None)
