"""What left this house: every update, model and metric, logs by their size, reasons, messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from fedyard.agent.state import KEEP_EGRESS, Egress, Receipt
from fedyard.portal.desk import Answer, Page, Visit
from fedyard.wire.plurals import counted
from fedyard.wire.types import Undecodable, decode

SHOWN = 50
KINDS = ("update", "model", "log", "reason")
_COUNTED = {
    "update": ("update", "updates"),
    "model": ("model", "models"),
    "log": ("piece of a log", "pieces of logs"),
    "reason": ("reason", "reasons"),
}


class _Message(msgspec.Struct, frozen=True):
    project_id: str = ""
    to: str | list[str] = ""
    kind: str = ""
    body: str | None = None
    artifact_id: str | None = None


class _Sent(msgspec.Struct, frozen=True):
    messages: list[_Message] = []


@dataclass(frozen=True)
class SentMessage:
    """A message of this site's people. at: microseconds; size_bytes: as it travelled, sealed; None: as an artifact."""

    at: int
    project_id: str
    to: Sequence[str]
    kind: str
    size_bytes: int | None


@dataclass(frozen=True)
class Left:
    """What the page shows. totals: (project id, kind, how many, bytes, the newest one's time)."""

    rows: Sequence[Egress]
    totals: Sequence[tuple[str, str, int, int, int]]
    messages: Sequence[SentMessage]
    missing: Sequence[Receipt]
    projects: Mapping[str, str]
    sites: Mapping[str, str]
    kind: str = ""
    run: str = ""
    next: int | None = None
    kept: int = KEEP_EGRESS

    @property
    def sentence(self) -> str:
        if not self.totals and not self.messages:
            return "Nothing has left this house yet."
        counts = {kind: sum(row[2] for row in self.totals if row[1] == kind) for kind in KINDS}
        said = [counted(counts[kind], *_COUNTED[kind]) for kind in KINDS if counts[kind]]
        if self.messages:
            said.append(counted(len(self.messages), "message"))
        return f"{', '.join(said)} left this house; no noise was added, and nothing was clipped."


def show(visit: Visit) -> Answer:
    desk, query = visit.desk, visit.query
    state, kind = desk.state(), query.get("kind", "")
    kind = kind if kind in KINDS else ""
    run, before = query.get("run", ""), query.get("before", "")
    place = int(before) if before.isdecimal() and len(before) < 18 else 2**62
    rows = state.egress.latest(SHOWN + 1, run_id=run or None, kind=kind or None, before=place)
    left = Left(
        rows=rows[:SHOWN],
        totals=state.egress.totals(),
        messages=sent_messages(state.history.sent()),
        missing=state.receipts.missing_receipts(),
        projects=desk.projects(),
        sites=desk.names(),
        kind=kind,
        run=run,
        next=rows[SHOWN - 1].id if len(rows) > SHOWN else None,
    )
    return Page("left.html", {"left": left, "kinds": KINDS})


def sent_messages(sent: Sequence[tuple[int, bytes]]) -> list[SentMessage]:
    """sent: (time, body of the request), as they are kept."""
    found = []
    for at, body in sent:
        try:
            messages = decode(body, _Sent).messages
        except Undecodable:
            continue
        for one in messages:
            to = [one.to] if isinstance(one.to, str) else one.to
            size = None if one.body is None or one.artifact_id is not None else len(one.body) * 3 // 4
            found.append(SentMessage(at, one.project_id, to, one.kind, size))
    return found
