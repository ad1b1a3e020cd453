"""Write the JSON Schema of each kind of event to `docs/schemas`: `make docs`."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from freshness.domain.field_docs import docs_of
from freshness.domain.transitions.notifications import KINDS, EndOfFeed, Notification

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"


def file_of(detail_type: str) -> Path:
    """Return the file with the schema of a kind of event."""
    return FOLDER / f"{detail_type.lower().replace(' ', '-')}.json"


def schema(kind: type[Notification]) -> dict[str, Any]:
    """Return the schema of the `detail` of a kind of event. Consumers must accept fields that are added later."""
    described = kind.model_json_schema(by_alias=True, mode="serialization")
    models: list[tuple[dict[str, Any], type[BaseModel]]] = [(described, kind)]
    if EndOfFeed.__name__ in described.get("$defs", {}):
        models.append((described["$defs"][EndOfFeed.__name__], EndOfFeed))
    for each, model in models:
        each.pop("additionalProperties", None)
        docs = {to_camel(name): {"description": text} for name, text in docs_of(model).items()}
        each["properties"] = {
            name: dict(sorted((_without_title(of_name) | docs.get(name, {})).items()))
            for name, of_name in each["properties"].items()
        }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **described, "title": kind.detail_type}


def _without_title(described: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in described.items() if key != "title"}


def text_of(kind: type[Notification]) -> str:
    """Return what the file of a kind of event contains."""
    return json.dumps(schema(kind), indent=2) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in KINDS:
        file_of(each.detail_type).write_text(text_of(each), encoding="utf-8")
