"""The four kinds of PATCH."""

from __future__ import annotations

from typing import Any

from tests.cluster.apiserver.errors import ApiError, bad_request
from tests.cluster.apiserver.store import copied

Json = dict[str, Any]

LIST_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "tolerations": ("key", "effect"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "hostAliases": ("ip",),
    "subjects": ("kind", "name"),
}
"""By which fields the elements of a list are told apart, by the list's name."""


def list_keys(name: str, items: list[Any]) -> tuple[str, ...] | None:
    """None where the list is replaced as a whole. A list of `ports` is a container's or a service's."""
    if not all(isinstance(each, dict) for each in items):
        return None
    if name == "ports":
        return ("containerPort", "protocol") if any("containerPort" in each for each in items) else ("port", "protocol")
    return LIST_KEYS.get(name)


def identity(item: Json, keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(item.get(key, "TCP" if key == "protocol" else None) for key in keys)


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copied(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic(target: Any, patch: Any, name: str = "") -> Any:
    """Lists are merged by their elements' keys; `$patch: delete` and `replace` are known, other directives refused."""
    if isinstance(patch, list) and isinstance(target, list):
        return _strategic_list(target, patch, name)
    if not isinstance(patch, dict):
        return copied(patch)
    if patch.get("$patch") == "replace":
        return {key: copied(value) for key, value in patch.items() if key != "$patch"}
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith("$"):
            _strategic_directive(result, key, value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = strategic(result.get(key), value, key)
    return result


def _strategic_directive(result: Json, key: str, value: Any) -> None:
    if key.startswith("$deleteFromPrimitiveList/"):
        name = key.partition("/")[2]
        result[name] = [each for each in result.get(name) or [] if each not in value]
    elif not key.startswith("$setElementOrder/"):
        raise bad_request(f"the tests' server knows no directive {key}")


def _strategic_list(target: list[Any], patch: list[Any], name: str) -> list[Any]:
    if name == "finalizers":
        return target + [each for each in patch if each not in target]
    if not all(isinstance(each, dict) for each in patch):
        return list(patch)
    keys = list_keys(name, [each for each in patch if each.get("$patch") != "replace"])
    if any(isinstance(each, dict) and each.get("$patch") == "replace" for each in patch):
        return [copied(each) for each in patch if "$patch" not in each]
    if keys is None:
        return [copied(each) for each in patch]
    result = list(target)
    for each in patch:
        at = next((n for n, old in enumerate(result) if identity(old, keys) == identity(each, keys)), None)
        if each.get("$patch") == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            result.append(copied(each))
        else:
            result[at] = strategic(result[at], each)
    return result


def _pointer(path: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def json_patch(target: Json, operations: list[Json]) -> Json:
    """RFC 6902: add, remove, replace, test."""
    result: Json = copied(target)
    for each in operations:
        at: Any = result
        try:
            *way, last = _pointer(each["path"])
            for part in way:
                at = at[int(part)] if isinstance(at, list) else at[part]
            _apply_one(at, last, each)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            raise ApiError(
                422, "Invalid", f"the server rejected our request due to an error in our request ({error})", {}
            ) from error
    return result


def _apply_one(at: Any, last: str, operation: Json) -> None:
    word, value = operation["op"], copied(operation.get("value"))
    if isinstance(at, list):
        if word == "add":
            at.insert(len(at) if last == "-" else int(last), value)
            return
        place: Any = int(last)
    else:
        place = last
    if word == "test":
        if at[place] != value:
            raise ValueError(f"testing value {operation['path']} failed")
    elif word == "remove":
        del at[place]
    elif word in {"add", "replace"}:
        if word == "replace":
            at[place]  # a KeyError is the answer where there is nothing to replace
        at[place] = value
    else:
        raise ValueError(f"unknown operation {word}")
