"""Fedota's files, with numpy's arrays in them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float64]]
INITIAL_FILES, CHECKPOINT, MODEL = "initFiles", "fl_checkpoint", "model.h5"
AGGREGATED, AGGREGATED_WEIGHT = "fl_agg_checkpoint", "fl_agg_checkpoint_weight"
ROUND_FILES = "roundFiles"


def packed(arrays: Arrays) -> bytes:
    """An .npz."""
    target = io.BytesIO()
    np.savez(target, **arrays)  # type: ignore[arg-type] # its names are ours
    return target.getvalue()


def unpacked(content: bytes) -> Arrays:
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        return {name: found[name].astype(np.float64) for name in found.files}


def read(path: Path) -> Arrays:
    return unpacked(path.read_bytes())


def overwrite(path: Path, content: bytes) -> None:
    """In place, as Fedota does, for the file may be mounted by itself; nothing is left of what was longer."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(content)
        file.truncate()


def summed(all_arrays: Iterable[Arrays]) -> Arrays:
    found: Arrays = {}
    for arrays in all_arrays:
        for name, array in arrays.items():
            found[name] = found[name] + array if name in found else array
    return found
