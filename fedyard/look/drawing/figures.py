"""Figures over something that counts on, as a table: what curves are drawn of."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from fedyard.look.filters import NOTHING


def figures(
    caption: str, first: str, names: Sequence[str], rows: Sequence[tuple[object, Sequence[float | None]]]
) -> Markup:
    """first: the word for what counts on. names: of the columns. rows: each with a value for each name, None for what
    is not there; every digit is shown."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(one) for one in (first, *names))
    line = Markup('<tr><th scope="row">{}</th>') + Markup("<td>{}</td>") * len(names) + Markup("</tr>")
    body = Markup("\n").join(
        line.format(at, *(NOTHING if value is None else repr(value) for value in values)) for at, values in rows
    )
    return Markup(
        '<div class="wide" role="region" aria-label="{caption}" tabindex="0"><table class="dense">'
        "<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    ).format(caption=caption, head=head, body=body)
