"""Server-side apply: which manager has said which field (`managedFields`), and what follows from that.

Fields are paths of plain keys; an element of a keyed list is `k:{...}`, other lists are one field as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.cluster.apiserver.errors import ApiError
from tests.cluster.apiserver.patches import identity, list_keys
from tests.cluster.apiserver.store import copied

Json = dict[str, Any]
Path = tuple[str, ...]

_UNOWNED = {
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata", "f:name"),
    ("f:metadata", "f:namespace"),
    ("f:metadata", "f:uid"),
    ("f:metadata", "f:resourceVersion"),
    ("f:metadata", "f:creationTimestamp"),
    ("f:metadata", "f:generation"),
    ("f:metadata", "f:managedFields"),
    ("f:metadata", "f:deletionTimestamp"),
    ("f:metadata", "f:deletionGracePeriodSeconds"),
}


def leaves(value: Any, path: Path = (), name: str = "") -> Iterator[tuple[Path, Any]]:
    """Every field that a value says, with what it says."""
    if path in _UNOWNED:
        return
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from leaves(each, (*path, f"f:{key}"), key)
        return
    keys = list_keys(name, value) if isinstance(value, list) and value else None
    if keys is None:
        yield path, value
        return
    for each in value:
        mark = "k:" + json.dumps(dict(zip(keys, identity(each, keys), strict=True)), separators=(",", ":"))
        for key, inner in each.items():
            yield from leaves(inner, (*path, mark, f"f:{key}"), key)


def tree(paths: set[Path]) -> Json:
    """As `fieldsV1` has it."""
    root: Json = {}
    for path in sorted(paths):
        at = root
        for part in path:
            at = at.setdefault(part, {})
    return root


def paths_of(node: Json, path: Path = ()) -> set[Path]:
    if not node:
        return {path}
    return set().union(*(paths_of(inner, (*path, key)) for key, inner in node.items()))


def noted(before: Json | None, after: Json, manager: str, operation: str, at: str, said: set[Path], part: str) -> None:
    """Write into `after` that this manager said these fields; who else had said one with another value has it no more.

    part: empty, or `status`. operation: Apply, Update."""
    entries: list[Json] = copied(((before or after)["metadata"].get("managedFields")) or [])
    mine = None
    for entry in entries:
        if (entry["manager"], entry["operation"], entry.get("subresource", "")) == (manager, operation, part):
            mine = entry
        elif operation == "Update":
            left = paths_of(entry["fieldsV1"]) - said
            entry["fieldsV1"] = tree(left) if left else {}
    if mine is None:
        mine = {"manager": manager, "operation": operation, "apiVersion": after["apiVersion"], "fieldsType": "FieldsV1"}
        if part:
            mine["subresource"] = part
        mine["fieldsV1"] = {}
        entries.append(mine)
    kept = paths_of(mine["fieldsV1"]) if operation == "Update" and mine["fieldsV1"] else set()
    mine["fieldsV1"], mine["time"] = tree(said | kept), at
    after["metadata"]["managedFields"] = [entry for entry in entries if entry["fieldsV1"]]


def changed_paths(before: Json | None, after: Json) -> set[Path]:
    """Fields that are new or other than before."""
    old = dict(leaves(before)) if before else {}
    return {path for path, value in leaves(after) if path not in old or old[path] != value}


def apply(current: Json, config: Json, manager: str, *, force: bool) -> Json:
    """What an apply makes of it: fields that this manager says no more go, the others' stay.

    409 where another manager has said a field with another value, unless forced."""
    entries = current["metadata"].get("managedFields") or []
    mine = next((e for e in entries if (e["manager"], e["operation"]) == (manager, "Apply")), None)
    now, wanted = dict(leaves(current)), dict(leaves(config))
    taken = [
        (entry["manager"], path)
        for entry in entries
        if entry is not mine and entry["manager"] != manager
        for path in sorted(paths_of(entry["fieldsV1"]) & set(wanted))
        if now.get(path) != wanted[path]
    ]
    if taken and not force:
        raise _conflicting(taken)
    others: set[Path] = set().union(*(paths_of(e["fieldsV1"]) for e in entries if e is not mine))
    gone = (paths_of(mine["fieldsV1"]) if mine else set()) - set(wanted) - others
    result: Json = copied(current)
    for path in sorted(gone, reverse=True):
        _drop(result, path)
    _lay(result, copied(config))
    return result


def _conflicting(taken: list[tuple[str, Path]]) -> ApiError:
    shown = [
        (who, "".join(f".{part[2:]}" if part[0] == "f" else f"[{part[2:]}]" for part in path)) for who, path in taken
    ]
    causes = [{"reason": "FieldManagerConflict", "message": f'conflict with "{w}"', "field": f} for w, f in shown]
    several = f"{len(shown)} conflicts" if len(shown) > 1 else "1 conflict"
    said = ", ".join(f'conflict with "{who}": {field}' for who, field in shown)
    return ApiError(409, "Conflict", f"Apply failed with {several}: {said}", {"causes": causes})


def _find(items: list[Json], mark: str) -> int | None:
    wanted = json.loads(mark[2:])
    keys = tuple(wanted)
    return next((n for n, each in enumerate(items) if identity(each, keys) == tuple(wanted.values())), None)


def _drop(obj: Json, path: Path) -> None:
    at: Any = obj
    trail: list[tuple[Any, Any]] = []
    for part in path:
        place = part[2:] if part[0] == "f" else _find(at, part) if isinstance(at, list) else None
        if place is None or (isinstance(at, dict) and place not in at):
            return
        trail.append((at, place))
        at = at[place]
    for holder, place in reversed(trail):
        del holder[place]
        if holder or len(trail) < 2:
            return


def _lay(target: Json, config: Json) -> None:
    for key, value in config.items():
        old = target.get(key)
        keys = list_keys(key, value) if isinstance(value, list) and value else None
        if isinstance(value, dict) and isinstance(old, dict):
            _lay(old, value)
        elif keys and isinstance(old, list):
            for each in value:
                at = next((n for n, was in enumerate(old) if identity(was, keys) == identity(each, keys)), None)
                if at is None:
                    old.append(each)
                else:
                    _lay(old[at], each)
        else:
            target[key] = value
