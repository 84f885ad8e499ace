"""How a site is, for a monitor: from its folder alone, in a moment, whether its agent runs or not."""

from __future__ import annotations

import shutil
from typing import Literal

import msgspec

from fedyard.actions.policy import Waits, in_effect
from fedyard.actions.privacy import spent_budgets
from fedyard.agent import health
from fedyard.agent.health import Health
from fedyard.agent.site import Folder, Settings
from fedyard.agent.state import State
from fedyard.sealed.keys import Epoch
from fedyard.wire.times import DAY_S, SECOND, time_text
from fedyard.wire.version import __version__

SILENT_AFTER_S = 300.0
"""How long the hub may not have answered."""
LEAST_FREE_BYTES = 1 << 30


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """why: what needs somebody, a sentence each; nothing does if there is none.

    owed_reports: to the hub. waiting_entries: of the inbox, not done yet. waiting_approvals: tasks of runs that wait
    for a person here. Times as in the API; None: never, or none.
    """

    site: str
    hub: str
    agent: Literal["running", "stopped", "never ran"]
    pid: int | None
    version: str
    hub_version: str
    last_contact_at: str | None
    last_contact_s: float | None
    trouble: str
    owed_reports: int
    waiting_entries: int
    waiting_approvals: int
    missing_updates: int
    free_bytes: int
    total_bytes: int
    key_epoch: int | None
    key_made_at: str | None
    key_age_s: float | None
    why: list[str]


def status_of(
    folder: Folder, now: int, *, silent_after_s: float = SILENT_AFTER_S, least_free_bytes: int = LEAST_FREE_BYTES
) -> Status:
    """now: microseconds. The hub is not asked. Raises `SiteError`."""
    settings = folder.settings()
    folder.site_id()
    said = health.read(folder.path) or Health()
    ran = said.started_at > 0
    lives = ran and said.lives(now)
    disk = shutil.disk_usage(folder.path)
    keys = [epoch for epoch in folder.keyring().epochs() if epoch.state == "current" and epoch.published]
    newest = keys[-1] if keys else None
    owed = waiting = missing = faults = 0
    asked: list[Waits] = []
    spent: list[str] = []
    if (path := folder.path / "state.sqlite").exists():
        state = State(path)
        owed, waiting = state.seats.owed(), state.inbox.waiting_count()
        missing, faults = len(state.receipts.missing_receipts()), len(state.heads.head_faults())
        asked, spent = in_effect(folder, state, now).waiting, spent_budgets(folder, state)
        state.close()
    silence = None if not said.beat_at else (now - said.beat_at) / SECOND
    why = [*_of_agent(said, lives=lives, ran=ran), *_of_contact(said, silence, silent_after_s, lives=lives)]
    why += [one for one in (said.clock, said.misfit()) if one and lives]
    why += _of_key(newest, settings, now)
    if disk.free < least_free_bytes:
        why.append(f"the disk of {folder.path} has {disk.free // 2**20} MiB left: make room")
    why += [_of_approval(one) for one in asked] + spent
    if missing:
        why.append(f"{missing} accepted updates of this site are missing in their models: `fedyard site receipts`")
    if faults:
        why.append("the hub contradicts what it has signed of its chains of events: `fedyard site heads`")
    return Status(
        site=settings.name,
        hub=settings.hub,
        agent="running" if lives else "stopped" if ran else "never ran",
        pid=said.pid if lives else None,
        version=said.version or __version__,
        hub_version=said.hub_version,
        last_contact_at=time_text(said.beat_at) if said.beat_at else None,
        last_contact_s=silence,
        trouble=said.trouble,
        owed_reports=owed,
        waiting_entries=waiting,
        waiting_approvals=len(asked),
        missing_updates=missing,
        free_bytes=disk.free,
        total_bytes=disk.total,
        key_epoch=None if newest is None else newest.key.epoch,
        key_made_at=None if newest is None else time_text(newest.key.created),
        key_age_s=None if newest is None else (now - newest.key.created) / SECOND,
        why=why,
    )


def _of_agent(said: Health, *, lives: bool, ran: bool) -> list[str]:
    if lives:
        return []
    if not ran:
        return ["no agent has run here yet: `fedyard site run`"]
    if said.ended_at is not None:
        return [f"the agent has ended {time_text(said.ended_at)}{said.ended_why and ': '}{said.ended_why}"]
    silent = f"the agent has said nothing since {time_text(said.at)}"
    if said.has_process():
        return [f"{silent}, and process {said.pid} is there: it hangs, or cannot write into its folder (a full disk?)"]
    return [f"{silent}: it was killed"]


def _of_contact(said: Health, silence: float | None, silent_after_s: float, *, lives: bool) -> list[str]:
    since = (said.at - said.started_at) / SECOND if silence is None else silence
    if not lives or since <= silent_after_s:
        return []
    last = "since the agent was started" if silence is None else f"for {silence:.0f} s"
    return [f"the hub has not answered {last}: {said.trouble or 'why is not known'}"]


def _of_approval(asked: Waits) -> str:
    until = f", until {time_text(asked.until)}" if asked.until else ""
    return (
        f"run {asked.run_id} of {asked.project} waits for a person here{until}: `fedyard site policy` shows it, "
        f"`fedyard site approve {asked.run_id}` lets it go on"
    )


def _of_key(newest: Epoch | None, settings: Settings, now: int) -> list[str]:
    if newest is None:
        return ["there is no sealing key that the hub knows: nothing can be sealed to this site"]
    age_days = (now - newest.key.created) / SECOND / DAY_S
    if age_days > settings.keys.rotate_every_days + 1:
        return [f"the newest sealing key is {age_days:.0f} days old: a new one was due, and could not be published"]
    return []
