"""A text as a QR code, for a machine that has a camera and no clipboard in common."""

from __future__ import annotations

from dataclasses import dataclass

import segno

QUIET = 4
"""Modules of white around it, as the standard asks."""


@dataclass(frozen=True)
class Qr:
    """side: in modules, with what is white around it. path: of an SVG whose units are modules."""

    side: int
    path: str


def qr_of(text: str) -> Qr:
    """Modules that lie beside each other are one piece of the path."""
    matrix = segno.make(text, error="m", micro=False).matrix
    pieces = []
    for y, row in enumerate(matrix):
        x = 0
        while x < len(row):
            width = 0
            while x + width < len(row) and row[x + width]:
                width += 1
            if width:
                pieces.append(f"M{x + QUIET} {y + QUIET}h{width}v1h-{width}z")
            x += width + 1
    return Qr(len(matrix) + 2 * QUIET, "".join(pieces))
