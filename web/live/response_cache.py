"""The response cache: answers written lately, kept by the version of what they show.

To read again what has not changed is cheap.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TypeAlias

from domain.ids import Id

Key: TypeAlias = tuple[Id, Id | None]
"""What is shown, and to whom: a site or an organisation, or None for who sees everything."""

MAX_BYTES = 33_554_432


class ResponseCache:
    """The newest answer for each key. Bounded by size; what was not asked for goes first. Safe for many threads."""

    def __init__(self, most_bytes: int = MAX_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._answers: OrderedDict[Key, tuple[int, bytes]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key, version: int) -> bytes | None:
        """The answer as it is at this version, or None."""
        with self._lock:
            found = self._answers.get(key)
            if found is None or found[0] != version:
                return None
            self._answers.move_to_end(key)
            return found[1]

    def put(self, key: Key, version: int, answer: bytes) -> None:
        """Keep an answer in place of an older one."""
        with self._lock:
            before = self._answers.pop(key, None)
            if before is not None:
                self._bytes -= len(before[1])
            self._answers[key] = (version, answer)
            self._bytes += len(answer)
            while self._bytes > self._most_bytes:
                _, (_, oldest) = self._answers.popitem(last=False)
                self._bytes -= len(oldest)
