"""Now: what needs somebody, what runs here and what it reads, what left last."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedyard.actions.privacy import spent_budgets
from fedyard.actions.status import LEAST_FREE_BYTES
from fedyard.agent.consents import Consent
from fedyard.agent.health import Health
from fedyard.agent.notices import told
from fedyard.agent.site import Settings
from fedyard.agent.state import Egress, State
from fedyard.client.errors import HubError
from fedyard.look.states import Tone
from fedyard.portal.desk import Answer, Desk, Page, Unchanged, Visit
from fedyard.sealed.keys import Epoch
from fedyard.wire.answers import Entry, Membership, TaskSpec
from fedyard.wire.plurals import counted
from fedyard.wire.times import DAY, SECOND
from fedyard.wire.types import Undecodable, decode

LEFT_SHOWN = 5
LOOKED_BACK = 200
"""Entries of the inbox in which invitations and what others did are looked for."""
NEWS_DAYS = 7
HOLD_S, LOOK_EVERY_S = 20.0, 1.0
"""How long a part of the page waits for something new, and how often it looks."""
_WORK: Mapping[str, tuple[str, str]] = {
    "invited": ("preparing", "reads and checks its data"),
    "round_started": ("training", "trains on its data"),
    "aggregate": ("aggregating", "makes a model of the updates that came"),
    "score": ("scoring", "scores the round's model on its data"),
    "round_completed": ("completing", "takes the new model in"),
}
_TOLD = ("token_issued", "key_revoked", "site_retired")
"""What others did in this site's name that people should hear of at once."""


@dataclass(frozen=True)
class Need:
    """Something that waits for a person. href: where they do it. command: what they say at a terminal."""

    tone: Tone
    text: str
    href: str
    word: str
    command: str = ""


@dataclass(frozen=True)
class Work:
    """A task run that is at work here, or waits for its turn. since: microseconds. reads: names of data and files."""

    project: str
    project_id: str
    run_id: str
    run: str
    task: str
    round: int
    state: str
    what: str
    since: int
    reads: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Now:
    """What the page shows. lives: there is an agent. served: how many projects."""

    lives: bool
    needs: Sequence[Need]
    works: Sequence[Work]
    left: Sequence[Egress]
    projects: Mapping[str, str]
    sites: Mapping[str, str]
    served: int

    @property
    def sentence(self) -> str:
        agent = "The agent is at work" if self.lives else "No agent works here"
        works = f"{counted(len(self.works), 'task runs', 'tasks run')} here" if self.works else "nothing runs here now"
        needs = f"{counted(len(self.needs), 'thing needs', 'things need')} somebody" if self.needs else "all is well"
        return f"{agent}; {works}; {needs}."

    @property
    def mark(self) -> str:
        """Another one as soon as something that people look at is another."""
        left = [(one.id, one.count, one.outcome) for one in self.left]
        return f"{zlib.crc32(repr((self.lives, self.needs, self.works, left, self.served)).encode()):08x}"


def show(visit: Visit) -> Answer:
    return Page("now.html", {"site_now": now_of(visit.desk)})


def live(visit: Visit) -> Answer:
    """The part that renews itself, once something in it is new."""
    desk, waited = visit.desk, 0.0
    while True:
        now = now_of(desk, ask=waited == 0)
        if now.mark != visit.query.get("seen", ""):
            return Page("now_live.html", {"site_now": now})
        if waited >= HOLD_S or desk.closing.wait(LOOK_EVERY_S):
            return Unchanged()
        waited += LOOK_EVERY_S


def now_of(desk: Desk, *, ask: bool = True) -> Now:
    """ask: the hub, too; else what it said last counts."""
    settings, state, consents = desk.settings(), desk.state(), desk.consents()
    health, at, site_id = desk.health(), desk.now(), desk.folder.site_id()
    live = [one for one in consents.values() if one.live]
    lives = health is not None and health.lives(at)
    entries, projects = state.inbox.latest(LOOKED_BACK), desk.projects()
    needs = [
        *agent_needs(health, at, str(desk.folder.path)),
        *desk.remembered("requests", lambda: _requests(desk, live, site_id), ask=ask),
        *invitations(entries, consents),
        *key_needs(desk.folder.keyring().epochs(), at, lives=lives),
        *_memory_needs(state),
        *[Need("warns", one[0].upper() + one[1:], "/policy", "Policy") for one in spent_budgets(desk.folder, state)],
        *disk_needs(shutil.disk_usage(desk.folder.path).free),
        *news(entries, site_id, at),
    ]
    return Now(
        lives=lives,
        needs=needs,
        works=works_of(state, settings, projects),
        left=state.egress.latest(LEFT_SHOWN),
        projects=projects,
        sites=desk.names(),
        served=len(live),
    )


