"""Golden HTML: what each page is, without what is drawn by chance or changes with the version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fedyard.wire.version import __version__
from tests.page.callers import Browser, signed_in
from tests.page.scenes import Scene, opened
from tests.page.views import View, Who

FOLDER = Path(__file__).resolve().parent / "golden"
_DRAWN_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b")
_HIDDEN_VALUE = re.compile(r'(<input\b[^>]*\bname="_(?:csrf|key)"[^>]*\bvalue=")[^"]*(")')
_CSRF_META = re.compile(r'(<meta name="csrf" content=")[^"]*')
_STATIC = re.compile(r"(/static/[\w.-]+?)-[0-9a-f]{8,64}(\.\w+)")


class Looking:
    """Scenes that were opened and people who have signed in, each once."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._scenes: dict[str, Scene] = {}
        self._browsers: dict[tuple[str, Who | None], Browser] = {}

    def scene(self, name: str) -> Scene:
        if name not in self._scenes:
            folder = self._folder / name
            folder.mkdir()
            self._scenes[name] = self._stack.enter_context(opened(name, folder))
        return self._scenes[name]

    def browser(self, name: str, who: Who | None) -> Browser:
        if (name, who) not in self._browsers:
            scene = self.scene(name)
            token = None if who is None else scene.tokens[who]
            self._browsers[name, who] = signed_in(scene.net.app, token)
        return self._browsers[name, who]

    def html(self, view: View) -> str:
        """The page as its golden file has it. Raises `AssertionError` if it answers otherwise than the view says."""
        scene = self.scene(view.scene)
        response = self.browser(view.scene, view.who).get(view.at(scene.names))
        text = response.get_data(as_text=True)
        assert (response.status_code, response.mimetype) == (view.status, "text/html"), text
        return normalised(text, scene.folder)


@contextmanager
def looking(folder: Path) -> Iterator[Looking]:
    with ExitStack() as stack:
        yield Looking(folder, stack)


def normalised(text: str, folder: Path) -> str:
    """One piece a line, without indentation; what is drawn by chance by the order of its first appearance."""
    text = text.replace(str(folder), "FOLDER").replace(__version__, "VERSION")
    text = _HIDDEN_VALUE.sub(r"\1DRAWN\2", text)
    text = _CSRF_META.sub(r"\1DRAWN", text)
    text = _STATIC.sub(r"\1-DIGEST\2", text)
    for number, ident in enumerate(dict.fromkeys(_DRAWN_ID.findall(text)), 1):
        text = text.replace(ident, f"drawn-{number}")
    lines = (line.strip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line)


def path_of(view: View) -> Path:
    return FOLDER / f"{view.name}.html"


def left_over(views: Sequence[View]) -> list[Path]:
    """Golden files of no view."""
    return sorted(set(FOLDER.glob("*.html")) - {path_of(view) for view in views})
