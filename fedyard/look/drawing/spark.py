"""A line of figures, as small as a word."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT, EDGE = 120, 28, 2


def spark(about: str, values: Sequence[float | None], *, width: int = WIDTH, height: int = HEIGHT) -> Markup:
    """about: what it shows, in words. values: at equal distances; None leaves a gap. Nothing for fewer than two."""
    there = [value for value in values if value is not None]
    if len(there) < 2:
        return Markup("")
    low, high = min(0.0, *there), max(there)
    scale = (height - 2 * EDGE) / ((high - low) or 1.0)
    step = (width - 2 * EDGE) / (len(values) - 1)
    pieces: list[list[tuple[float, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((round(EDGE + place * step, 1), round(height - EDGE - (value - low) * scale, 1)))
    lines = "".join("M" + "L".join(f"{x} {y}" for x, y in piece) for piece in pieces if len(piece) > 1)
    return Markup(
        '<svg class="spark" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{about}">'
        '<path d="{d}"/></svg>'
    ).format(w=width, h=height, about=about, d=lines)
