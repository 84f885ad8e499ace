"""Updates that are not like the others: which of them an aggregation does without, and why.

The rule, for tasks that say that their updates are alike (`Task.alike`): all have the names and shapes that most have,
and what most hold under a name: real numbers, complex ones, or text; or all are bytes. Where as many are of one kind as
of another, those stay that are like the model that the round began with; where none is, those of the coordinator's own
kind, if it has trained; else those with the smallest site id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np

from fedyard.tasks import Content, TaskError
from fedyard.tasks.arrays import headers_of
from fedyard.tasks.packed import Packed
from fedyard.wire.shown import shown

MAX_NAME = 60
MAX_SHAPE = 60

Form: TypeAlias = tuple[tuple[str, tuple[int, ...], str], ...] | None
"""Name, shape and what is held, of each array by name; None for bytes."""
UNKNOWN: Form = (("", (), ""),)
"""Like no other: no array is without a name."""
_form_in: msgspec.json.Decoder[Form] = msgspec.json.Decoder(Form)
_SORTS = {"c": "complex numbers", "U": "text", "S": "text"}
_NUMBERS = "numbers"


def form_of(content: Content) -> Form:
    """The form of what a hook hands over."""
    if isinstance(content, bytes):
        return None
    arrays = {name: np.asarray(array) for name, array in content.items()}
    return _form({name: (array.shape, array.dtype) for name, array in arrays.items()})


def unlike(parts: Sequence[tuple[str, Packed]], own: str, model: Form, limit_bytes: int) -> dict[str, str]:
    """By site, why its update is not one of those that stay; also of those that cannot be read.

    parts: site id and update. own: the coordinator's site id. model: of the model that the round began with.
    """
    odd: dict[str, str] = {}
    forms: dict[Form, list[str]] = {}  # in the order of their smallest site ids, and `max` takes the first one
    for site_id, packed in sorted(parts, key=lambda part: part[0]):
        try:
            form = _form_of_packed(packed, limit_bytes)
        except TaskError as error:
            odd[site_id] = str(error)
        else:
            forms.setdefault(form, []).append(site_id)
    if len(forms) > 1:
        stays = max(forms, key=lambda form: (len(forms[form]), form == model, own in forms[form]))
        odd |= {
            site_id: _difference(form, stays) for form, sites in forms.items() if form != stays for site_id in sites
        }
    return odd


def kept_form(file: Path) -> Form:
    """As `keep_form` wrote it; `UNKNOWN` where nothing is there."""
    try:
        return _form_in.decode(file.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return UNKNOWN


def keep_form(file: Path, model: Content) -> None:
    """For the next round, whose coordinator may have started again. Raises `OSError`."""
    file.write_bytes(msgspec.json.encode(form_of(model)))


def _form_of_packed(packed: Packed, limit_bytes: int) -> Form:
    """The form of what has been packed. Raises `TaskError` for what cannot be read."""
    headers = headers_of(packed, limit_bytes)
    return None if headers is None else _form(headers)


def _form(arrays: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> Form:
    return tuple((name, shape, _SORTS.get(dtype.kind, _NUMBERS)) for name, (shape, dtype) in sorted(arrays.items()))


def _difference(form: Form, most: Form) -> str:
    """In what an update is not like those that stay."""
    if form is None or most is None:
        return "it is bytes, and others are arrays" if form is None else "it is arrays, and others are bytes"
    ours, theirs = {one[0]: one[1:] for one in form}, {one[0]: one[1:] for one in most}
    if missing := sorted(set(theirs) - set(ours)):
        return f"it has no array {_name(missing[0])}, and others do"
    if more := sorted(set(ours) - set(theirs)):
        return f"it has an array {_name(more[0])}, and others do not"
    name = next(name for name in sorted(ours) if ours[name] != theirs[name])
    (shape, sort), (shape_of_most, sort_of_most) = ours[name], theirs[name]
    if sort != sort_of_most:
        return f"its array {_name(name)} holds {sort}, and that of others {sort_of_most}"
    return f"its array {_name(name)} has the shape {_shape(shape)}, and that of others {_shape(shape_of_most)}"


def _name(name: str) -> str:
    return repr(shown(name, MAX_NAME))


def _shape(shape: tuple[int, ...]) -> str:
    return shown(str(shape), MAX_SHAPE)