def works_of(state: State, settings: Settings, projects: Mapping[str, str]) -> list[Work]:
    """By the agent's memory: the oldest entry of each run that is not done is what it works at."""
    found = []
    for run_id in state.inbox.waiting_runs():
        entry = state.inbox.waiting(run_id)
        if entry is None or entry.kind not in _WORK:
            continue
        word, what = _WORK[entry.kind]
        seat = state.seats.get(run_id, entry.task_seq or 0)
        task = None if seat is None else _task(seat.task_json)
        work = Work(
            project=projects.get(entry.project_id or "", entry.project_id or ""),
            project_id=entry.project_id or "",
            run_id=run_id,
            run=run_id if seat is None else f"{seat.number}, attempt {seat.attempt}",
            task=f"task {entry.task_seq}" if task is None else f"{task.name} ({task.model})",
            round=entry.round or 0,
            state=word,
            what=what,
            since=int(entry.created_at.timestamp()) * SECOND,
            reads=sorted(settings.data.items()) if entry.kind in ("invited", "round_started", "score") else [],
        )
        found.append(work)
    return found


def agent_needs(health: Health | None, at: int, folder: str) -> list[Need]:
    run = f"fedyard --folder {folder} site run"
    if health is None:
        return [Need("bad", "No agent has worked in this folder yet: start it", "/agent", "The agent", run)]
    if not health.lives(at):
        if health.has_process():
            text = (
                f"The agent has said nothing lately, and process {health.pid} is there: it hangs, or its disk is full"
            )
            return [Need("bad", text, "/agent", "The agent")]
        text = "The agent has stopped: nothing is taken up, and nothing is sent, until it is started again"
        text += f". It ended so: {health.ended_why}" if health.ended_why else ""
        return [Need("bad", text, "/agent", "The agent", run)]
    needs = []
    if health.trouble:
        needs.append(Need("warns", f"The hub does not answer: {health.trouble}", "/agent", "The agent"))
    if health.clock:
        needs.append(Need("warns", health.clock, "/agent", "The agent"))
    return needs


def invitations(entries: Sequence[Entry], consents: Mapping[str, Consent]) -> list[Need]:
    """To projects that this site has neither joined nor left."""
    asked = dict.fromkeys(one.project_id for one in entries if one.kind == "member_invited" and one.project_id)
    return [
        Need("waits", f"This site is invited to project {id}", f"/projects/{id}", "Look, then join or decline")
        for id in asked
        if id not in consents
    ]


def key_needs(epochs: Sequence[Epoch], at: int, *, lives: bool) -> list[Need]:
    current = [one for one in epochs if one.published and one.state == "current"]
    if not current:
        text = "This site has no current sealing key: nobody can seal anything to it"
        return [Need("warns" if lives else "bad", text, "/keys", "Keys")]
    if current[-1].key.expires <= at:
        return [Need("bad", "This site's sealing key has expired: nobody seals to it", "/keys", "Keys")]
    return []


def disk_needs(free_bytes: int) -> list[Need]:
    if free_bytes >= LEAST_FREE_BYTES:
        return []
    return [
        Need("warns", f"The disk of this folder has {free_bytes // 2**20} MiB left: make room", "/agent", "The agent")
    ]


def _memory_needs(state: State) -> list[Need]:
    needs = []
    if waiting := state.approvals.waiting():
        which = counted(len(waiting), "task waits", "tasks wait")
        needs.append(
            Need("waits", f"{which} for a person of this site to approve", "/policy#waiting", "Look, then answer")
        )
    if missing := state.receipts.missing_receipts():
        which = counted(len(missing), "update of this site is", "updates of this site are")
        needs.append(Need("bad", f"{which} missing in the model of their round", "/left#missing", "Which"))
    if faults := state.heads.head_faults():
        text = f"The hub has contradicted itself about its chain of events: {faults[-1].detail}"
        needs.append(Need("bad", text, "/agent", "The agent"))
    return needs


def news(entries: Sequence[Entry], site_id: str, at: int) -> list[Need]:
    """What others did in this site's name lately, the newest of it in words."""
    since = at - NEWS_DAYS * DAY
    late = [one for one in entries if one.kind in _TOLD and one.created_at.timestamp() * SECOND >= since]
    said = [sentence for one in late if (sentence := told(one, site_id)) is not None]
    if not said:
        return []
    more = f" (and {len(said) - 1} more)" if said[1:] else ""
    return [Need("warns", f"In this site's name: {said[-1]}{more}", "/messages", "Messages")]


def requests_of(members: Sequence[Membership], name: str) -> list[Need]:
    """Sites that ask to join a project that this site coordinates."""
    return [
        Need(
            "waits",
            f"{one.site_name or one.site_id} asks to join {name}" + (f": {one.notes}" if one.notes else ""),
            f"/projects/{one.project_id}#members",
            "Let in or decline",
        )
        for one in members
        if one.state == "requested"
    ]


def _requests(desk: Desk, live: Sequence[Consent], site_id: str) -> list[Need]:
    try:
        client, led = desk.client(), [one for one in live if one.coordinator == site_id]
        return [need for one in led for need in requests_of(client.members(one.project_id), one.name)]
    except HubError as error:
        return [Need("warns", f"Whether somebody asks to join is not known: {error}", "/agent", "The agent")]


def _task(task_json: bytes) -> TaskSpec | None:
    try:
        return decode(task_json, TaskSpec)
    except Undecodable:
        return None
