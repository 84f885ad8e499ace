"""What is wrong with a site.toml, for people: the line, the key with its section's real name, and what to write.

tomllib keeps no lines of values and msgspec no names of sections, so both are found by trying: the line is the one
after which the file, cut there, has the value; the section is the one that the same fault stays with, alone.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, TypeAlias

import msgspec

_AT: Final = re.compile(r"^(?P<said>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"\[(\d+|\.\.\.)\]|([^.\[\]]+)")
_UNKNOWN: Final = re.compile(r"^Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING: Final = re.compile(r"^Object missing required field `(.*)`$")
_EXPECTED: Final = re.compile(r"^Expected `([a-z| ]+)`(?:, got `([a-z]+)`| (>|>=|<|<=) ([^`]+))?$")
_PATTERN: Final = "matching regex"
_MAX_LINES: Final = 2000
"""A longer file is not cut at each of its lines to find one."""

_SPELLED: Final = {
    "hub": "the hub's address with http:// or https://, and no user in it, e.g. https://hub.example:8443",
    "tasks.allow": "package.module:Class, e.g. mean_dose:MeanDose for the class MeanDose of mean_dose.py",
    "project.*.allow": "package.module:Class or the name of a model that comes with Fedyard, with @sha256: and all 64 "
    "digits of a digest behind it where only that code may run",
    "transfer_hosts": "host or host:port, e.g. s3.example",
    "allow_plain_http": "host or host:port, e.g. hub.example:8080",
}
"""How values that have a pattern are written."""
_KINDS: Final = {
    "int": "a whole number, without quotes",
    "float": "a number, without quotes",
    "bool": "true or false, without quotes",
    "str": 'text in quotes, "..."',
    "array": 'a list, ["..."]',
    "object": "a section of its own",
}
_GOT: Final = {
    "int": "a number",
    "float": "a number with a point",
    "bool": "true or false",
    "str": "text in quotes",
    "array": "a list",
    "object": "a section",
    "time": "a time without quotes",
}
_BOUNDS: Final = {">": "a number above", ">=": "a number of at least", "<": "a number below", "<=": "a number up to"}
_REMEDIES: Final = (
    ("Invalid value", 'text stands in quotes ("..."); true and false are written small; 8 GB is 8_000_000_000'),
    ("Cannot overwrite a value", "this key, or this section, stands there twice: keep one"),
    ("twice", "put all lines of a section under one [...]"),
    ("Unescaped", "write a path with \\ in single quotes: '...'"),
    ("escape", "write a path with \\ in single quotes: '...'"),
    ("Illegal character", 'a text ends with a " on its line'),
    ("end of a table declaration", 'a name with spaces or points stands in quotes: [project."breast cancer"]'),
    ("Expected '=' after a key", 'a line is key = value; a key with spaces stands in quotes, "my key" = "..."'),
    ("Unclosed array", "a list ends with ]"),
    ("Expected newline", "one key = value a line"),
)
"""What to do about what tomllib says."""

Keys: TypeAlias = tuple[str | int, ...]


def said_of_text(error: tomllib.TOMLDecodeError | UnicodeDecodeError) -> str:
    """What is wrong with a file that is no TOML. tomllib says the line by itself."""
    if isinstance(error, UnicodeDecodeError):
        line = error.object[: error.start].count(b"\n") + 1
        return f"line {line}: it is not in UTF-8: save it as UTF-8"
    remedy = next((remedy for said, remedy in _REMEDIES if said in str(error)), "")
    return f"{error}{remedy and ': '}{remedy}"


def said_of_settings(error: Exception, kind: type, found: Mapping[str, Any] | None = None, text: str = "") -> str:
    """What is wrong with settings of this kind. found: as they were read of `text`; None: they are from no file."""
    parts = _AT.match(str(error))
    assert parts is not None  # it matches everything
    said, path = parts["said"], _steps(parts["path"] or "")
    if found is not None:
        path = _named(error, kind, found, path)
    unknown, missing = _UNKNOWN.match(said), _MISSING.match(said)
    line = line_of(text, (*path, unknown[1]) if unknown else path)
    where = _dotted(path)
    if unknown:
        told = _of_unknown(unknown[1], where, _at(found, (*path, unknown[1])), _fields(kind, path))
    elif missing:
        told = f"{_dotted((*path, missing[1]))} is missing{_misplaced(missing[1], path, found)}"
    else:
        told = f"{where}{where and ': '}{_of_value(said, path, kind)}"
    return f"{f'line {line}: ' if line else ''}{told}"


def _steps(path: str) -> Keys:
    return tuple(
        key or (index if index == "..." else int(index))  # an unnamed one stays "..."
        for index, key in _STEP.findall(path)
    )


def _dotted(path: Sequence[str | int]) -> str:
    return "".join(f"[{one}]" if isinstance(one, int) else f"{'.' if i else ''}{one}" for i, one in enumerate(path))


def _at(found: Any, path: Keys) -> Any:
    """What stands there; None if nothing does."""
    for step in path:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            return None
    return found


def _named(error: Exception, kind: type, found: Mapping[str, Any], path: Keys) -> Keys:
    """The path with the names of sections that msgspec shows as `...`: with which alone it says the same."""
    for place, step in enumerate(path):
        table = _at(found, path[:place])
        if step == "..." and isinstance(table, dict):
            for name in table:
                try:
                    msgspec.convert(_with(found, path[:place], {name: table[name]}), kind)
                except msgspec.ValidationError as again:
                    if str(again) == str(error):
                        path = (*path[:place], name, *path[place + 1 :])
                        break
    return path


def _with(found: Any, path: Keys, value: object) -> Any:
    if not path:
        return value
    if isinstance(found, list):
        return [_with(one, path[1:], value) if i == path[0] else one for i, one in enumerate(found)]
    return {**found, path[0]: _with(found[path[0]], path[1:], value)}


def line_of(text: str, path: Keys) -> int | None:
    """The line that this value begins in, from 1; None if the file does not say it."""
    lines = text.splitlines()
    if not path or len(lines) > _MAX_LINES:
        return None
    whole = 0  # lines up to which the file is whole and does not have it
    for count in range(1, len(lines) + 1):
        try:
            cut = tomllib.loads("\n".join(lines[:count]) + "\n")
        except tomllib.TOMLDecodeError:
            continue  # in the midst of a value of several lines
        if _at(cut, path) is not None:
            return whole + 1
        whole = count
    return None


def _type_at(kind: type, path: Keys) -> Any:
    """What belongs in this place; a value that may be left out counts as what it is when it is there."""
    at: Any = _without_none(msgspec.inspect.type_info(kind))
    for step in path:
        match at:
            case msgspec.inspect.StructType():
                at = next((one.type for one in at.fields if one.encode_name == step), None)
            case msgspec.inspect.DictType():
                at = at.value_type
            case msgspec.inspect.ListType():
                at = at.item_type
        at = _without_none(at)
    return at


def _without_none(at: Any) -> Any:
    if not isinstance(at, msgspec.inspect.UnionType):
        return at
    return next((one for one in at.types if not isinstance(one, msgspec.inspect.NoneType)), at)


def _fields(kind: type, path: Keys) -> list[str]:
    at = _type_at(kind, path)
    return [one.encode_name for one in at.fields] if isinstance(at, msgspec.inspect.StructType) else []


def _of_unknown(name: str, where: str, value: object, names: Sequence[str]) -> str:
    here = f"[{where}]" if where else "the top of the file"
    told = f"{name!r} is not known in {here}"
    close = get_close_matches(name[:100], names, n=1)
    if close:
        return f"{told}; is it {close[0]}?"
    if where.startswith("project.") and isinstance(value, dict):
        return f'{told}; a project\'s name with a point in it stands in quotes: [project."breast.cancer"]'
    return f"{told}; there are {', '.join(sorted(names))}"


def _misplaced(name: str, path: Keys, found: Mapping[str, Any] | None) -> str:
    """Where a key of the top was written below a section: it belongs to that one then."""
    below = [table for table, values in (found or {}).items() if isinstance(values, dict) and name in values]
    return f": it stands in [{below[0]}]; move it above the first [...]" if below and not path else ""


def _of_value(said: str, path: Keys, kind: type) -> str:
    pattern = ".".join("*" if i == 1 and path[0] == "project" else str(one) for i, one in enumerate(path))
    spelled = _SPELLED.get(re.sub(r"\.[0-9]+$", "", pattern))
    if _PATTERN in said and spelled:
        return f"write {spelled}"
    at = _type_at(kind, path)
    if isinstance(at, msgspec.inspect.LiteralType):
        quoted = [f'"{one}"' for one in sorted(map(str, at.values))]
        return f"write one of {', '.join(quoted)}"
    if (expected := _EXPECTED.match(said)) is None:
        return said
    kinds = [one for one in expected[1].split(" | ") if one != "null"]
    if expected[3]:
        return f"write {_BOUNDS[expected[3]]} {expected[4]}"
    wanted = " or ".join(_KINDS.get(one, one) for one in kinds)
    return f"write {wanted}{f', not {_GOT[expected[2]]}' if expected[2] in _GOT else ''}"
