"""The agent's health: is it there, does the hub answer it, what it has logged, what workloads are wanted here."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from fedyard.agent.heads import Fault
from fedyard.agent.health import Health
from fedyard.agent.spool import Spool
from fedyard.cluster.plan import Wanted
from fedyard.portal.desk import Answer, Desk, Page, Visit
from fedyard.wire.version import __version__


@dataclass(frozen=True)
class AgentShown:
    """lives: it is there. free_bytes: of the disk that the folder is on. hub_says: who the hub takes this site for."""

    health: Health | None
    lives: bool
    folder: str
    hub: str
    hub_says: str
    trouble: str
    site_id: str
    free_bytes: int
    total_bytes: int
    memory_bytes: int
    workloads: Sequence[Wanted]
    faults: Sequence[Fault]
    recovered_at: int | None
    sessions: int = 1
    version: str = __version__

    @property
    def sentence(self) -> str:
        if self.health is None:
            return "No agent has worked in this folder yet."
        if not self.lives:
            return "The agent has stopped: nothing is taken up, and nothing is sent."
        if self.health.trouble:
            return "The agent is at work, and the hub does not answer it."
        if self.health.version != self.version:
            return (
                f"The agent is at work, as version {self.health.version}, and {self.version} is installed: restart it."
            )
        return "The agent is at work, and the hub answers it."

    @property
    def command(self) -> str:
        return f"fedyard --folder {self.folder} site run"


def show(visit: Visit) -> Answer:
    return Page("agent.html", {"agent": agent_of(visit.desk)})


def agent_of(desk: Desk) -> AgentShown:
    path, health = desk.folder.path, desk.health()
    me, trouble = desk.asked(lambda client: client.me())
    disk = shutil.disk_usage(path)
    memory = path / "state.sqlite"
    state = desk.state()
    return AgentShown(
        health=health,
        lives=health is not None and health.lives(desk.now()),
        folder=str(path),
        hub=desk.settings().hub,
        hub_says="" if me is None else f"{me.kind} {me.name}",
        trouble=trouble,
        site_id=desk.folder.site_id(),
        free_bytes=disk.free,
        total_bytes=disk.total,
        memory_bytes=memory.stat().st_size if memory.exists() else 0,
        workloads=Spool(path).wanted(),
        faults=state.heads.head_faults()[-20:],
        recovered_at=state.history.position().recovered_at or None,
    )
