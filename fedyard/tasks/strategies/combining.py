"""Which updates can be combined, what each weighs, and which of their arrays are numbers to compute with."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedyard.tasks import Arrays, TaskError, Unusable, Update
from fedyard.tasks.bfloat16 import is_bfloat16

MAX_WEIGHT = 1e15
"""Of one site, so that the sum over all sites is a finite number."""

Array: TypeAlias = NDArray[Any]
Form: TypeAlias = tuple[tuple[str, tuple[int, ...], str], ...]


def fitting(updates: Sequence[Update]) -> Form:
    """The form that all updates have. Raises `Unusable` for those that are no arrays, not finite, or unlike most.

    Where as many are of one form as of another, that of the smallest site id is the right one.
    """
    if not updates:
        raise TaskError("nobody has submitted anything to aggregate")
    odd: dict[str, str] = {}
    forms: dict[Form, list[str]] = {}
    for update in updates:
        try:
            forms.setdefault(_form(update), []).append(update.site_id)
        except TaskError as error:
            odd[update.site_id] = str(error)
    right = min(forms, key=lambda form: (-len(forms[form]), min(forms[form])), default=())
    odd |= {site_id: _difference(form, right) for form, sites in forms.items() if form != right for site_id in sites}
    if odd:
        raise Unusable(odd)
    return right


def weights_of(updates: Sequence[Update], metric: str | None) -> list[float]:
    """What each update weighs: its metric of that name; all alike for None.

    Raises `Unusable` for updates without it, and `TaskError` where none has it.
    """
    if metric is None:
        return [1.0] * len(updates)
    if not any(metric in update.metrics for update in updates):
        raise TaskError(
            f"no update has the metric {metric!r} that it is weighted by: let train give it as a finite number, and "
            "the sites let it leave; or weight all sites alike (weighted_by=None)"
        )
    odd: dict[str, str] = {}
    for update in updates:
        weight = update.metrics.get(metric)
        if weight is None:
            odd[update.site_id] = f"it has no metric {metric!r} to be weighted by"
        elif not 0 <= weight <= MAX_WEIGHT:
            odd[update.site_id] = f"its {metric!r} is {weight:g}, which is no weight: 0 to {MAX_WEIGHT:g}"
    if odd:
        raise Unusable(odd)
    weights = [float(update.metrics[metric]) for update in updates]
    if not sum(weights):
        raise TaskError(f"{metric!r} is 0 at all sites: there is nothing to be weighted by")
    return weights


def mean_of(updates: Sequence[Update], weights: Sequence[float]) -> dict[str, Array]:
    """The weighted mean; one update after the other, so that large ones need not be in memory at once."""
    whole = sum(weights)
    first: Arrays = {}
    sums: dict[str, Array] = {}
    for weight, update in zip(weights, updates, strict=True):
        content = arrays_of(update)
        first = first or content
        for name, array in content.items():
            if not is_combined(array):
                continue
            part = wide(array) * (weight / whole)
            sums[name] = part if name not in sums else sums[name] + part
    return {name: narrow(sums[name], like) if name in sums else like for name, like in first.items()}


def arrays_of(update: Update) -> Arrays:
    """Raises `TaskError` for bytes."""
    if isinstance(update.content, bytes):
        raise TaskError("it is bytes, and a strategy combines arrays")
    return update.content


def is_float(array: Array) -> bool:
    return array.dtype.kind in "fc" or is_bfloat16(array.dtype)


def is_double(array: Array) -> bool:
    return array.dtype.kind == "f" and array.dtype.itemsize >= 8


def is_combined(array: Array) -> bool:
    """Floats and counters; the rest has to be equal at all sites."""
    return is_float(array) or (array.ndim == 0 and array.dtype.kind in "iu")


def wide(array: Array) -> Array:
    """In double precision."""
    return np.asarray(array, dtype=np.complex128 if array.dtype.kind == "c" else np.float64)


def narrow(array: Array, like: Array) -> Array:
    """In the type of `like`; whole numbers are rounded."""
    rounded = np.rint(array) if like.dtype.kind in "iu" else array
    return np.asarray(rounded).astype(like.dtype)


def digest_of(arrays: Mapping[str, Array], names: Sequence[str]) -> str:
    """Of the values under these names, in double precision and thus however their bytes are ordered."""
    digest = hashlib.sha256()
    for name in sorted(names):
        values = np.ascontiguousarray(wide(np.asarray(arrays[name])))
        digest.update(f"{len(name)} {name} {values.shape} {values.dtype.kind}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _form(update: Update) -> Form:
    form = []
    for name, given in sorted(arrays_of(update).items()):
        array = np.asarray(given)
        if is_float(array):
            if not np.isfinite(wide(array)).all():
                raise TaskError(f"its {name} has values that are no finite numbers")
            kind = "complex numbers" if array.dtype.kind == "c" else "numbers"
        elif is_combined(array):
            kind = "a counter"
        else:
            kind = hashlib.sha256(array.dtype.kind.encode() + _values(array)).hexdigest()
        form.append((name, array.shape, kind))
    if not form:
        raise TaskError("it has no arrays")
    return tuple(form)


def _values(array: Array) -> bytes:
    """The same for the same values, however wide their type is."""
    if array.dtype.kind in "US":
        return repr(array.tolist()).encode(errors="surrogatepass")
    return np.ascontiguousarray(array.astype("<i8")).tobytes()


def _difference(form: Form, right: Form) -> str:
    own, wanted = ({name: (shape, kind) for name, shape, kind in each} for each in (form, right))
    more, less = sorted(set(own) - set(wanted)), sorted(set(wanted) - set(own))
    if more or less:
        said = [f"{word} {', '.join(names[:3])}" for word, names in (("more:", more), ("not:", less)) if names]
        return f"its arrays are others than those of most sites ({'; '.join(said)})"
    name = next(name for name in sorted(own) if own[name] != wanted[name])
    if own[name][0] != wanted[name][0]:
        return f"its {name} has the shape {own[name][0]}, and at most sites {wanted[name][0]}"
    return f"its {name} is of another kind than at most sites, or holds other values that are no floats"


def checked(
    name: str, value: float, low: float, high: float, *, with_low: bool = True, with_high: bool = False
) -> float:
    """A strategy's setting. Raises `ValueError`."""
    fits = math.isfinite(value) and low <= value <= high
    if not fits or (value == low and not with_low) or (value == high and not with_high):
        left, right = "from" if with_low else "more than", "to" if with_high else "to less than"
        raise ValueError(f"{name} is {left} {low:g} {right} {high:g}, not {value!r}")
    return float(value)
