"""Room for large messages, which come without having been asked for: so much for each sender, so much for all.

They lie in the folder `messages`, in one of their own for each sender, and go after some days. What has no room is not
fetched: it stays at the hub until it expires there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import msgspec

from fedyard.agent.paths import under
from fedyard.sealed.errors import NoRoom
from fedyard.wire.times import DAY_S, SECOND


class Messages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Large messages of other sites. limit_bytes: of all together; sender_limit_bytes: of one sender's.

    keep_days: after that they go.
    """

    limit_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**50)] = 10_737_418_240
    sender_limit_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**50)] = 2_147_483_648
    keep_days: Annotated[float, msgspec.Meta(gt=0, le=3650)] = 30.0


class Room:
    """The folder `messages` of one site. Safe to use from many threads."""

    def __init__(self, folder: Path, settings: Messages) -> None:
        self._folder, self._settings = folder, settings
        self._lock = threading.Lock()
        self._promised: dict[Path, int] = {}

    @contextmanager
    def place(self, sender: str, message_id: str, size: int, now: int) -> Iterator[Path]:
        """Where a message of `size` bytes may be put. now: microseconds since 1970. Raises `seal_errors.NoRoom`."""
        target = under(self._folder, sender, message_id)
        with self._lock:
            self.forget_old(now)
            self._check(target.parent, size - _size(target))
            self._promised[target] = size
        try:
            yield target
        finally:
            with self._lock:
                del self._promised[target]

    def forget_old(self, now: int) -> None:
        """Messages that have lain here for so many days go."""
        before = now / SECOND - self._settings.keep_days * DAY_S
        for path in self._files():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()

    def _check(self, sender: Path, size: int) -> None:
        there = {path: _size(path) for path in self._files()}
        for path, promised in self._promised.items():
            there[path] = max(promised, there.get(path, 0))
        of_sender = sum(bytes_ for path, bytes_ in there.items() if path.parent == sender)
        limits = self._settings
        for whose, known, limit, name in (
            ("this sender", of_sender, limits.sender_limit_bytes, "sender_limit_bytes"),
            ("all senders", sum(there.values()), limits.limit_bytes, "limit_bytes"),
        ):
            if known + size > limit:
                raise NoRoom(
                    f"a message of {size} bytes of site {sender.name}: with the {known} bytes of {whose} that lie in "
                    f"messages/ that is more than messages.{name} allows, {limit}"
                )

    def _files(self) -> list[Path]:
        return [path for path in self._folder.rglob("*") if path.is_file()]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
