"""Rows and columns of states as a table that is read at a glance: rounds and sites, above all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedyard.look.states import tone_of

_ICON = Markup(
    '<svg class="icon" aria-hidden="true" focusable="false" width="16" height="16"><use href="#i-{}"/></svg>'
)


@dataclass(frozen=True)
class Cell:
    """state: a word of the API's. text: what is read beside its icon, as seconds; the word itself, where nothing is
    said. about: more, shown on pointing and read out. straggler: it held up its column."""

    state: str
    text: str = ""
    about: str = ""
    straggler: bool = False
    href: str = ""


@dataclass(frozen=True)
class Heading:
    """Of a row or a column. about: a second line."""

    text: str
    href: str = ""
    about: str = ""
    state: str = ""


def matrix(
    caption: str,
    columns: Sequence[Heading],
    rows: Sequence[tuple[Heading, Sequence[Cell | None]]],
    *,
    corner: str = "",
    more: str = "",
) -> Markup:
    """A whole table. rows: each with one cell for each column, None for what had no part. corner: names the rows."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(_heading(one)) for one in columns)
    body = Markup("\n").join(_row(heading, cells) for heading, cells in rows)
    return Markup(
        '<div class="wide" role="region" aria-label="{caption}" tabindex="0"><table class="matrix dense">'
        '<caption>{caption} <span class="more">{more}</span></caption>\n'
        '<thead><tr><th scope="col">{corner}</th>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    ).format(caption=caption, more=more, corner=corner, head=head, body=body)


def _row(heading: Heading, cells: Sequence[Cell | None]) -> Markup:
    shown = Markup("").join(Markup("<td>{}</td>").format(_cell(one)) for one in cells)
    return Markup('<tr><th scope="row">{}</th>{}</tr>').format(_heading(heading), shown)


def _heading(heading: Heading) -> Markup:
    text = Markup("{}").format(heading.text)
    if heading.href:
        text = Markup('<a href="{}">{}</a>').format(heading.href, text)
    if heading.state:
        tone = tone_of(heading.state)
        word = heading.state.replace("_", " ")
        text += Markup(' <span class="state {}">{}{}</span>').format(tone, _ICON.format(tone), word)
    return text + Markup('<br/><span class="more">{}</span>').format(heading.about) if heading.about else text


def _cell(cell: Cell | None) -> Markup:
    if cell is None:
        return Markup(
            '<span class="cell blank"><span aria-hidden="true">·</span><span class="unseen">no part</span></span>'
        )
    tone, word = tone_of(cell.state), cell.state.replace("_", " ")
    slow = Markup('<span class="unseen">, the straggler</span>') if cell.straggler else Markup("")
    read = (
        Markup('<span class="unseen">{} </span>{}').format(word, cell.text) if cell.text else Markup("{}").format(word)
    )
    marks = f"cell {tone} straggler" if cell.straggler else f"cell {tone}"
    about = Markup(' title="{}"').format(cell.about) if cell.about else Markup("")
    inside = _ICON.format(tone) + read + slow
    if cell.href:
        return Markup('<a class="{}" href="{}"{}>{}</a>').format(marks, cell.href, about, inside)
    return Markup('<span class="{}"{}>{}</span>').format(marks, about, inside)
