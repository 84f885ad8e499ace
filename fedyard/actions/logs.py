"""Logs of tasks, opened."""

from __future__ import annotations

from pathlib import Path

from fedyard.agent.courier import Courier
from fedyard.agent.logs import KIND, Piece
from fedyard.sealed.errors import Malformed, Replayed
from fedyard.sealed.sealing import Address
from fedyard.wire import answers as a
from fedyard.wire.types import Undecodable, decode

_NOWHERE = Path()


def piece_opened(courier: Courier, run: a.Run, piece: a.LogPiece) -> Piece:
    """A piece of a log, if it is the one that its site wrote in this place."""
    expected = Address(piece.site_id, run.project_id, KIND, run.id, piece.task_seq, piece.round)
    place = f"log {run.id}/{piece.task_seq}/{piece.site_id}/{piece.seq}"
    content = courier.unpack(piece.body, expected, place=place, target=_NOWHERE).content
    assert isinstance(content, bytes)
    try:
        opened = decode(content, Piece)
    except Undecodable:
        raise Malformed("a piece of a log that no agent has written") from None
    if opened.seq != piece.seq:
        raise Replayed(f"a piece of a log that was numbered {opened.seq}")
    return opened
