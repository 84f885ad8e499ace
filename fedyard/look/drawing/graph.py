"""What follows what: nodes and edges of a graph without circles, from left to right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedyard.look.states import tone_of

BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y, MARGIN = 190, 48, 64, 18, 10
SWEEPS = 4
_LETTERS = 24


@dataclass(frozen=True)
class Node:
    """id: what edges name. about: a second line. state: a word of the API's, of which the colour follows."""

    id: str
    text: str
    about: str = ""
    state: str = ""
    href: str = ""


Edge = tuple[str, str]
"""From, to."""


def graph(caption: str, nodes: Sequence[Node], edges: Sequence[Edge]) -> Markup:
    """An SVG and, for who can't see it, its edges in words. Edges that name no node are left out; one that would close
    a circle is drawn backwards. Nothing, if there are no nodes."""
    if not nodes:
        return Markup("")
    by_id = {node.id: node for node in nodes}
    known = [(one, other) for one, other in dict.fromkeys(edges) if one in by_id and other in by_id and one != other]
    columns = _in_order(_columns(list(by_id), known), known)
    places = {
        ident: (MARGIN + x * (BOX_WIDTH + GAP_X), MARGIN + y * (BOX_HEIGHT + GAP_Y))
        for x, column in enumerate(columns)
        for y, ident in enumerate(column)
    }
    width = 2 * MARGIN + len(columns) * (BOX_WIDTH + GAP_X) - GAP_X
    height = 2 * MARGIN + max(map(len, columns)) * (BOX_HEIGHT + GAP_Y) - GAP_Y
    drawn = Markup("").join(
        [
            *(_edge(places[one], places[other]) for one, other in known),
            *(_node(by_id[ident], at) for ident, at in places.items()),
        ]
    )
    words = Markup("").join(
        Markup("<li>{} \N{RIGHTWARDS ARROW} {}</li>").format(by_id[one].text, by_id[other].text) for one, other in known
    )
    said = Markup('<ul class="unseen">{}</ul>').format(words) if words else Markup("")
    return Markup(
        '<div class="drawing" role="region" aria-label="{caption}" tabindex="0">'
        '<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="group" aria-label="{caption}">'
        "{drawn}</svg>{said}</div>"
    ).format(caption=caption, width=width, height=height, drawn=drawn, said=said)


def _columns(nodes: Sequence[str], edges: Sequence[Edge]) -> list[list[str]]:
    """Each node one column behind the last of those that it follows; what closes a circle is not looked at."""
    before: Mapping[str, list[str]] = defaultdict(list)
    for one, other in edges:
        before[other].append(one)
    depth: dict[str, int] = {}
    for node in nodes:  # depth first, without calls: a graph may be long
        stack, under_way = [node], set[str]()
        while stack:
            here = stack[-1]
            open_ones = [one for one in before[here] if one not in depth and one not in under_way]
            if here not in under_way and open_ones:
                under_way.add(here)
                stack.extend(open_ones)
                continue
            stack.pop()
            if here not in depth:
                depth[here] = 1 + max((depth[one] for one in before[here] if one in depth), default=-1)
    found: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for node in nodes:
        found[depth[node]].append(node)
    return [column for column in found if column]


def _in_order(columns: list[list[str]], edges: Sequence[Edge]) -> list[list[str]]:
    """Each column in the order of the middle of its neighbours, a few times: fewer edges cross."""
    neighbours: Mapping[str, list[str]] = defaultdict(list)
    for one, other in edges:
        neighbours[one].append(other)
        neighbours[other].append(one)
    for _ in range(SWEEPS):
        at = {ident: place for column in columns for place, ident in enumerate(column)}
        for column in columns:
            middle = {
                ident: sum(at[one] for one in neighbours[ident]) / len(neighbours[ident])
                if neighbours[ident]
                else at[ident]
                for ident in column
            }
            column.sort(key=middle.__getitem__)
            at.update({ident: place for place, ident in enumerate(column)})
    return columns


def _edge(begin: tuple[int, int], end: tuple[int, int]) -> Markup:
    x1, y1 = begin[0] + BOX_WIDTH, begin[1] + BOX_HEIGHT // 2
    x2, y2 = end[0], end[1] + BOX_HEIGHT // 2
    bend = max(24, (x2 - x1) // 2)
    path = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2 - 7} {y2}"
    arrow = f"M{x2} {y2}l-8 -4v8z"
    return Markup('<path class="edge" d="{}"/><path class="arrow" d="{}"/>').format(path, arrow)


def _node(node: Node, at: tuple[int, int]) -> Markup:
    x, y = at
    tone = tone_of(node.state) if node.state else ""
    about = " ".join(filter(None, (node.state.replace("_", " "), node.about)))
    box = Markup(
        '<g class="node {tone}"><title>{whole}</title><rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>'
        '<rect class="stripe" x="{x}" y="{y}" width="5" height="{height}" rx="2"/>'
        '<text x="{text_x}" y="{text_y}">{text}</text>{second}</g>'
    ).format(
        tone=tone,
        whole=f"{node.text}{': ' if about else ''}{about}",
        x=x,
        y=y,
        width=BOX_WIDTH,
        height=BOX_HEIGHT,
        text_x=x + 14,
        text_y=y + (20 if about else 29),
        text=_short(node.text, _LETTERS),
        second=Markup('<text class="about" x="{}" y="{}">{}</text>').format(x + 14, y + 37, _short(about, _LETTERS + 4))
        if about
        else Markup(""),
    )
    return Markup('<a href="{}">{}</a>').format(node.href, box) if node.href else box


def _short(text: str, letters: int) -> str:
    """What fits into the box; the whole of it is the box's title."""
    return text if len(text) <= letters else f"{text[: letters - 1]}\N{HORIZONTAL ELLIPSIS}"
