"""What an adaptive strategy keeps from one round to the next: one file in `context.keep`, which counts with the model.

It is of the round before where run and round say so, and of the run that made this round's model where the model does:
a new run that begins with the last one's model goes on with its moments. Otherwise m and v begin anew, and the log says
so. What was kept of a failed or repeated call is not there: `context.keep` is as it was (docs/tasks.md).
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedyard.tasks import Arrays, Context, TaskError
from fedyard.tasks.strategies.combining import Array, digest_of, is_double
from fedyard.wire.durable import whole


@dataclass(frozen=True)
class Moments:
    """By the names of arrays: the running mean of steps, and of their squares."""

    m: Mapping[str, Array]
    v: Mapping[str, Array]


class Kept:
    """The file of one strategy, for one call of `aggregate`."""

    def __init__(self, context: Context, strategy: str) -> None:
        self._context, self._strategy = context, strategy
        self._file = context.keep / f"{strategy}.npz"

    def before(self, start: Arrays, names: Sequence[str]) -> Moments | None:
        """What the round before left; None where nothing did. Raises `TaskError` for a damaged file."""
        if not self._file.exists():
            self._say("its moments begin anew: none are kept here")
            return None
        try:
            with np.load(self._file, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in arrays.files}
            mine = str(found["run"]) == self._context.run_id and int(found["round"]) == self._context.round - 1
            if not mine and str(found["made"]) != digest_of(start, names):
                self._say("its moments begin anew: what is kept here is of another model than this round begins with")
                return None
            kept = Moments({name: found[f"m:{name}"] for name in names}, {name: found[f"v:{name}"] for name in names})
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            raise TaskError(
                f"{self._file.name} in context.keep is damaged, or of other arrays: without it the moments begin anew"
            ) from None
        if not mine:
            self._say("goes on with the moments of the run that made this model")
        return kept

    def keep(self, moments: Moments, model: Arrays) -> None:
        """Write those of this round, which made `model`, in the place of the last ones."""
        about = {
            "run": np.array(self._context.run_id),
            "round": np.array(self._context.round),
            "made": np.array(digest_of(model, list(moments.m))),
        }
        arrays = {f"m:{name}": _held(array, model[name]) for name, array in moments.m.items()}
        arrays |= {f"v:{name}": _held(array, model[name]) for name, array in moments.v.items()}
        with whole(self._file) as handle, open(handle, "wb", closefd=False) as stream:
            np.savez(stream, **about, **arrays)  # type: ignore[arg-type]

    def _say(self, text: str) -> None:
        self._context.log(f"{self._strategy}: {text}")


def _held(array: Array, of: Array) -> Array:
    """Of a model in double precision in that, of others in single: as large as the model, and no larger."""
    return np.asarray(array, dtype=np.float64 if is_double(np.asarray(of)) else np.float32)
