"""What hooks say while they work: gathered for a moment, sealed to the coordinator and to this site, sent in order.

A piece is on disk, numbered, before it is sent, so that a restart sends each once. An agent that stops sends what is
there, and keeps what it cannot send for its next start; what was said in the last moment before a crash is lost. A hook
that says more than can be sent is cut short, and the log says so.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from fedyard.agent.courier import SEAL_ANEW, Courier
from fedyard.agent.state import LogPiece, State
from fedyard.client.client import Client
from fedyard.client.errors import Refused
from fedyard.clock import micros_now
from fedyard.sealed.errors import IdentityChanged, SealError
from fedyard.sealed.sealing import Address
from fedyard.wire.plurals import counted
from fedyard.wire.types import Micros, Seq

FLUSH_EVERY_S = 1.0
MAX_PIECE_BYTES = 32_768
"""Of text; sealed to two sites it stays under the hub's 64 KiB."""
MAX_WAITING_BYTES = 1_048_576
"""Of text that is not on disk yet, for each task run; more is dropped, and counted."""
KIND = "log"
TRIES = 5
ALL = 2**62


class Piece(msgspec.Struct, frozen=True):
    """What a sealed piece holds. seq: its number, so that the hub cannot reorder pieces. at: microseconds."""

    seq: Seq
    at: Micros
    text: Annotated[str, msgspec.Meta(max_length=MAX_PIECE_BYTES + 1000)]


@dataclass
class _Part:
    """What becomes one piece."""

    project_id: str
    round: int
    at: int
    lines: list[str] = field(default_factory=list)
    size: int = 0


@dataclass
class _Waiting:
    """What a task run has said and is not on disk yet."""

    parts: deque[_Part] = field(default_factory=deque)
    dropped: int = 0


class Logs:
    """The logs of a site's task runs. `add` and `keep` from any thread; `flush` from one."""

    def __init__(self, courier: Courier, state: State, client: Client, log: Callable[..., None]) -> None:
        self._courier, self._state, self._client = courier, state, client
        self._log = log
        self._lock = threading.Lock()
        self._keeping = threading.Lock()
        self._waiting: dict[tuple[str, int], _Waiting] = {}
        self._closed: set[tuple[str, int]] = set()

    def add(self, project_id: str, run_id: str, task_seq: int, round_: int, text: str) -> None:
        """A hook has said something."""
        line = text.encode(errors="replace")[:MAX_PIECE_BYTES].decode(errors="ignore")
        size = len(line.encode()) + 1
        with self._lock:
            if (run_id, task_seq) in self._closed:
                return
            waiting = self._waiting.setdefault((run_id, task_seq), _Waiting())
            if sum(part.size for part in waiting.parts) + size > MAX_WAITING_BYTES:
                waiting.dropped += 1
                return
            last = waiting.parts[-1] if waiting.parts else None
            if last is None or last.round != round_ or last.size + size > MAX_PIECE_BYTES:
                last = _Part(project_id, round_, micros_now())
                waiting.parts.append(last)
            last.lines.append(line)
            last.size += size

    def keep(self) -> None:
        """Bring what was said to disk, in its order."""
        with self._keeping:
            with self._lock:
                keys = list(self._waiting)
            for run_id, task_seq in keys:
                while (part := self._take(run_id, task_seq)) is not None:
                    text = "\n".join(part.lines)
                    piece = LogPiece(run_id, task_seq, 0, part.project_id, part.round, part.at, text)
                    self._state.logs.keep_piece(piece)

    def flush(self) -> None:
        """Bring what was said to disk, and what is there to the hub. Raises `Unavailable`; then the rest waits."""
        self.keep()
        while (piece := self._state.logs.next_piece()) is not None:
            self._send(piece)

    def _take(self, run_id: str, task_seq: int) -> _Part | None:
        """The oldest part, which gets no more lines; the last one with a word on what was lost behind it."""
        with self._lock:
            waiting = self._waiting.get((run_id, task_seq))
            if waiting is None:  # closed meanwhile
                return None
            if not waiting.parts:
                del self._waiting[run_id, task_seq]
                return None
            part = waiting.parts.popleft()
            if waiting.dropped and not waiting.parts:
                part.lines.append(f"(lost, as said too fast: {counted(waiting.dropped, 'line')})")
                waiting.dropped = 0
            return part

    def _send(self, piece: LogPiece) -> None:
        for last in (*[False] * (TRIES - 1), True):
            try:
                body = self._sealed(piece)
                self._client.write_log(
                    piece.run_id, piece.task_seq, self._courier.site_id, piece.seq, [body], round_=piece.round
                )
            except Refused as error:
                if error.token_unknown:
                    raise
                if error.problem in SEAL_ANEW and not last:
                    self._courier.directories.forget(piece.project_id)
                    continue
                self._close(piece, error.slug)
            except IdentityChanged:
                raise
            except SealError as error:
                self._close(piece, error.slug)
            else:
                self._state.logs.forget_pieces(piece.run_id, piece.task_seq, piece.seq)
            return

    def _sealed(self, piece: LogPiece) -> bytes:
        sender = self._courier.site_id
        address = Address(
            sender=sender,
            project=piece.project_id,
            run=piece.run_id,
            task=piece.task_seq,
            round=piece.round,
            kind=KIND,
        )
        to = [self._courier.directories.of(piece.project_id).coordinator, sender]
        return self._courier.pack_small(msgspec.json.encode(Piece(piece.seq, piece.at, piece.text)), address, to)

    def _close(self, piece: LogPiece, reason: str) -> None:
        """Nothing more of this log: the run is over, or the log is full, or nothing can be sealed."""
        self._log("log closed", run=piece.run_id, task=piece.task_seq, reason=reason)
        self._state.logs.forget_pieces(piece.run_id, piece.task_seq, ALL)
        with self._lock:
            self._closed.add((piece.run_id, piece.task_seq))
            self._waiting.pop((piece.run_id, piece.task_seq), None)
