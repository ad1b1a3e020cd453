"""The schemas of events, with which everything that a test publishes is compared."""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from infra.event_schemas import file_of


def check(detail_type: str, detail: dict[str, Any]) -> None:
    """Fail unless an event's detail is as its schema in `docs/schemas` says, and has no field that this lacks."""
    validator = _validator(detail_type)
    validator.validate(detail)
    assert detail.keys() == validator.schema["properties"].keys()


@cache
def _validator(detail_type: str) -> Any:
    return Draft202012Validator(json.loads(file_of(detail_type).read_text(encoding="utf-8")))
