"""Logs of workloads, live: that somebody follows one, and what it has from where the hub knows it.

Nobody follows, nothing is read. Who asks for more of a log has it read for a while; whoever looks after its cluster
reports it in pieces, each with the byte that it begins at, so that what comes twice counts once. A piece changes
nothing of its workload: no event, no version. Its end the log has from the evidence (workloads.py).
"""

from __future__ import annotations

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import missing, need_hub
from domain.decisions.attempts import tell_site
from domain.decisions.draft import Decision, Draft
from domain.decisions.workloads import looks_after
from domain.needs import Needs
from domain.sweeps import ForgetLogBefore
from domain.values import LIVE_LOG_BYTES, LOG_PIECE_BYTES
from domain.workloads import FOLLOWED_S
from fedyard.wire.times import SECOND


def needs_of_follow_workload(command: c.FollowWorkload) -> Needs:
    return Needs(workloads={command.workload_id}, workload_logs={command.workload_id})


def follow_workload(draft: Draft, command: c.FollowWorkload) -> Decision:
    """Whether the reader may was looked at where it was asked. Of what has left its log nothing more comes."""
    need_hub(draft.by)
    workload = draft.get(r.Workload, command.workload_id)
    attempt = draft.get(r.WorkloadAttempt, command.workload_id, command.attempt)
    if workload is not None and attempt is not None and attempt.kept_at is None and attempt.gone_at is None:
        before = draft.get(r.WorkloadFollow, workload.id, attempt.attempt)
        until_at = draft.now + FOLLOWED_S * SECOND
        draft.put(r.WorkloadFollow(workload_id=workload.id, attempt=attempt.attempt, until_at=until_at))
        if before is None or before.until_at <= draft.now:
            tell_site(draft, workload)
    return draft.accept(results.Made(id=command.workload_id))


def needs_of_write_workload_log(command: c.WriteWorkloadLog) -> Needs:
    return Needs(workloads={command.workload_id}, workload_logs={command.workload_id})


def write_workload_log(draft: Draft, command: c.WriteWorkloadLog) -> Decision:
    """Add what is new of it. After a gap, or of a log that nobody has followed, nothing is: the answer says how far
    the hub has it."""
    workload = draft.get(r.Workload, command.workload_id)
    attempt = draft.get(r.WorkloadAttempt, command.workload_id, command.attempt)
    if workload is None or attempt is None or not looks_after(draft, workload):
        raise missing("workload", command.workload_id)
    follow = draft.get(r.WorkloadFollow, workload.id, attempt.attempt)
    head = draft.get(r.WorkloadLogHead, workload.id, attempt.attempt)
    head = head or r.WorkloadLogHead(workload_id=workload.id, attempt=attempt.attempt)
    fresh = command.body[max(0, head.size_bytes - command.start) :]
    if follow is not None and attempt.kept_at is None and command.start <= head.size_bytes and fresh:
        draft.put(r.WorkloadLogPiece(workload.id, attempt.attempt, start=head.size_bytes, body=fresh))
        head = draft.change(head, size_bytes=head.size_bytes + len(fresh))
        oldest = head.size_bytes - LIVE_LOG_BYTES - LOG_PIECE_BYTES
        if oldest > 0:
            draft.sweep(ForgetLogBefore(workload.id, attempt.attempt, oldest))
    followed = follow is not None and follow.until_at > draft.now and attempt.kept_at is None
    return draft.accept(results.WorkloadLogResult(size_bytes=head.size_bytes, followed=followed))
