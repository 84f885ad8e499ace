"""Standard streams that never fail: what a program or a task says only tells about its work."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any, TextIO


class Forgiving:
    """A stream that takes whatever is said: a full disk behind it, or text that is no Unicode, costs no work."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.write(text.encode(errors="backslashreplace").decode())
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def forgive() -> None:
    """Let nothing that this process says fail, from now on and at its end."""
    for name in ("stdout", "stderr"):
        if not isinstance(getattr(sys, name), Forgiving):
            setattr(sys, name, Forgiving(getattr(sys, name)))
