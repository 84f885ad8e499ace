"""What a job measured, made to fit: a training of days is not lost for the length of its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

SHORT: Final = 64
"""A list of so many values is not thinned."""
_NAMES: Final = ("train_metrics", "val_metrics", "test_metrics")
_MATRIX: Final = "confusion_matrix"


class Unkept(Exception):
    """This is nothing that a job measures, or cannot be kept."""


class Measured(msgspec.Struct, frozen=True):
    """As JSON, empty where it was not said. note: what was left out, for people; empty: nothing."""

    train_metrics: str = ""
    val_metrics: str = ""
    test_metrics: str = ""
    confusion_matrix: str = ""
    note: str = ""


def measured(said: Mapping[str, Any], limit_bytes: int) -> Measured:
    """Within so many bytes: a matrix that takes more than half of them goes, then every other value of long lists does,
    the newest staying, as often as it takes. Raises `Unkept` for what is neither an object nor a list, or has values
    that cannot be kept.
    """
    values = {name: said.get(name) for name in _NAMES}
    texts, matrix = _texts(values), _text(_MATRIX, said.get(_MATRIX))
    notes = []
    if len(matrix) > limit_bytes // 2:
        notes.append(f"the confusion matrix has {len(matrix)} bytes and was left out")
        matrix = ""
    every, whole = 1, sum(map(len, texts.values()))
    while sum(map(len, texts.values())) + len(matrix) > limit_bytes:
        thinner = {name: _thinned(value) for name, value in values.items()}
        if thinner == values:
            texts = dict.fromkeys(texts, "")
            notes.append(f"metrics have {whole} bytes and were left out")
            break
        values, every = thinner, 2 * every
        texts = _texts(values)
    else:
        if every > 1:
            notes.append(
                f"metrics had {whole} bytes: of long lists every {every}th value is kept, the newest among them"
            )
    return Measured(**texts, confusion_matrix=matrix, note="; ".join(notes))


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(name, value) for name, value in values.items()}


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, dict | list):
        raise Unkept(f"`{name}` is neither an object nor a list")
    try:
        return msgspec.json.encode(value).decode()
    except (OverflowError, RecursionError, UnicodeError):
        raise Unkept(f"`{name}` has a number or a text that cannot be kept") from None


def _thinned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _thinned(one) for name, one in value.items()}
    if not isinstance(value, list):
        return value
    kept = value[::-2][::-1] if len(value) > SHORT else value
    return [_thinned(one) for one in kept]
