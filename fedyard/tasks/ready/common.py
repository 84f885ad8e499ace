"""What the ready tasks have in common: their parameters, the smallest count, and updates that do not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from fedyard.tasks import Arrays, Content, Context, TaskError, Unusable, Update
from fedyard.tasks.reading.tables import Table

Floats = NDArray[np.float64]
P = TypeVar("P", bound=msgspec.Struct)
T = TypeVar("T")

Column = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Least = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
MAX_COUNT = 1e15
MADE_FOR = "made_for"


def chosen(parameters: Mapping[str, object], kind: type[P], model: str) -> P:
    """Raises `TaskError` for parameters that are none of this task's."""
    try:
        return msgspec.convert(parameters, kind)
    except msgspec.ValidationError as error:
        names = f"; there are {', '.join(kind.__struct_fields__)}" if "unknown field" in str(error) else ""
        raise TaskError(f"parameters of {model}: {error}{names}") from None


def mark_of(model: str, parameters: msgspec.Struct) -> str:
    """What tells a task's own model from others: a run's next task is handed that of the task before it."""
    return f"{model} {hashlib.sha256(msgspec.json.encode(parameters, order='deterministic')).hexdigest()[:16]}"


def own(model: Content | None, mark: str) -> Arrays | None:
    """The model if a task of this kind made it with these very parameters, else None: then it begins."""
    if model is None or isinstance(model, bytes) or MADE_FOR not in model:
        return None
    return model if words(model, MADE_FOR) == [mark] else None


def least_of(context: Context, asked: int) -> int:
    """The smallest count that may leave: the larger one of the task's and this site's own."""
    return max(asked, context.min_count)


def enough(table: Table, least: int) -> None:
    """Raises `TaskError` for a site that has too few rows to take part at all."""
    if len(table) < least:
        raise TaskError(f"this site has fewer than {least} rows: its part would show who they are, and is not sent")


def truth(table: Table, name: str, positive: str | None) -> Floats:
    """A column of yes and no as 1 and 0, NaN where it is missing. positive: the label that counts as yes.

    Raises `TaskError` for a column with other values, where `positive` does not say which of them is meant.
    """
    labels = table.labels(name)
    yes, no = ("1", "true"), ("0", "false")
    if positive is None:
        for row, label in enumerate(labels):
            if label is not None and label not in yes and label not in no:
                raise TaskError(
                    f"{table.place(row)}, column `{name[:60]}`: neither 0 nor 1, true nor false: name the value that "
                    "counts as 1 in the task's parameters (`positive`)"
                )
        return np.array([np.nan if label is None else float(label in yes) for label in labels])
    return np.array([np.nan if label is None else float(label == positive) for label in labels])


def usable(updates: Sequence[Update], checked: Callable[[Arrays], T]) -> dict[str, T]:
    """By site, what the updates hold. Raises `Unusable` for those that `checked` raises a `TaskError` for."""
    if not updates:
        raise TaskError("nobody has submitted anything to aggregate")
    parts: dict[str, T] = {}
    odd: dict[str, str] = {}
    for update in updates:
        try:
            parts[update.site_id] = checked(arrays_of(update.content))
        except TaskError as error:
            odd[update.site_id] = str(error)
    if odd:
        raise Unusable(odd)
    return parts


def alike(parts: Mapping[str, T], own: str, kind: Callable[[T], Hashable], difference: Callable[[T, T], str]) -> None:
    """Raises `Unusable` for sites whose updates are of another kind than those of most sites.

    kind: what all must agree in. difference: in what the first is other than the second, which is of most. Where as
    many are of one kind as of another, the coordinator's own is the right one.
    """
    kinds: dict[Hashable, list[str]] = {}
    for site_id, part in sorted(parts.items()):
        kinds.setdefault(kind(part), []).append(site_id)
    right = max(kinds.values(), key=lambda sites: (len(sites), own in sites))
    odd = [site_id for sites in kinds.values() if sites is not right for site_id in sites]
    if odd:
        raise Unusable({site_id: difference(parts[site_id], parts[right[0]]) for site_id in odd})


def combined(one: tuple[float, float, float], other: tuple[float, float, float]) -> tuple[float, float, float]:
    """Count, mean and sum of squares about it of both together (Chan, Golub and LeVeque 1979)."""
    count = one[0] + other[0]
    if not count:
        return one
    apart = other[1] - one[1]
    mean = one[1] + apart * other[0] / count
    return count, mean, one[2] + other[2] + apart * apart * one[0] * other[0] / count


def arrays_of(content: Content) -> Arrays:
    if isinstance(content, bytes):
        raise TaskError("it holds bytes where arrays are expected")
    return content


def floats(arrays: Arrays, name: str, shape: tuple[int, ...]) -> Floats:
    """Finite numbers of that shape. Raises `TaskError`."""
    found = arrays.get(name)
    if found is None or found.shape != shape or found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        raise TaskError(f"its {name} are no finite numbers of the shape {shape}")
    return found.astype(np.float64)


def counts(arrays: Arrays, name: str, shape: tuple[int, ...]) -> Floats:
    """Numbers of people of that shape. Raises `TaskError`."""
    found = floats(arrays, name, shape)
    if (found < 0).any() or (found > MAX_COUNT).any():
        raise TaskError(f"its {name} are no counts")
    return found


def words(arrays: Arrays, name: str) -> list[str]:
    """A list of text. Raises `TaskError`."""
    found = arrays.get(name)
    if found is None or found.ndim != 1 or found.dtype.kind != "U":
        raise TaskError(f"its {name} are no list of names")
    return [str(word) for word in found]


def text_array(texts: Sequence[str]) -> NDArray[Any]:
    """As it travels; an empty list, too."""
    return np.array(list(texts), dtype=np.str_) if texts else np.empty(0, dtype="<U1")
