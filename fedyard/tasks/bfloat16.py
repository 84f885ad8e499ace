"""Arrays of bfloat16, which numpy itself does not know: on their way they are whole numbers of the same bits.

The type is that of the package ml-dtypes, an extra: a site that gets such arrays without it is told what to install.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedyard.tasks import TaskError

NAME = "bfloat16"
BITS = np.dtype("<u2")
"""What an array's values are on their way."""


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    return dtype.name == NAME


def bits_of(array: NDArray[Any]) -> NDArray[Any]:
    """As it travels; the order of its axes in memory stays."""
    return array.view(np.uint16).astype(BITS, copy=False)


def of_bits(name: str, bits: NDArray[Any]) -> NDArray[Any]:
    """As the task has it. Raises `TaskError` where the type is not known."""
    try:
        import ml_dtypes  # noqa: PLC0415 - an extra
    except ImportError:
        raise TaskError(
            f'array {name!r} holds bfloat16 values, which need ml-dtypes here: pip install "fedyard[bfloat16]"'
        ) from None
    return bits.astype(np.uint16, copy=False).view(ml_dtypes.bfloat16)
