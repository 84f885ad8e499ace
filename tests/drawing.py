"""Who imports whom, drawn: `python -m tests.drawing` writes the picture in docs/architecture.md anew."""

from __future__ import annotations

import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- drawn by python -m tests.drawing -->\n", "<!-- end of the drawing -->"
ROOMS = (
    "ops",
    "devservers",
    "web.serving",
    "web.page",
    "web.api",
    "web.http",
    "web.live",
    "actors",
    "storage.views",
    "storage.blobs",
    "storage",
    "broker",
    "k8s",
    "config",
    "domain.decide",
    "domain.table",
    "domain.decisions",
    "domain",
    "demo",
    "fedyard.cli",
    "fedyard.portal",
    "fedyard.python",
    "fedyard.actions",
    "fedyard.agent",
    "fedyard.sidecar",
    "fedyard.simulating",
    "fedyard.tasks",
    "fedyard.client",
    "fedyard.cluster",
    "fedyard.sealed",
    "fedyard.look",
    "fedyard.wire",
)
"""Packages, and rooms in them that are worth a box of their own. A module belongs to the longest that it lies in."""


def draw() -> str:
    """The picture as Mermaid: an arrow for each import that no longer way of arrows says already."""
    found = imports_between_rooms()
    arrows = sorted(
        (one, other) for one, others in found.items() for other in others if not _is_said(found, one, other)
    )
    lines = [f"    {_box(one)} --> {_box(other)}" for one, other in arrows]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```", ""])


def imports_between_rooms() -> dict[str, set[str]]:
    """What each room imports of the others."""
    packages = sorted({room.split(".")[0] for room in ROOMS})
    graph = grimp.build_graph(*packages, cache_dir=None)
    found: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            one, other = _room_of(module), _room_of(imported)
            if one != other and other is not None and one is not None:
                found[one].add(other)
    return found


def _room_of(module: str) -> str | None:
    homes = [room for room in ROOMS if module == room or module.startswith(f"{room}.")]
    return max(homes, key=len, default=None)


def _is_said(found: dict[str, set[str]], one: str, other: str) -> bool:
    """True if a longer way leads from the one to the other."""
    ways = [step for step in found[one] if step != other]
    seen: set[str] = {one}
    while ways:
        step = ways.pop()
        if step == other:
            return True
        if step not in seen:
            seen.add(step)
            ways.extend(found[step])
    return False


def _box(room: str) -> str:
    return f'{room.replace(".", "_")}["{room}"]'


def drawn_in(text: str) -> str:
    """The picture that a page has. Raises `ValueError` if it has none."""
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)]


def main() -> int:
    text = PAGE.read_text()
    begin = text.index(BEGIN) + len(BEGIN)
    PAGE.write_text(text[:begin] + draw() + text[text.index(END) :])
    return 0


if __name__ == "__main__":
    sys.exit(main())
