"""What a site writes down about its own conversation with the hub: the other half of the books.

One JSON line for each fact, in the order in which it happened. A site writes `Asked` before it sends a command for
the first time and `Answered` when it has the answer that it goes by; what its inbox brings is `Got`. When the hub's
history went back, `Recovered` lies between what was got before and after.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from config.clock import Micros


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="fact"):
    """A fact. at: microseconds."""

    at: Micros


class Asked(Line, frozen=True, tag="asked"):
    """About to send a command for the first time. id: the command's, derived from its key.

    sha256, to, ordinal: of a message; its recipients, and its number among those that its sender sends one after the
    other (0: it does not wait for its turn).
    """

    id: str
    kind: str
    sha256: str = ""
    to: list[str] = []
    ordinal: int = 0
    through: int = 0
    """Of an acknowledgement: the last entry that it covers."""


class Answered(Line, frozen=True, tag="answered"):
    """The answer to a command. decided: the hub said what became of it, not only that it has it.

    made: the ids of what it made. slug: the problem, if it is one.
    """

    id: str
    status: int
    decided: bool
    made: list[str] = []
    slug: str = ""
    tries: int = 1


class Got(Line, frozen=True, tag="got"):
    """An inbox entry, each time that it came."""

    seq: int
    kind: str
    message_id: str | None = None
    sender: str | None = None
    sha256: str | None = None
    run_id: str | None = None
    token_id: str | None = None
    """Of the token that the entry says is revoked."""


class Recovered(Line, frozen=True, tag="recovered"):
    """The hub's history had gone back: the site reads on behind read_after, and common_seq is the newest entry that
    both have; what lies between belongs to the history that is gone."""

    history_id: str
    common_seq: int
    read_after: int


AnyLine = Asked | Answered | Got | Recovered
_decoder = msgspec.json.Decoder(AnyLine)


class Ledger:
    """A site's file, for the threads that act for it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        self._lock = threading.Lock()

    def write(self, line: AnyLine) -> None:
        """The line is with the operating system when this returns."""
        with self._lock:
            self._file.write(msgspec.json.encode(line) + b"\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[AnyLine]:
    """The lines of a file."""
    with path.open("rb") as lines:
        for line in lines:
            yield _decoder.decode(line)
