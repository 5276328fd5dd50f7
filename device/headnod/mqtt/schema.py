"""JSON Schema and the tables of docs/mqtt.md, generated from the payload structs."""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec

from headnod.mqtt import payloads
from headnod.mqtt.payloads import (
    SCHEMA,
    SCORE,
    EstimatePayload,
    HealthPayload,
    HistoryPayload,
    InfoPayload,
    ModelPayload,
    ResponsePayload,
    ShadowPayload,
    SongPayload,
)

PAYLOADS: dict[str, type[msgspec.Struct]] = {
    "state": EstimatePayload,
    "estimate": EstimatePayload,
    "song": SongPayload,
    "last_song": SongPayload,
    "health": HealthPayload,
    "info": InfoPayload,
    "model": ModelPayload,
    "shadow": ShadowPayload,
    "response": ResponsePayload,
    "history": HistoryPayload,
}
"""What is published on each topic under `<base>/<node>/`, and under `response/`; and `data` of `response/history`."""

_REF = "#/$defs/{name}"
_SECTION = re.compile(r"(<!-- (?P<name>\w+): .*? -->\n).*?(<!-- end -->)", re.DOTALL)


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of an object with one payload per topic name."""
    _, structs = msgspec.json.schema_components(dict.fromkeys(PAYLOADS.values()), ref_template=_REF)
    for name, struct in structs.items():
        fields = {field: _published(of) for field, of in struct["properties"].items()}
        # A field with a default is always published; only None is left out.
        struct["required"] = [field for field, of in struct["properties"].items() if of is fields[field]]
        struct["properties"] = fields
        struct["description"] = inspect.getdoc(getattr(payloads, name))
    score = {"type": "number", "minimum": 0, "maximum": 1, "description": "Smoothed probability of one label (0-1)."}
    structs[EstimatePayload.__name__]["patternProperties"] = {f"^{SCORE}[a-z0-9_]+$": score}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"What headnod publishes by MQTT, schema {SCHEMA}",
        "type": "object",
        "properties": {topic: {"$ref": _REF.format(name=of.__name__)} for topic, of in PAYLOADS.items()},
        "$defs": structs,
    }


def tables() -> dict[str, str]:
    """A Markdown table of the fields of each payload, by the payload's name."""
    schema = json_schema()["$defs"]
    return {of.__name__: _table(schema[of.__name__]) for of in PAYLOADS.values()}


def documented(text: str) -> str:
    """A document in which every table between `<!-- Name: ... -->` and `<!-- end -->` is generated again."""
    made = tables()
    return _SECTION.sub(lambda found: f"{found[1]}\n{made[found['name']]}\n\n{found[3]}", text)


def _table(struct: dict[str, Any]) -> str:
    needed = struct.get("required", ())
    fields = [
        (field, _type(of) + ("" if field in needed else ", may be absent"), of["description"])
        for field, of in struct["properties"].items()
    ]
    fields += [(f"{SCORE}<label>", _type(of), of["description"]) for of in struct.get("patternProperties", {}).values()]
    rows = [f"| `{field}` | {kind} | {meaning} |" for field, kind, meaning in fields]
    return "\n".join(["| field | type | meaning |", "| --- | --- | --- |", *rows])


def _published(of: dict[str, Any]) -> dict[str, Any]:
    """The type of a field where it is present."""
    for choice in of.get("anyOf", ()):
        if choice.get("type") != "null":
            return {**choice, "description": of["description"]}
    return of


def _type(of: dict[str, Any]) -> str:
    if of.get("format") == "date-time":
        return "text, a date"
    words = {"string": "text", "boolean": "true or false", "array": "list", "integer": "whole number"}
    return words.get(of["type"], of["type"])
