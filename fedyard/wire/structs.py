"""Structs that many threads may read. msgspec (0.22) prepares a Struct when it is first decoded, and marks it as
prepared before it is: a second thread that decodes it meanwhile ends the whole process with a segmentation fault."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import msgspec

_lock = threading.Lock()


def prepare_structs() -> None:
    """Prepare every Struct that has been defined so far; to be called before threads decode any. What msgspec cannot
    decode at all is left alone."""
    with _lock:
        for kind in _below(msgspec.Struct):
            with suppress(TypeError, NameError):
                msgspec.json.Decoder(kind)


def _below(kind: type) -> Iterator[type]:
    one: type
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)
