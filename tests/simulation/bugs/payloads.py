"""Keys, logs and artifacts."""

from __future__ import annotations

from typing import Any

import msgspec

import actors.sweeper
import domain.decisions.artifacts
import domain.decisions.logs
import domain.decisions.room
import domain.decisions.sealing
import storage.views.artifacts
from actors.sweeper import Sweeper
from domain import records as r
from domain.decisions.draft import Draft
from domain.decisions.keys import usable
from domain.states import KeyState
from storage.views.artifacts import states_of
from storage.views.sight import Clause
from tests.simulation.bugs.planting import Swap, bug, deciding
from tests.simulation.world import World


@bug("a seal to a revoked key is accepted", shown_by=9)
def revoked_key_accepted(_: World) -> list[Swap]:
    return [(domain.decisions.sealing, "usable", lambda key, now: key.state == KeyState.REVOKED or usable(key, now))]


@bug("a superseded key is taken for ever", shown_by=9)
def grace_never_ends(_: World) -> list[Swap]:
    return [(domain.decisions.sealing, "usable", lambda key, _: key.state != KeyState.REVOKED)]


@bug("each decider counts a log's places in its memory, and does not look at the head of the log", shown_by=9)
def log_places_from_memory(world: World) -> list[Swap]:
    decide, last = domain.decisions.logs.write_log, dict[tuple[object, str], int]()

    def remembered(draft: Draft, command: Any, *limits: Any) -> Any:
        head, log = draft.get(r.LogHead, command.run_id), (deciding(world), command.run_id)
        known = last.get(log, head.last_place if head else 0)
        draft.put(r.LogHead(command.run_id, last_place=known))
        decision = decide(draft, command, *limits)
        last[log] = draft.have(r.LogHead, command.run_id).last_place
        return decision

    return [(domain.decisions.logs, "write_log", remembered)]


@bug("pieces of a log that are there are written again", shown_by=12)
def log_pieces_written_again(_: World) -> list[Swap]:
    decide = domain.decisions.logs.write_log

    def again(draft: Draft, command: Any, *limits: Any) -> Any:
        log = draft.get(r.SiteLog, command.run_id, command.site_id, command.task_seq)
        if log is not None and command.seq <= log.last_seq:
            command = msgspec.structs.replace(command, seq=log.last_seq + 1)
        return decide(draft, command, *limits)

    return [(domain.decisions.logs, "write_log", again)]


@bug("the room of an artifact that expires is not given back", shown_by=9)
def room_not_given_back(_: World) -> list[Swap]:
    expire = domain.decisions.room.expire

    def kept(draft: Draft, artifact: r.Artifact, reason: str) -> r.Artifact:
        total = draft.have(r.ArtifactTotal, artifact.project_id)
        expired = expire(draft, artifact, reason)
        draft.put(total)
        return expired

    return [(domain.decisions.artifacts, "expire", kept), (domain.decisions.room, "expire", kept)]


@bug("nobody asks whether a live run needs an artifact that is to expire", shown_by=9)
def needed_artifacts_expire(_: World) -> list[Swap]:
    return [(domain.decisions.artifacts, "needed_by", lambda *_: None)]


@bug("the bytes of an artifact that is not stored yet are swept", shown_by=4)
def uploads_swept(_: World) -> list[Swap]:
    def hasty(*args: Any) -> dict[str, str]:
        found = states_of(*args)
        return {id: "expired" if state == "declared" else state for id, state in found.items()}

    return [(actors.sweeper, "states_of", hasty)]


@bug("nothing is swept", shown_by=12)
def sweeper_never_sweeps(_: World) -> list[Swap]:
    return [(Sweeper, "turn", lambda _: 0)]


@bug("whoever knows an artifact's id may read it", shown_by=9)
def artifacts_open_to_all(_: World) -> list[Swap]:
    return [(storage.views.artifacts, "_meant_for", lambda _: Clause("1 = 1"))]
