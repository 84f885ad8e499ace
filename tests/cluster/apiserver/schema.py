"""What the server's decoder says of a body: unknown fields, and values of a wrong type. By the OpenAPI definitions of
1.36 that `kubernetes-validate` brings."""

from __future__ import annotations

import functools
import importlib.resources
import json
from typing import Any

Json = dict[str, Any]
_FOLDER = "kubernetes-json-schema/v1.36.0-local/_definitions.json"
_GO = {"string": "string", "integer": "int32", "boolean": "bool", "number": "float64"}


@functools.cache
def _definitions() -> dict[str, Json]:
    found = importlib.resources.files("kubernetes_validate").joinpath(_FOLDER)
    definitions: dict[str, Json] = json.loads(found.read_bytes())["$defs"]
    return definitions


Path = tuple[str | int, ...]


class Faults:
    """What was found. unknown: fields that there are not. wrong: the decoder's sentence on the first value that it
    cannot take. missing: what the schema requires. quantities: where one stands."""

    def __init__(self) -> None:
        self.unknown: list[Path] = []
        self.wrong: str | None = None
        self.missing: list[Path] = []
        self.quantities: list[Path] = []


def shown(path: Path) -> str:
    """`spec.containers[0].name`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def decode(body: Json, schema: str, kind: str, version: str) -> Faults:
    """schema: the definition's name."""
    faults = Faults()
    _walk(body, _definitions()[schema], (), faults)
    if faults.wrong:
        faults.wrong = f'{kind} in version "{version}" cannot be handled as a {kind}: json: {faults.wrong}'
    return faults


def _resolved(node: Json) -> tuple[Json, str]:
    name = node.get("$ref", "").rpartition("/")[2]
    return (_definitions()[name], name) if name else (node, "")


def _types(node: Json) -> list[str]:
    kinds = node.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _named(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return {int: "number", float: "number", str: "string", list: "array", dict: "object"}[type(value)]


def _fits(value: Any, kinds: list[str]) -> bool:
    if isinstance(value, float):
        return "number" in kinds or ("integer" in kinds and value.is_integer())
    return {"bool": "boolean", "number": "integer"}.get(_named(value), _named(value)) in kinds or (
        _named(value) == "number" and "number" in kinds
    )


def _walk(value: Any, node: Json, path: Path, faults: Faults) -> None:
    node, name = _resolved(node)
    if value is None or name.endswith(("FieldsV1", "JSON", "RawExtension")):
        return
    if name.endswith(".Quantity"):
        faults.quantities.append(path)  # judged with the rest of its kind
        return
    choices = [kind for each in node.get("oneOf", [node]) for kind in _types(each)]
    if choices and not _fits(value, choices):
        target = next((_GO.get(kind, kind) for kind in choices if kind != "null"), "value")
        where = shown(path)
        said = f"cannot unmarshal {_named(value)} into Go struct field {where} of type {target}"
        faults.wrong = faults.wrong or said
    elif isinstance(value, dict):
        _walk_object(value, node, path, faults)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            _walk(each, node.get("items", {}), (*path, number), faults)


def _walk_object(value: Json, node: Json, path: Path, faults: Faults) -> None:
    fields = node.get("properties")
    more = node.get("additionalProperties")
    for key, each in value.items():
        if fields is not None and key in fields:
            _walk(each, fields[key], (*path, key), faults)
        elif isinstance(more, dict):
            _walk(each, more, (*path, key), faults)
        elif fields is not None:
            faults.unknown.append((*path, key))
    faults.missing += [(*path, key) for key in node.get("required", []) if value.get(key) is None]
