"""Weights on the wire: Kafka-ML pickles each array, so that is what is written, and read with the least trust.

An array's pickle names three things of numpy. Here they stand for classes of ours, which take down what would be called
and call nothing; of that an array of numbers is made, or none. Every other name is refused.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

LARGEST_BYTES = 10_000_000
"""Of one record, by the topics' own limit."""
_NUMBERS = "fiub"
_ORDERS = "<>|="


class NotAnArrayError(ValueError):
    """Bytes that are no pickled array of numbers."""


def dumped(array: NDArray[Any]) -> bytes:
    return pickle.dumps(np.ascontiguousarray(array), protocol=4)


def loaded(content: bytes) -> NDArray[Any]:
    """`NotAnArrayError` of anything but one array of numbers."""
    if len(content) > LARGEST_BYTES:
        raise NotAnArrayError(f"{len(content)} bytes are more than a record may have")
    try:
        found = _Arrays(io.BytesIO(content)).load()
        if isinstance(found, _Array):
            return found.made()
    except Exception as error:  # noqa: BLE001 - whatever bytes of a stranger's lead to
        raise NotAnArrayError(f"no pickled array of numbers: {error}") from None
    raise NotAnArrayError("what was pickled is no array")


class _Type:
    """What stands for a dtype: its code, and the order of its bytes."""

    def __init__(self, code: str, _aligned: object = None, _copied: object = None) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def made(self) -> np.dtype[Any]:
        if self.code[:1] not in _NUMBERS or not self.code[1:].isdigit() or self.order not in _ORDERS:
            raise NotAnArrayError("its elements are no numbers")
        return np.dtype(self.order + self.code)


class _Array:
    """What stands for an array: what numpy would have been given to fill it with."""

    def __init__(self, _kind: object, _shape: object, _code: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def made(self) -> NDArray[Any]:
        _version, shape, kind, in_fortran, content = self.state
        if not isinstance(kind, _Type) or not isinstance(content, bytes):
            raise NotAnArrayError("its elements are no numbers")
        flat: NDArray[Any] = np.frombuffer(content, kind.made())
        shaped: NDArray[Any] = flat.reshape(tuple(shape), order="F" if in_fortran else "C")
        return shaped.copy()


_NAMES = {
    ("numpy", "ndarray"): "the class, which `_reconstruct` is given",
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}
"""Those that numpy 1 and 2 write."""


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """One of the few that are allowed."""
        return _NAMES[module, name] if (module, name) in _NAMES else self._refuse(f"{module}.{name}")

    def persistent_load(self, _pid: Any) -> NoReturn:
        self._refuse("something from elsewhere")

    @staticmethod
    def _refuse(what: str) -> NoReturn:
        raise NotAnArrayError(f"{what} was pickled")
