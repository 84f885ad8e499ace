"""What the records say of workloads, compared with what really happened in their cluster."""

from __future__ import annotations

import msgspec

import fedyard.cluster.plan
from domain import records as r
from domain.states import WORKLOAD, WORKLOAD_LIVE, WorkloadState
from domain.workloads import HEALED_BY_REPETITION, OF_A_SERVICE
from fedyard.cluster.port import Phase, Reason
from fedyard.wire.times import SECOND
from tests.simulation.clusters import STRANGER, Object, SimulatedCluster
from tests.simulation.holding import SKEWS, Holding
from tests.simulation.world import Broken

_MOVES = {(before, after) for (before, _), after in dict(WORKLOAD).items()}
_HEALED = {"job": frozenset(HEALED_BY_REPETITION), "service": frozenset(HEALED_BY_REPETITION | OF_A_SERVICE)}
_OF_THE_PLAN = (Reason.IMAGE_NOT_PULLED, Reason.DEADLINE_PASSED)
"""Reasons for which a job is given up while its cluster still tries."""


class Truth(Holding):
    """See the module."""

    def _cluster_of(self, ident: str) -> SimulatedCluster:
        workload = self.have(r.Workload, ident)
        assert workload is not None
        return self._world.clusters[workload.cluster]

    def _looked_after(self, old: r.Workload | r.WorkloadAttempt | None, new: r.Workload | r.WorkloadAttempt) -> None:
        ident = new.id if isinstance(new, r.Workload) else new.workload_id
        self._moving.add(ident)
        if isinstance(new, r.WorkloadAttempt) and new.kept_at is not None:
            self._kept_once.add((ident, new.attempt))
        if old is None:
            return
        if old.state != new.state and (WorkloadState(old.state), WorkloadState(new.state)) not in _MOVES:
            raise Broken(f"illegal transition: workload {ident} went from {old.state} to {new.state}")
        if isinstance(old, r.WorkloadAttempt) and isinstance(new, r.WorkloadAttempt):
            if old.gone_at is None and new.gone_at is not None:
                self._is_gone(new)
            if old.reason != new.reason == Reason.SILENT:
                self._was_silent(new)
            if old.kept_at not in (None, new.kept_at) or old.gone_at not in (None, new.gone_at):
                raise Broken(f"attempt {new.attempt} at workload {ident} was kept, or gone, twice")

    def _was_silent(self, attempt: r.WorkloadAttempt) -> None:
        """It was given up because nothing was heard of it, for as long as its task allows."""
        workload, site = self.have(r.Workload, attempt.workload_id), self.holder_of(attempt.site_id or "")
        if workload is None or workload.run_id is None or site is None:
            raise Broken(f"{attempt} holds no seat, and is said to be silent")
        task = next(one for one in self.story.runs[workload.run_id].tasks.values() if one.id == workload.task_run_id)
        heard_at = max(self._heard_of.get(site.id, 0), site.created_at)
        if attempt.state_at + SKEWS < heard_at + task.contract.silent_within_s * SECOND:
            raise Broken(f"{attempt} is said to be silent, and was heard of at {heard_at}")

    def _is_gone(self, attempt: r.WorkloadAttempt) -> None:
        """Nothing is there that was there when it should go; what a late call made since is another matter."""
        workload = self.have(r.Workload, attempt.workload_id)
        times = [at for at in (attempt.ended_at, workload and workload.stop_at) if at is not None]
        here = self._cluster_of(attempt.workload_id).attempts(attempt.workload_id, attempt.attempt)
        left = [one.uid for one in here if one.there(self._world.micros) and one.made_at + SKEWS < min(times)]
        if left:
            raise Broken(f"attempt {attempt.attempt} at workload {attempt.workload_id} is gone, but {left} are there")

    def _agree(self) -> None:
        """A workload is as its newest attempt is; of the others none lives, and each could be healed by another."""
        for ident in sorted(self._moving):
            workload = self.have(r.Workload, ident)
            attempts = sorted((o for o in self.every(r.WorkloadAttempt) if o.workload_id == ident), key=_number)
            if workload is None or [one.attempt for one in attempts] != list(range(1, workload.attempt + 1)):
                raise Broken(f"the attempts at workload {ident} have gaps or doubles, or are not {workload}")
            newest = attempts[-1]
            said, is_so = _said(workload), _said(newest)
            fresh = newest.state == WorkloadState.WANTED and newest.reason == ""  # then it says why it is tried again
            if said[0] != is_so[0] or (said != is_so and not fresh):
                raise Broken(f"workload {ident} is {said}, its newest attempt is {newest}")
            for one in attempts[:-1]:
                if one.state in WORKLOAD_LIVE:
                    raise Broken(f"attempts {one.attempt} and {newest.attempt} at workload {ident} are wanted at once")
                if one.reason not in _HEALED[workload.kind]:
                    raise Broken(f"attempt {one.attempt} at workload {ident} failed of {one.reason}, and was repeated")
            for one in attempts:
                uids = {made.uid for made in self._cluster_of(ident).attempts(ident, one.attempt)} | {""}
                if one.uid not in uids:
                    raise Broken(f"attempt {one.attempt} at workload {ident} is said to be {one.uid}, not of {uids}")
            self._held(workload, attempts)

    def may_be_removed(self, one: Object, at: int) -> None:
        """By the hub, at this moment: what it left is on record, or could not be had for long, or nobody knows it."""
        self._world.checker.check()
        spec, key = one.spec, (one.spec.id, one.spec.attempt)
        if spec.owner == STRANGER:
            raise Broken("what belongs to another hub was removed")
        workload, attempt = self.have(r.Workload, spec.id), self.have(r.WorkloadAttempt, *key)
        if workload is None or attempt is None or key in self._kept_once:
            return
        agent = self._world.agents.get(workload.cluster)
        if agent is not None and agent.has(*key):
            return
        since = attempt.ended_at if attempt.ended_at is not None else workload.stop_at
        waited_s = fedyard.cluster.plan.EVIDENCE_WITHIN_S
        if since is None or at + SKEWS < since + waited_s * SECOND:
            raise Broken(f"attempt {key[1]} at workload {key[0]} was removed, and what it left is not on record")

    def still_runs(self) -> str | None:
        """What is not over yet, or not gone, or None."""
        live = [one.id for one in self.every(r.Workload) if one.state in WORKLOAD_LIVE]
        if live:
            return f"workloads {live} are not over"
        there = [(o.workload_id, o.attempt) for o in self.every(r.WorkloadAttempt) if o.gone_at is None]
        if there:
            return f"attempts {there} are not gone"
        left = [one.uid for cluster in self._world.clusters.values() for one in cluster.living()]
        return f"the clusters still have {left}" if left else self.places_left()

    def all_true(self) -> None:
        """Everything is over: what is said of each attempt is what happened."""
        if any(one.on and not one.living(STRANGER) for one in self._world.clusters.values()):
            raise Broken("what belongs to another hub is not there any more")
        for attempt in self.every(r.WorkloadAttempt):
            workload = self.have(r.Workload, attempt.workload_id)
            assert workload is not None
            mine = self._cluster_of(attempt.workload_id).attempts(attempt.workload_id, attempt.attempt)
            of_it = next((one for one in mine if one.uid == attempt.uid), None)
            if not self._happened(workload, attempt, of_it):
                raise Broken(f"{attempt} is not what happened: {of_it}")
            if of_it is not None:
                self._left(workload, attempt, of_it)

    def _happened(self, workload: r.Workload, attempt: r.WorkloadAttempt, of_it: Object | None) -> bool:
        state, reason = WorkloadState(attempt.state), Reason(attempt.reason)
        if state == WorkloadState.STOPPED:
            return workload.stop_at is not None
        if state == WorkloadState.FAILED and reason == Reason.SILENT:
            return True  # it was so when it was said
        if of_it is None:
            key = (attempt.workload_id, attempt.attempt, reason)
            return state == WorkloadState.FAILED and key in self._cluster_of(workload.id).refused
        if reason == Reason.VANISHED:  # a restored hub may have ended it itself, and not know
            return state == WorkloadState.LOST and (of_it.by == "luck" or self._world.restores.done > 0)
        if state == WorkloadState.FAILED and reason in _OF_THE_PLAN:
            return True
        ended = of_it.phase(of_it.removed_at), of_it.reason(of_it.removed_at)
        if state == WorkloadState.SUCCEEDED:
            return ended[0] == Phase.SUCCEEDED
        return ended == (Phase.FAILED, reason)

    def _left(self, workload: r.Workload, attempt: r.WorkloadAttempt, of_it: Object) -> None:
        """The evidence: of one that nobody stopped the whole of its log, else what there was of it before its stop."""
        row = self._connection.execute(
            "SELECT log, events_json FROM workload_evidence WHERE workload_id = ? AND attempt = ?",
            (attempt.workload_id, attempt.attempt),
        ).fetchone()
        if (row is None) != (attempt.kept_at is None):
            raise Broken(f"{attempt} says whether its evidence is on record, and it is otherwise")
        if row is None or msgspec.json.decode(row[1]) != [f"made {of_it.uid}"]:
            return
        log = of_it.log(of_it.removed_at)
        over = attempt.state == WorkloadState.SUCCEEDED and workload.stop_at is None
        if not log.startswith(bytes(row[0])) or (over and bytes(row[0]) != log):
            raise Broken(f"the log of {attempt} is {row[0]!r}, not {log!r}")


def _said(row: r.Workload | r.WorkloadAttempt) -> tuple[str, str, int | None]:
    return row.state, row.reason, row.exit_code


def _number(attempt: r.WorkloadAttempt) -> int:
    return attempt.attempt
