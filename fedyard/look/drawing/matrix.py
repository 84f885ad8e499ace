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
    shown = Markup("").join(map(_cell, cells))
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


_NO_PART = Markup('<td class="blank"><i>no part</i></td>')


def _cell(cell: Cell | None) -> Markup:
    """As few letters as there may be: a page may have thousands. What is read out alone is an `<i>`, the icon is the
    stylesheet's."""
    if cell is None:
        return _NO_PART
    word = cell.state.replace("_", " ")
    read = Markup("<i>{} </i>{}").format(word, cell.text) if cell.text else Markup("{}").format(word)
    if cell.straggler:
        read += Markup("<i>, the straggler</i>")
    if cell.href:
        read = Markup('<a href="{}">{}</a>').format(cell.href, read)
    marks = f"{tone_of(cell.state)} straggler" if cell.straggler else tone_of(cell.state)
    about = Markup(' title="{}"').format(cell.about) if cell.about else Markup("")
    return Markup('<td class="{}"{}>{}</td>').format(marks, about, read)
