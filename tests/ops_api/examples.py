"""Bodies that a route takes, made of what its description in OpenAPI demands; the least that is valid."""

from __future__ import annotations

from typing import Any

_FORMATS = {
    "uuid": "00000000-0000-0000-0000-00000000002a",
    "date-time": "2026-03-01T12:00:00Z",
    "date": "2026-03-01",
    "time": "08:00:00",
    "email": "bo@example.org",
}


def body_of(described: dict[str, Any], method: str, path: str) -> Any:
    """Return the smallest body that a route's schema takes; None when it takes none."""
    operation = described["paths"].get(path, {}).get(method.lower(), {})
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return None if content is None else _example(described, content["schema"])


def _example(described: dict[str, Any], schema: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _example(described, described["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    chosen = next((schema[name][0] for name in ("anyOf", "oneOf", "allOf") if name in schema), None)
    if chosen is not None:
        return _example(described, chosen)
    fixed = next((schema[name] for name in ("const", "default") if name in schema), schema.get("enum", [None])[0])
    return _of_type(described, schema) if fixed is None else fixed


def _of_type(described: dict[str, Any], schema: dict[str, Any]) -> Any:
    match schema.get("type"):
        case "object":
            return {name: _example(described, schema["properties"][name]) for name in schema.get("required", [])}
        case "array":
            return [_example(described, schema["items"])] * schema.get("minItems", 0)
        case "integer":
            return int(schema.get("minimum", 1))  # the schema may say 0.0
        case "number":
            return schema.get("minimum", 1)
        case "string":
            return _FORMATS.get(schema.get("format", ""), "x" * max(1, schema.get("minLength", 1)))
    return schema.get("type") == "boolean"
