"""Memory that large bodies leave behind: glibc keeps it for the next one, and for ever."""

from __future__ import annotations

import ctypes
import threading

EVERY_S = 20.0


def give_back() -> None:
    """Return what is free to the system, where the C library can (glibc's malloc_trim). Takes milliseconds."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_giving_back(stop: threading.Event) -> None:
    """The same again and again, in a thread of its own, until `stop`."""

    def run() -> None:
        while not stop.wait(EVERY_S):
            give_back()

    threading.Thread(target=run, name="fedyard-memory", daemon=True).start()
