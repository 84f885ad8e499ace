"""Label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.cluster.apiserver.errors import ApiError, bad_request
from tests.cluster.apiserver.names import label_key_problem, label_value_problem
from tests.cluster.apiserver.resources import Resource

Json = dict[str, Any]
Matches = Callable[[Json], bool]

_SET = re.compile(r"^(\S+)\s+(in|notin)\s*\(([^)]*)\)$")
_EQUAL = re.compile(r"^([^=!\s]+)\s*(==|=|!=)\s*([^=!\s]*)$")
_NAMES = ("metadata.name", "metadata.namespace")


def _parts(text: str) -> list[str]:
    """Split at commas that stand in no parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text)]


def _unparsable(why: str) -> ApiError:
    return bad_request(f"unable to parse requirement: {why}")


def _checked(key: str, *values: str) -> None:
    problem = label_key_problem(key) or next((p for p in map(label_value_problem, values) if p), None)
    if problem:
        raise _unparsable(f'<nil>: Invalid value: "{key}": {problem}')


def _requirement(text: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(text):
        key, word = found[1], found[2]
        values = {value.strip() for value in found[3].split(",")}
        _checked(key, *values)
        return (lambda at: at.get(key) in values) if word == "in" else (lambda at: at.get(key) not in values)
    if found := _EQUAL.match(text):
        key, word, value = found[1], found[2], found[3]
        _checked(key, value)
        return (lambda at: at.get(key) != value) if word == "!=" else (lambda at: at.get(key) == value)
    if text.startswith("!"):
        key = text[1:].strip()
        _checked(key)
        return lambda at: key not in at
    if re.search(r"[\s()=!<>]", text):
        raise _unparsable(f"found '{text}', expected: in, notin, =, ==, !=, gt, lt")
    _checked(text)
    return lambda at: text in at


def label_selector(text: str) -> Matches:
    """Of `labelSelector`; 400 where it cannot be parsed."""
    if not text.strip():
        return lambda _: True
    wanted = [_requirement(part) for part in _parts(text)]
    return lambda obj: all(one(obj["metadata"].get("labels") or {}) for one in wanted)


def matches_labels(selector: Json | None, labels: Mapping[str, str] | None) -> bool:
    """A `LabelSelector` object; None selects nothing, an empty one everything."""
    if selector is None:
        return False
    at = labels or {}
    if any(at.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for each in selector.get("matchExpressions") or []:
        key, word, values = each["key"], each["operator"], each.get("values") or []
        fits = {
            "In": at.get(key) in values,
            "NotIn": at.get(key) not in values,
            "Exists": key in at,
            "DoesNotExist": key not in at,
        }[word]
        if not fits:
            return False
    return True


def _field(obj: Json, path: str, resource: Resource) -> str:
    if path == "status.successful":
        return str((obj.get("status") or {}).get("succeeded", 0))
    if path == "source":
        source = (obj.get("source") or {}).get("component", "")
        return str(source or obj.get("reportingComponent", ""))
    at: Any = obj
    for part in path.split("."):
        at = (at or {}).get(part)
    if isinstance(at, bool):
        return "true" if at else "false"
    if at is None and path in {"spec.unschedulable", "spec.hostNetwork"}:
        return "false"
    return "" if at is None else str(at)


def field_selector(text: str, resource: Resource) -> Matches:
    """Of `fieldSelector`; 400 where the resource has no such field to select by."""
    if not text.strip():
        return lambda _: True
    wanted: list[tuple[str, bool, str]] = []
    for part in text.split(","):
        found = re.match(r"^([^=!]+)(==|=|!=)(.*)$", part.strip())
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        path = found[1]
        if path not in _NAMES and path not in resource.field_selectors:
            raise bad_request(f'field label not supported: {path}: "{path}" is not a known field selector')
        wanted.append((path, found[2] != "!=", found[3]))
    return lambda obj: all((_field(obj, path, resource) == value) is same for path, same, value in wanted)
