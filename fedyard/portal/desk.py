"""What the portal's pages are made with: the site's folder, its memory, its hub, the templates.

A page is shown as far as it can be: what the hub would have to say of it is missing, with a sentence, while the hub
cannot be reached.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment

from fedyard.actions.site import UsageError, asking_hub
from fedyard.agent.consents import Consent
from fedyard.agent.health import Health
from fedyard.agent.health import read as read_health
from fedyard.agent.site import Folder, Settings
from fedyard.agent.state import State
from fedyard.client.client import Client
from fedyard.client.errors import HubError
from fedyard.clock import draw_key, micros_now
from fedyard.look.forms import Form
from fedyard.look.rendering import NavItem, environment
from fedyard.portal.door import Session

TEMPLATES = Path(__file__).parent / "templates"
GIVE_UP_S = 6.0
T = TypeVar("T")


class Desk:
    """One site. Safe to use from many threads; what it opened stays open for the next page."""

    def __init__(self, folder: Folder, now: Callable[[], int] = micros_now, *, give_up_s: float = GIVE_UP_S) -> None:
        """now: microseconds since 1970. give_up_s: how long a page waits for a hub that does not answer."""
        self.folder, self.now, self._give_up_s = folder, now, give_up_s
        self.closing = threading.Event()
        self.watching = threading.BoundedSemaphore(MAX_WATCHING)
        self._lock = threading.Lock()
        self._state: tuple[tuple[int, int], State] | None = None
        self._client: tuple[tuple[int, int], Client] | None = None
        self._templates: Environment | None = None
        self._remembered: dict[str, Any] = {}

    def settings(self) -> Settings:
        """site.toml as it is now, which may be newer than what the agent started with. Raises `SiteError`."""
        return self.folder.settings()

    def state(self) -> State:
        """The agent's memory; made empty if no agent has run here yet."""
        path = self.folder.path / "state.sqlite"
        with self._lock:
            known = self._state
            if known is not None and known[0] == _file(path):
                return known[1]
            state = State(path)
            self._state = (_file(path), state)
            return state

    def client(self) -> Client:
        """What asks the hub as this site. Raises `SiteError` if it is not enrolled, or site.toml is wrong."""
        at = _file(self.folder.path / "site.toml")
        with self._lock:
            if self._client is None or self._client[0] != at:
                self._client = at, asking_hub(self.folder, give_up_s=self._give_up_s)
            return self._client[1]

    def asked(self, what: Callable[[Client], T]) -> tuple[T | None, str]:
        """What the hub answers, or None and why it cannot be had."""
        try:
            return what(self.client()), ""
        except HubError as error:
            return None, str(error)

    def remembered(self, name: str, asked: Callable[[], T], *, ask: bool) -> T:
        """What was asked for last under a name; asked for anew if `ask`, or if it never was."""
        if ask or name not in self._remembered:
            self._remembered[name] = asked()
        found: T = self._remembered[name]
        return found

    def health(self) -> Health | None:
        return read_health(self.folder.path)

    def consents(self) -> Mapping[str, Consent]:
        return self.folder.consents().all()

    def names(self) -> dict[str, str]:
        """Sites' names by id, as this site has met them; its own, too."""
        found = {pin.site_id: pin.name for pin in self.folder.trust(self.settings()).pins().values()}
        return {**found, self.folder.site_id(): self.settings().name}

    def projects(self) -> dict[str, str]:
        """Projects' names by id, as they were consented to."""
        return {one.project_id: one.name for one in self.consents().values()}

    def templates(self) -> Environment:
        if self._templates is None:
            self._templates = environment([TEMPLATES])
        return self._templates


MAX_WATCHING = 4
"""Parts of pages that wait for something new at the same time; each takes a thread of the server."""


@dataclass(frozen=True)
class Visit:
    """One request of who is in. path: what its path names. query: of its address. form: what it has sent."""

    desk: Desk
    session: Session
    way: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: Form = field(default_factory=Form)
    file: bytes | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """The same for the same form with the same in it, however often it is sent; another for another form of the
        page, or for one that was changed."""
        if not self.form.value("_key"):
            return draw_key()
        said = [(name, list(values)) for name, values in sorted(self.form.values.items()) if name != "_csrf"]
        brought = None if self.file is None else hashlib.sha256(self.file).hexdigest()
        return hashlib.sha256(repr((self.way, said, brought)).encode(errors="replace")).hexdigest()


@dataclass(frozen=True)
class Page:
    """A template and what it is told."""

    template: str
    facts: Mapping[str, Any]
    status: int = 200


@dataclass(frozen=True)
class Download:
    """A file for the browser to keep; it is never shown as a page. remove: once it is sent."""

    name: str
    content: bytes | Path = field(repr=False)
    remove: bool = False


@dataclass(frozen=True)
class Done:
    """A form has done its work: where to look, and what is said there."""

    href: str
    text: str


class Wrong(UsageError):
    """What is wrong with a field of a form."""

    def __init__(self, field: str, sentence: str) -> None:
        self.field = field
        super().__init__(sentence)


class Unchanged:
    """A part that waits has nothing new."""


Answer = Page | Download | Done | Unchanged

WAYS = (
    ("/", "Now", "This site"),
    ("/left", "What left", "This site"),
    ("/policy", "Policy", "This site"),
    ("/agent", "Agent", "This site"),
    ("/projects", "Projects", "Together"),
    ("/runs", "Runs", "Together"),
    ("/models", "Models", "Together"),
    ("/messages", "Messages", "Together"),
    ("/trust", "Trust", "Keys"),
    ("/keys", "Keys", "Keys"),
)


def ways(path: str, counts: Mapping[str, int] | None = None) -> list[NavItem]:
    """The navigation. counts: of what needs somebody, by path."""
    found = counts or {}
    return [
        NavItem(
            href,
            word,
            current=path == href or (href != "/" and path.startswith(f"{href}/")),
            count=found.get(href),
            group=group,
        )
        for href, word, group in WAYS
    ]


@dataclass(frozen=True)
class Who:
    """Whom the portal is shown to: the site's people."""

    name: str
    role: str = ""


@dataclass(frozen=True)
class Said:
    tone: str
    text: str


def rendered(visit: Visit, page: Page) -> str:
    """A page as HTML. Facts may replace anything."""
    desk, session = visit.desk, visit.session
    said, session.said = session.said, None
    told: dict[str, Any] = {
        "nav": ways(visit.way),
        "who": Who(desk.settings().name, "this site"),
        "place": f"{desk.settings().name}, portal",
        "csrf": session.csrf,
        "key": draw_key(),
        "now": desk.now(),
        "said": None if said is None else Said(*said),
        "account_href": "/agent",
        "sign_out_href": "/leave",
        "form": visit.form,
    }
    return desk.templates().get_template(page.template).render({**told, **page.facts})


def _file(path: Path) -> tuple[int, int]:
    """Another file in its place is another one."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return 0, 0
    return (stat.st_ino, stat.st_mtime_ns) if path.suffix == ".toml" else (stat.st_ino, 0)
