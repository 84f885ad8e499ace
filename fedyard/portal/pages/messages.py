"""Messages and what came in: read, kept as files, and sent, sealed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedyard.actions import messages as actions
from fedyard.actions.site import UsageError
from fedyard.agent.notices import told
from fedyard.agent.state import State
from fedyard.portal.desk import Answer, Desk, Done, Download, Page, Visit, Wrong
from fedyard.wire.answers import Entry
from fedyard.wire.plurals import counted
from fedyard.wire.shown import shown

SHOWN = 200
TEXT_BYTES = 100_000
"""Of a message that is shown; the whole of it is a file."""
MAX_SENT_BYTES = 67_108_864


@dataclass(frozen=True)
class EntryRow:
    """An entry of the inbox. held: what has become of its message: opened, waiting, gone, or "" without one."""

    entry: Entry
    sentence: str
    held: str


@dataclass(frozen=True)
class Inbox:
    rows: Sequence[EntryRow]
    projects: Mapping[str, str]
    sites: Mapping[str, str]
    everything: bool
    writable: Mapping[str, str]
    """Projects that one may write to, by id."""

    @property
    def sentence(self) -> str:
        messages = sum(_is_between_people(one.entry) for one in self.rows)
        return (
            f"{counted(messages, 'message')} among the last {counted(len(self.rows), 'entry', 'entries')} that came in."
        )


def show(visit: Visit) -> Answer:
    desk = visit.desk
    everything = visit.query.get("show") == "all"
    rows = rows_of(desk.state(), desk.folder.site_id())
    kept = [one for one in rows if everything or one.sentence or _is_between_people(one.entry)]
    writable = {one.project_id: one.name for one in desk.consents().values() if one.live}
    inbox = Inbox(kept, desk.projects(), desk.names(), everything, writable)
    return Page("messages.html", {"inbox": inbox})


def _is_between_people(entry: Entry) -> bool:
    """Updates and models are messages as well, but nobody's to read."""
    return entry.kind == "message" and entry.message is not None and entry.message.kind not in ("update", "model")


def rows_of(state: State, site_id: str) -> list[EntryRow]:
    """The newest first."""
    return [EntryRow(one, told(one, site_id) or "", _held(state, one)) for one in reversed(state.inbox.latest(SHOWN))]


def _held(state: State, entry: Entry) -> str:
    if entry.kind != "message" or entry.message is None:
        return ""
    body = state.bodies.get(entry.message.id)
    if body is None:
        return "gone"
    if not body.opened:
        return "waiting"
    return "gone" if body.file and not Path(body.file).exists() else "opened"


def read(visit: Visit) -> Answer:
    desk, seq = visit.desk, int(visit.path["seq"])
    entry = _entry(desk, seq)
    content = actions.read(desk.state(), seq)
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    text = text_of(content)
    facts = {"entry": entry, "text": text, "size_bytes": size, "projects": desk.projects(), "sites": desk.names()}
    return Page("message.html", facts)


def text_of(content: bytes | Path) -> str | None:
    """What can be read of it; None if it is no text. What would hide or reorder it is made visible."""
    if isinstance(content, Path):
        with content.open("rb") as stream:
            begin = stream.read(TEXT_BYTES)
    else:
        begin = content[:TEXT_BYTES]
    if b"\0" in begin:
        return None
    try:
        return shown(begin.decode(), TEXT_BYTES, lines=True)
    except UnicodeDecodeError as error:
        if error.start < len(begin) - 4:  # else the last character is cut
            return None
        return shown(begin[: error.start].decode(), TEXT_BYTES, lines=True)


def content(visit: Visit) -> Answer:
    seq = int(visit.path["seq"])
    entry = _entry(visit.desk, seq)
    kind = "message" if entry.message is None else entry.message.kind
    return Download(f"{kind}-{seq}", actions.read(visit.desk.state(), seq))


def _entry(desk: Desk, seq: int) -> Entry:
    found = next((one for one in desk.state().inbox.latest(SHOWN) if one.seq == seq), None)
    if found is None:
        raise UsageError(f"there is no entry {seq} in this site's memory")
    return found


def send(visit: Visit) -> Answer:
    desk, form = visit.desk, visit.form
    to, names = tuple(form.value("to").replace(",", " ").split()), form.value("to").strip()
    text = form.value("text")
    if not to:
        raise Wrong("to", "say coordinator, participants, or names of sites")
    if bool(text) == (visit.file is not None):
        raise Wrong("text", "write a text, or choose a file; one of them")
    client = desk.client()
    project = client.project(form.value("project"))
    body = text.encode() if visit.file is None else visit.file
    try:
        id, count = actions.sent(desk.folder, client, project, to, body, form.value("kind").strip() or None)
    except UsageError:
        known = {name for name in desk.names().values() if " " in name or "," in name}
        if names not in known:  # a name may have spaces
            raise Wrong("to", f"{names}: not each of them is one member of the project") from None
        id, count = actions.sent(desk.folder, client, project, (names,), body, form.value("kind").strip() or None)
    return Done("/messages", f"Message {id} is on its way to {counted(count, 'site')}.")
