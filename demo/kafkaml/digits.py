"""Real data: 1,797 handwritten digits of 8 by 8 dots (UCI), which come with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SEED = 12
BRIGHTEST = 16.0
SHAPE = (8, 8)
CLASSES = 10


@dataclass(frozen=True)
class Digits:
    """images: (count, 8, 8), dots from 0 to 1; labels: which digit each is."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)

    def part(self, start: int, end: int) -> Digits:
        return Digits(self.images[start:end], self.labels[start:end])


def digits() -> Digits:
    """All of them, in the same mixed order each time."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes a second, and others need the shape alone

    source = load_digits()
    order = np.random.default_rng(SEED).permutation(len(source.images))
    images = (np.asarray(source.images)[order] / BRIGHTEST).astype(np.float32)
    return Digits(images, np.asarray(source.target, dtype=np.int64)[order])
