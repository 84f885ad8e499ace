"""What decisions about streams need, by queries of its own before the rest: part of storage/loading_apart.py."""

from __future__ import annotations

from collections.abc import Callable

from domain import stream_records as sr
from domain.needs import Needs
from storage.reader import Reader
from storage.tables import select


def _counters(reader: Reader, needs: Needs) -> Needs:
    reader.rows(sr.Counter, f"{select(sr.Counter)} WHERE name {{any}}", needs.counters)
    return Needs()


STREAM_PARTS: tuple[tuple[frozenset[str], Callable[[Reader, Needs], Needs]], ...] = (
    (frozenset({"counters"}), _counters),
)
"""Any of these needs -> who loads what they name."""
