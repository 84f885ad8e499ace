"""How times, spans, sizes and numbers read on a page: nothing is rounded without what it was beside it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from fedyard.wire.times import DAY_S, SECOND, time_text

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEPS = ((DAY_S, "d"), (3600, "h"), (60, "min"), (1, "s"))
NOTHING = Markup('<span class="none">\N{EN DASH}</span>')
"""In the place of what is not there."""


def span(seconds: float | None) -> str | Markup:
    """`3 min 20 s`: the two largest units that it has."""
    if seconds is None:
        return NOTHING
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 10:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    left = round(seconds)
    parts: list[str] = []
    for unit, word in _STEPS:
        count, left = divmod(left, unit)
        if count or parts:
            parts.append(f"{count} {word}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def size(count: int | None) -> str | Markup:
    """Bytes as people read them; the exact number is told beside it."""
    if count is None:
        return NOTHING
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if abs(value) < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    if unit == _UNITS[0]:
        return f"{count} {'byte' if count == 1 else 'bytes'}"
    text = f"{value:.1f}".removesuffix(".0")
    return Markup('<data value="{}" title="{} bytes">{} {}</data>').format(count, number(count), text, unit)


def number(value: float | None) -> str | Markup:
    """Whole numbers in groups of three, others with all the digits that tell them apart."""
    if value is None:
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else repr(value)


@pass_context
def when(context: Context, at: int | str | None) -> Markup:
    """A `<time>`: UTC to the second, and how long ago where the page knows what time it is (`now`, microseconds).

    at: microseconds since 1970, or RFC 3339.
    """
    if at is None:
        return NOTHING
    micros = _micros(at) if isinstance(at, str) else at
    exact = time_text(micros)
    now = context.get("now")
    shown = Markup('<time datetime="{}">{} UTC</time>').format(exact, exact[:19].replace("T", " "))
    return shown + ago(micros, now) if isinstance(now, int) else shown


def ago(micros: int, now: int) -> Markup:
    """How far from now, in words."""
    seconds = (now - micros) / SECOND
    if abs(seconds) < 1:
        return Markup(' <span class="ago">(now)</span>')
    words = span(round(abs(seconds)))
    return Markup(' <span class="ago">({})</span>').format(f"{words} ago" if seconds > 0 else f"in {words}")


def _micros(text: str) -> int:
    at = datetime.fromisoformat(text)
    return round(at.timestamp()) * SECOND if not at.microsecond else int(at.timestamp() * SECOND)


FILTERS: Mapping[str, Any] = {"span": span, "size": size, "number": number, "when": when}
