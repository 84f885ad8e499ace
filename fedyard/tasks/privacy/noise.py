"""Clipping and Gaussian noise on the arrays of an update.

Floating point must not tell more than the mathematics: sums of a float and a noise that is a float, too, have low bits
that give away what was added to what (Mironov, "On significance of the least significant bits for differential
privacy"). So what an update differs by is cut to whole multiples of a grain, a power of two far below the noise,
towards zero, which makes no norm larger; the noise is drawn, rounded to the same grain, and both are added as whole
numbers, exactly. That is what rounding the sum of the one and a real Gaussian number would give, so it costs nothing,
and its low bits are the same whatever the data were. Noise comes from the operating system's generator, never from a
seed. What a Box-Muller transform of 64 random bits cannot draw, beyond 9.4 standard deviations, has a probability of
less than 1e-20 for each number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedyard.clock import draw_bytes
from fedyard.tasks import Content, TaskError
from fedyard.tasks.privacy import Privacy

Floats: TypeAlias = NDArray[np.float64]

BLOCK = 131_072
"""Numbers that are worked on together: few enough for a processor's own caches, or it takes three times as long."""
GRAIN_BITS = 24
"""The grain is the power of two that is at most so many halvings of the noise's standard deviation."""
MARGIN = 1e-9
"""A norm may be larger by this than it is computed to be: sums of a million squares are known to 1e-10."""
MAX_NORM = 1e150
"""What is larger went wrong, and what it would be multiplied by has too few digits to be exact."""
NUMBERS = "fiub"


class Filtered(NamedTuple):
    """An update as it may leave. unclipped: the norm that it had before; it tells of data, and stays at the site."""

    arrays: dict[str, NDArray[Any]]
    unclipped: float


def filtered(content: object, model: Content | None, privacy: Privacy) -> Filtered:
    """The update as it may leave: of the same names, shapes and floating types; whole numbers become doubles.

    model: as it arrived. The arrays that a task was handed are no measure, since many tasks train in place: what they
    hand over would differ from itself by nothing, and leave unclipped. Raises `TaskError` for what cannot be clipped:
    bytes, text, complex numbers, masked arrays, and numbers that are not finite.
    """
    arrays = _arrays(content)
    bases = {name: _base(name, array, model if privacy.from_model else None) for name, array in arrays.items()}
    norm = _Norm()
    for name, array in arrays.items():
        for block in _differences(array, bases[name]):
            norm.add(block)
    unclipped = norm.value()
    scale = factor_of(unclipped, privacy.clip)
    deviation = privacy.clip * privacy.noise
    made = {name: _noised(array, bases[name], scale, deviation) for name, array in arrays.items()}
    return Filtered(made, unclipped)


def factor_of(norm: float, clip: float) -> float:
    """By what an update of this norm is multiplied, so that its norm is `clip` at most."""
    if not norm <= MAX_NORM:
        raise TaskError("the update holds numbers that are not finite, or too large: it cannot be clipped")
    return 1.0 if norm * (1 + MARGIN) <= clip else clip / (norm * (1 + MARGIN))


def normals(count: int, draw: Callable[[int], bytes] = draw_bytes) -> Floats:
    """So many independent standard normal numbers, by Box and Muller. draw: so many random bytes."""
    pairs = (count + 1) // 2
    words = np.frombuffer(draw(16 * pairs), dtype=np.uint64)
    lengths = np.sqrt(-2.0 * np.log((words[:pairs].astype(np.float64) + 1.0) / 2.0**64))
    angles = (words[pairs:] >> np.uint64(11)).astype(np.float64) * (2.0 * np.pi / 2.0**53)
    return np.concatenate([lengths * np.cos(angles), lengths * np.sin(angles)])[:count]


def clipped(block: Floats, scale: float, grain: float) -> Floats:
    """`block * scale` in whole multiples of the grain, none of them farther from zero."""
    return np.trunc(block * (scale / grain))


def added(numbers: Floats, noise: Floats) -> Floats:
    """The sums of whole numbers. Zero has no sign: the sum of two negative zeros would tell that both had been some."""
    return numbers + noise + 0.0


def grain_of(deviation: float) -> float:
    """The power of two that clipped numbers and noise of this standard deviation are whole multiples of."""
    return 2.0 ** (math.floor(math.log2(deviation)) - GRAIN_BITS)


class _Norm:
    """The L2 norm of everything that was added, without overflow of what is large or loss of what is small."""

    def __init__(self) -> None:
        self._largest, self._squares = 0.0, 0.0

    def add(self, block: Floats) -> None:
        largest = float(np.max(np.abs(block), initial=0.0))
        if largest == 0.0:
            return
        if not math.isfinite(largest):
            self._largest = math.nan
            return
        if largest > self._largest:
            self._squares *= (self._largest / largest) ** 2
            self._largest = largest
        scaled = block / self._largest
        self._squares += float(np.dot(scaled, scaled))

    def value(self) -> float:
        return self._largest * math.sqrt(self._squares)


def _arrays(content: object) -> dict[str, NDArray[Any]]:
    if not isinstance(content, Mapping):
        raise TaskError("this site adds noise to updates of the project, which has to hand over arrays, no bytes")
    given = dict(content.items())
    for name, array in given.items():
        if np.ma.isMaskedArray(array):
            raise TaskError(f"array {name!r} is masked, and masks do not travel: fill it")
    arrays = {name: np.asarray(array) for name, array in given.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in NUMBERS and array.dtype.name != "bfloat16":
            raise TaskError(f"this site adds noise to updates of the project, and array {name!r} holds no real numbers")
    return arrays


def _base(name: str, array: NDArray[Any], model: Content | None) -> NDArray[Any] | None:
    """What the update's array is measured from: the global model's of that name and shape; None: from zero."""
    if not isinstance(model, Mapping) or name not in model:
        return None
    found = np.asarray(model[name])
    usable = found.dtype.kind in NUMBERS or found.dtype.name == "bfloat16"
    return found if usable and found.shape == array.shape and bool(np.all(np.isfinite(found))) else None


def _differences(array: NDArray[Any], base: NDArray[Any] | None) -> Iterator[Floats]:
    flat = array.reshape(-1)
    below = None if base is None else base.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        with np.errstate(all="ignore"):  # what is not finite is refused by its norm
            block: Floats = flat[start : start + BLOCK].astype(np.float64)
            if below is not None:
                block = block - below[start : start + BLOCK].astype(np.float64)
        yield block


def _noised(array: NDArray[Any], base: NDArray[Any] | None, scale: float, deviation: float) -> NDArray[Any]:
    grain = grain_of(deviation)
    floating = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    made: NDArray[Any] = np.empty(array.size, dtype=array.dtype if floating else np.float64)
    below = None if base is None else base.reshape(-1)
    start = 0
    for block in _differences(array, base):
        noised = added(clipped(block, scale, grain), np.rint(normals(block.size) * (deviation / grain))) * grain
        if below is not None:
            noised += below[start : start + BLOCK].astype(np.float64)
        if made.dtype.kind == "f":  # a half precision float ends at 65504
            most = float(np.finfo(made.dtype).max)
            noised = np.clip(noised, -most, most)
        made[start : start + block.size] = noised
        start += block.size
    return made.reshape(array.shape)
