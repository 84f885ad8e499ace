"""Who did what when: a bar for each span of time, and the same as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedyard.look.filters import span as span_text
from fedyard.look.states import tone_of
from fedyard.wire.times import SECOND, time_text

WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 960, 190, 12, 24, 22, 14
MAX_SPANS_AS_TABLE = 400
_NAME_LETTERS = 26
_STEPS_S = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    21600,
    43200,
    86400,
    172800,
    604800,
)
_MAX_TICKS = 8


@dataclass(frozen=True)
class Span:
    """begin, end: microseconds. state: a word of the API's, of which the colour follows. about: what it was part of."""

    begin: int
    end: int
    state: str
    about: str = ""


@dataclass(frozen=True)
class Line:
    name: str
    spans: Sequence[Span]
    href: str = ""


def timeline(caption: str, lines: Sequence[Line], *, id: str = "timeline") -> Markup:
    """An SVG over the time from the first beginning to the last end, and its spans as a table that opens. Nothing, if
    there are none. id: of what opens, so that it stays open when the page renews it."""
    spans = [span for line in lines for span in line.spans]
    if not spans:
        return Markup("")
    begin, end = min(span.begin for span in spans), max(span.end for span in spans)
    end = max(end, begin + SECOND // 10)
    height = TOP + ROW * len(lines) + 6
    drawn = Markup("").join(
        [*_grid(begin, end, height), *(_line(line, place, begin, end) for place, line in enumerate(lines))]
    )
    about = (
        f"{caption}: from {time_text(begin)} on, {span_text((end - begin) / SECOND)}. The table below says the same."
    )
    return Markup(
        '<div class="drawing" role="region" aria-label="{caption}" tabindex="0">'
        '<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="group" aria-label="{about}">'
        "{drawn}</svg></div>\n{table}"
    ).format(caption=caption, about=about, width=WIDTH, height=height, drawn=drawn, table=_as_table(caption, lines, id))


def _x(at: int, begin: int, end: int) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * (at - begin) / (end - begin), 1)


def _grid(begin: int, end: int, height: int) -> list[Markup]:
    length_s = (end - begin) / SECOND
    step_s = next((step for step in _STEPS_S if length_s / step <= _MAX_TICKS), length_s / _MAX_TICKS)
    drawn = []
    for place in range(int(length_s / step_s) + 1):
        x = _x(begin + int(place * step_s * SECOND), begin, end)
        text = f"+{span_text(place * step_s)}" if place else time_text(begin)[11:19]
        anchor = "start" if x < WIDTH - 60 else "end"
        drawn.append(
            Markup(
                '<path class="grid" d="M{x} {top}V{bottom}"/>'
                '<text class="tick" x="{x}" y="13" text-anchor="{anchor}">{text}</text>'
            ).format(x=x, top=TOP - 6, bottom=height, text=text, anchor=anchor)
        )
    return drawn


def _line(line: Line, place: int, begin: int, end: int) -> Markup:
    y = TOP + ROW * place
    short = line.name if len(line.name) <= _NAME_LETTERS else f"{line.name[: _NAME_LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"
    name = Markup('<text x="4" y="{}"><title>{}</title>{}</text>').format(y + 12, line.name, short)
    if line.href:
        name = Markup('<a href="{}">{}</a>').format(line.href, name)
    bars = Markup("").join(_bar(line.name, span, y, begin, end) for span in line.spans)
    return name + bars


def _bar(name: str, span: Span, y: int, begin: int, end: int) -> Markup:
    x = _x(span.begin, begin, end)
    width = max(2.0, round(_x(span.end, begin, end) - x - 0.6, 1))
    words = f"{name}, {span.about + ', ' if span.about else ''}{span.state.replace('_', ' ')}: {_took(span)}"
    return Markup('<rect class="bar {}" x="{}" y="{}" width="{}" height="{}" rx="2"><title>{}</title></rect>').format(
        tone_of(span.state), x, y + 2, width, BAR, words
    )


def _took(span: Span) -> str:
    return str(span_text((span.end - span.begin) / SECOND))


def _as_table(caption: str, lines: Sequence[Line], ident: str) -> Markup:
    every = [(line, span) for line in lines for span in line.spans]
    rows = Markup("\n").join(
        Markup('<tr><th scope="row">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>').format(
            line.name,
            span.about,
            span.state.replace("_", " "),
            time_text(span.begin)[:19].replace("T", " "),
            _took(span),
        )
        for line, span in every[:MAX_SPANS_AS_TABLE]
    )
    left = len(every) - MAX_SPANS_AS_TABLE
    more = Markup("<p>{} spans more are in the drawing alone.</p>").format(left) if left > 0 else Markup("")
    return Markup(
        '<details class="as-table" id="{id}-table"><summary>The same as a table</summary>'
        '<div class="wide" role="region" aria-label="{caption} as a table" tabindex="0"><table class="dense">'
        '<caption>{caption}</caption><thead><tr><th scope="col">Who</th><th scope="col">Of</th>'
        '<th scope="col">State</th><th scope="col">Begin (UTC)</th><th scope="col">Took</th></tr></thead>'
        "<tbody>\n{rows}\n</tbody></table></div>{more}</details>"
    ).format(id=ident, caption=caption, rows=rows, more=more)
