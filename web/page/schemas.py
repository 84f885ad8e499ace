"""JSON schemas as people read them: fields in words, and a body to begin with. Values in, values out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

Schema: TypeAlias = Mapping[str, Any]
_REF = "#/components/schemas/"
_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}
_PATTERNS = {"[0-9a-f]{8}-": "an id", "A-Za-z0-9+/": "bytes in base64"}
MAX_VALUES = 30
_MAX_DEPTH = 6


@dataclass(frozen=True)
class Field:
    """kind: what it takes, in words. refs: types that the words name. limits: bounds in words. default: as JSON."""

    name: str
    kind: str
    refs: Sequence[str]
    required: bool
    limits: str
    default: str | None


@dataclass(frozen=True)
class Type:
    """An object, as the document names it."""

    name: str
    about: str
    fields: Sequence[Field]


def short(name: str) -> str:
    """`Made` of `domain.results.Made`."""
    return name.rpartition(".")[2]


def types_of(schema: Schema, components: Mapping[str, Schema]) -> list[Type]:
    """The objects that a schema has in it, the outermost first, each once."""
    found: dict[str, Type] = {}
    waiting = list(refs_of(schema))
    while waiting:
        name = waiting.pop(0)
        if name in found or name not in components:
            continue
        made = components[name]
        required = set(made.get("required", ()))
        fields = [field(one, each, required=one in required) for one, each in made.get("properties", {}).items()]
        found[name] = Type(name, inspect.cleandoc(made.get("description", "")), fields)
        waiting.extend(refs_of(made))
    return list(found.values())


def field(name: str, schema: Schema, *, required: bool) -> Field:
    default = None if "default" not in schema else msgspec.json.encode(schema["default"]).decode()
    refs = list(dict.fromkeys(refs_of(schema)))
    return Field(name, kind(schema), refs, required, ", ".join(_limits(schema)), default)


def refs_of(schema: Any) -> Iterator[str]:
    """Names of the components that a schema names."""
    if isinstance(schema, Mapping):
        ref = schema.get("$ref")
        if isinstance(ref, str):
            yield ref.removeprefix(_REF)
        for name, value in schema.items():
            if name != "default":
                yield from refs_of(value)
    elif isinstance(schema, list):
        for one in schema:
            yield from refs_of(one)


def kind(schema: Schema) -> str:
    """What a schema takes, in words."""
    if "$ref" in schema:
        return short(schema["$ref"].removeprefix(_REF))
    if "enum" in schema:
        values = list(map(str, schema["enum"]))
        more = f" and {len(values) - MAX_VALUES} more" if len(values) > MAX_VALUES else ""
        return f"one of {', '.join(values[:MAX_VALUES])}{more}"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind(one) for one in schema["anyOf"]))
    match schema.get("type"):
        case "array":
            return f"list of {kind(schema['items'])}" if schema.get("items") else "list"
        case "object":
            inside = schema.get("additionalProperties")
            return f"object of {kind(inside)}" if isinstance(inside, Mapping) and inside.get("type") else "object"
        case "string":
            pattern = schema.get("pattern", "")
            return next((words for piece, words in _PATTERNS.items() if piece in pattern), "text")
        case str(word):
            return _WORDS.get(word, word)
        case _:
            return "anything"


def _limits(schema: Schema) -> Iterator[str]:
    for one in schema.get("anyOf", ()):
        yield from _limits(one)
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        yield f"{low} to {high}"
    elif low is not None or high is not None:
        yield f"{low} at least" if low is not None else f"{high} at most"
    if "exclusiveMinimum" in schema:
        yield f"above {schema['exclusiveMinimum']}"
    for most, least, what in (("maxLength", "minLength", "characters"), ("maxItems", "minItems", "items")):
        if most in schema and schema[most] != schema.get(least) and not _says_its_length(schema):
            yield f"{schema.get(least, 0)} to {schema[most]} {what}"


def _says_its_length(schema: Schema) -> bool:
    return any(piece in schema.get("pattern", "") for piece in _PATTERNS)


def beginning(schema: Schema, components: Mapping[str, Schema], depth: int = 0) -> Any:
    """A value to begin with: what is required, empty."""
    if "$ref" in schema:
        return beginning(components.get(schema["$ref"].removeprefix(_REF), {}), components, depth)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return beginning(schema["anyOf"][0], components, depth)
    match schema.get("type"):
        case "object":
            required = schema.get("required", ()) if depth < _MAX_DEPTH else ()
            return {name: beginning(schema["properties"][name], components, depth + 1) for name in required}
        case "array":
            needed = schema.get("minItems", 0) and depth < _MAX_DEPTH
            return [beginning(schema["items"], components, depth + 1)] if needed else []
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return ""
