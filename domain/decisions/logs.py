"""Logs of runs: what a site writes while it works, piece by piece, for the coordinator to read.

A piece changes nothing of its run: no event, no version, no notice. Whoever reads the log hears of it.
"""

from __future__ import annotations

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import acts_for, forbidden, is_admin, is_coordinator, missing, own_site
from domain.decisions.draft import Decision, Draft, Refused, TooEarly
from domain.decisions.sealing import checked, keys_in, to_coordinator
from domain.needs import Needs
from fedyard.wire.problems import ProblemType
from fedyard.wire.seals import SealMalformed, SealUnsupported, is_sealed, read_seal
from fedyard.wire.times import SECOND


def needs_of_write_log(command: c.WriteLog) -> Needs:
    site = command.site_id
    return Needs(sites={site}, logs={(command.run_id, site)}, keys=keys_in(command.pieces))


def write_log(draft: Draft, command: c.WriteLog) -> Decision:
    """Add what is new of these pieces. Known ones change nothing; after a gap the rest is too early.

    The run's log is kept, and written to, for some time after its end.
    """
    run, site = _own_seat(draft, command)
    log = draft.get(r.SiteLog, run.id, site.id, command.task_seq) or r.SiteLog(run.id, site.id, command.task_seq)
    pieces = command.pieces[max(0, log.last_seq + 1 - command.seq) :]
    if not pieces:
        return draft.accept(results.LogResult(seq=log.last_seq, duplicate=True))
    if command.seq > log.last_seq + 1:
        raise TooEarly(
            f"piece {command.seq} of the log of site {site.id} in task {command.task_seq} of run {run.id} came too "
            f"early: the next one has seq {log.last_seq + 1}"
        )
    keep_s = draft.rules.keep_inbox_s
    if run.ended_at is not None and run.ended_at <= draft.now - int(keep_s * SECOND):
        raise Refused(ProblemType.RUN_FINISHED, f"run {run.id} ended more than {keep_s:g} s ago; its log is closed")
    _check_room(draft, run, site, pieces, draft.rules.log_limit_bytes)
    project = draft.have(r.Project, run.project_id)
    head = draft.get(r.LogHead, run.id) or r.LogHead(run.id)
    for number, body in enumerate(pieces, start=1):
        round_ = _round_of(command, body)
        checked(draft, to_coordinator(project, site, "log", run.id, command.task_seq, round_), body)
        draft.put(
            r.LogPiece(
                run_id=run.id,
                place=head.last_place + number,
                site_id=site.id,
                task_seq=command.task_seq,
                seq=log.last_seq + number,
                round=round_,
                body=body,
                size_bytes=len(body),
                created_at=draft.now,
            )
        )
    draft.change(head, last_place=head.last_place + len(pieces))
    size_bytes = log.size_bytes + sum(map(len, pieces))
    log = draft.change(log, last_seq=log.last_seq + len(pieces), size_bytes=size_bytes)
    return draft.accept(results.LogResult(seq=log.last_seq, duplicate=False))


def _own_seat(draft: Draft, command: c.WriteLog) -> tuple[r.Run, r.Site]:
    """The run and the caller's site, which has or had a seat in that task. 404, 403 or 409 otherwise."""
    nowhere = missing("seat", f"of site {command.site_id} in task {command.task_seq} of run {command.run_id}")
    run, site = draft.get(r.Run, command.run_id), draft.get(r.Site, command.site_id)
    if run is None or site is None:
        raise nowhere
    if not acts_for(draft.by, site):
        if is_admin(draft.by) or is_coordinator(draft, draft.have(r.Project, run.project_id)):
            raise forbidden(f"only site {site.id} itself may write its log in run {run.id}")
        raise nowhere
    task = next((t for t in draft.group(r.TaskRun, run.id) if t.seq == command.task_seq), None)
    if task is None or draft.get(r.Seat, task.id, site.id) is None:
        raise nowhere
    return run, own_site(draft, site.id)


def _check_room(draft: Draft, run: r.Run, site: r.Site, pieces: list[bytes], limit_bytes: int) -> None:
    used = sum(log.size_bytes for log in draft.group(r.SiteLog, run.id) if log.site_id == site.id)
    if used + sum(map(len, pieces)) > limit_bytes:
        raise Refused(
            ProblemType.LOG_FULL,
            f"the log of site {site.id} in run {run.id} has {used} bytes of {limit_bytes} allowed; write no more of it",
        )


def _round_of(command: c.WriteLog, body: bytes) -> int | None:
    """As the call says, or else as a sealed piece says itself: its site has signed that."""
    if command.round is not None or not is_sealed(body):
        return command.round
    try:
        return read_seal(body).header.round
    except (SealMalformed, SealUnsupported):
        return None
