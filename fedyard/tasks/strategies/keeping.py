"""What an adaptive strategy keeps from one round to the next: a file for each round, made of the one before.

A round's file is found by run and round, so that a repeated round begins with what it began with before. A new run
that goes on from a model of an earlier one finds the file by that model. Where there is none, m and v begin anew, and
the log says so.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedyard.tasks import Arrays, Context, TaskError
from fedyard.tasks.strategies.combining import Array, digest_of
from fedyard.wire.durable import whole

MAX_FILES = 4
"""Of one strategy in one folder: this round's and the one before, and the newest of other runs."""


@dataclass(frozen=True)
class Moments:
    """By the names of arrays: the running mean of steps, and of their squares."""

    m: Mapping[str, Array]
    v: Mapping[str, Array]


class Kept:
    """The files of one strategy, for one call of `aggregate`."""

    def __init__(self, context: Context, strategy: str) -> None:
        self._context, self._strategy = context, strategy
        self._used: Path | None = None

    def before(self, start: Arrays, names: Sequence[str]) -> Moments | None:
        """What the round before left; None where nothing did."""
        last = self._file(self._context.round - 1)
        if last.exists():
            return self._read(last, names)
        digest = digest_of({name: np.asarray(start[name]) for name in names}, names)
        for file in self._all():
            if _digest(file) == digest:
                self._context.log(f"{self._strategy}: goes on with the moments of the run that made this model")
                return self._read(file, names)
        self._context.log(f"{self._strategy}: its moments begin anew: none are kept here of the round's model")
        return None

    def keep(self, moments: Moments, model: Arrays) -> None:
        """Write those of this round, which made `model`, and forget the oldest."""
        digest = digest_of({name: np.asarray(model[name]) for name in moments.m}, list(moments.m))
        arrays = {f"m:{name}": array for name, array in moments.m.items()}
        arrays |= {f"v:{name}": array for name, array in moments.v.items()}
        file = self._file(self._context.round)
        with whole(file) as handle, open(handle, "wb", closefd=False) as stream:
            np.savez(stream, made=np.array(digest), **arrays)  # type: ignore[arg-type]
        kept = [file, *([self._used] if self._used else [])]
        others = [one for one in self._all() if one not in kept]
        for one in others[MAX_FILES - len(kept) :]:
            one.unlink()

    def _file(self, number: int) -> Path:
        run = hashlib.sha256(self._context.run_id.encode()).hexdigest()[:16]
        return self._context.keep / f"{self._strategy}-{run}-{number}.npz"

    def _all(self) -> list[Path]:
        """The newest first."""
        files = self._context.keep.glob(f"{self._strategy}-*.npz")
        return sorted(files, key=lambda file: (-file.stat().st_mtime_ns, file.name))

    def _read(self, file: Path, names: Sequence[str]) -> Moments:
        self._used = file
        found = _arrays(file)
        try:
            return Moments({name: found[f"m:{name}"] for name in names}, {name: found[f"v:{name}"] for name in names})
        except KeyError as error:
            raise TaskError(f"{file.name} in context.keep has no {error}: it was kept of another model") from None


def _arrays(file: Path) -> dict[str, Array]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        raise TaskError(f"{file.name} in context.keep is damaged: remove it, and the moments begin anew") from None


def _digest(file: Path) -> str:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return str(arrays["made"])
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return ""
