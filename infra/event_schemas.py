"""Write the JSON Schema of each kind of event to `docs/schemas`: `make docs`."""

import json
from pathlib import Path
from typing import Any

from freshness.domain.transitions.notifications import KINDS, Notification

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"


def file_of(detail_type: str) -> Path:
    """Return the file with the schema of a kind of event."""
    return FOLDER / f"{detail_type.lower().replace(' ', '-')}.json"


def schema(kind: type[Notification]) -> dict[str, Any]:
    """Return the schema of the `detail` of a kind of event. Consumers must accept fields that are added later."""
    described = kind.model_json_schema(by_alias=True, mode="serialization")
    for each in (described, *described.get("$defs", {}).values()):
        each.pop("additionalProperties", None)
        for described_property in each.get("properties", {}).values():
            described_property.pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **described, "title": kind.detail_type}


def text_of(kind: type[Notification]) -> str:
    """Return what the file of a kind of event contains."""
    return json.dumps(schema(kind), indent=2) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in KINDS:
        file_of(each.detail_type).write_text(text_of(each), encoding="utf-8")
