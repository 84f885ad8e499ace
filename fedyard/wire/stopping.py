"""How a program is asked to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue


def on_stop_signal(stop: Callable[[], None]) -> None:
    """Call `stop` once, in a thread of its own, when SIGTERM or SIGINT comes; to be called on the main thread."""
    handler = called_apart(stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def called_apart(stop: Callable[[], None]) -> Callable[..., None]:
    """A signal's handler: the first signal has `stop` called, in a thread of its own.

    Setting an Event in the handler itself waits for ever if the signal interrupted that Event's own code, as a
    second one does that follows at once: the kernel sends several when a parent dies. A SimpleQueue may be
    interrupted anywhere.
    """
    asked: SimpleQueue[None] = SimpleQueue()

    def follow() -> None:
        asked.get()
        stop()

    threading.Thread(target=follow, name="stop", daemon=True).start()
    return lambda *_: asked.put(None)
