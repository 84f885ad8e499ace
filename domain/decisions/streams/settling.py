"""What becomes of a federated run as its workers end, and of its workers as it ends.

The controller of such a run waits for ever for its workers, so somebody else has to say that there are none left. That
they ended well says little: today's containers do so whatever happened. A run whose last workers have ended well is
given `LAST_WORD_S` to report what it has, and so is one whose workers were lost with a silent site, which may be back;
elsewhere nothing is waited for.
"""

from __future__ import annotations

from typing import Final

from domain import records as r
from domain import results
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.access import need_hub
from domain.decisions.draft import Decision, Draft
from domain.decisions.progress import runs
from domain.decisions.streams import deployments, matching, workers
from domain.needs import Needs
from domain.states import MATCH, RUN_FINAL, WORKLOAD_LIVE, AnnouncementState, MatchState, Step, WorkloadState, follow
from domain.workloads import is_open
from fedyard.wire.times import SECOND

LAST_WORD_S: Final = 300
"""From the end of the last worker on."""


def needs_of_settle_workers(command: sc.SettleWorkers) -> Needs:
    return Needs(workers_of={command.run_id})


def settle_workers(draft: Draft, command: sc.SettleWorkers) -> Decision:
    """A worker has ended, or the run has, or its last word is due: looked at again, whichever it was."""
    need_hub(draft.by)
    run = draft.get(r.Run, command.run_id)
    matches = [] if run is None else draft.group(sr.Match, run.id)
    if run is None:
        return draft.accept(results.WorkersSettled(working=0))
    if run.state in RUN_FINAL:
        _end_all(draft, run, matches)
        return draft.accept(results.WorkersSettled(working=0))
    for known in matches:
        match = known if known.check_at is None else draft.change(known, check_at=None)
        if match.state == MatchState.STARTED and not (_works(draft, match) or _may_be_back(draft, match)):
            workload = draft.have(r.Workload, match.workload_id)
            said = f"its worker has {workload.state}" if workload.state == WorkloadState.SUCCEEDED else workload.detail
            draft.change(
                match,
                state=follow(MATCH, MatchState.STARTED, Step.END),
                state_at=draft.now,
                reason=f"worker_{workload.state}",
                detail=said[:1000],
            )
    working = sum(_works(draft, match) for match in draft.group(sr.Match, run.id))
    if not working:
        _nobody_left(draft, run)
    return draft.accept(results.WorkersSettled(working=working))


def _works(draft: Draft, match: sr.Match) -> bool:
    """Does its run still have a worker in it, or will it?"""
    if match.state == MatchState.PREPARING:
        return True
    workload = None if match.workload_id is None else draft.get(r.Workload, match.workload_id)
    return workload is not None and workload.stop_at is None and workload.state in WORKLOAD_LIVE


def _may_be_back(draft: Draft, match: sr.Match) -> bool:
    """Its worker was lost with a site that is silent."""
    workload = draft.have(r.Workload, match.workload_id)
    return workload.stop_at is None and is_open(draft.have(r.WorkloadAttempt, workload.id, workload.attempt))


def _end_all(draft: Draft, run: r.Run, matches: list[sr.Match]) -> None:
    """Nothing of an ended run goes on, and its model is matched with nothing more."""
    for match in matches:
        if match.state != MatchState.ENDED:
            workers.stop(draft, match, "run_ended", "the run that trains the model has ended")
        elif match.check_at is not None:
            draft.change(match, check_at=None)
    for model in draft.every(sr.ModelAnnouncement):
        if model.run_id == run.id and model.state == AnnouncementState.LIVE:
            matching.move(draft, model, Step.EXPIRE, match_key="")


def _nobody_left(draft: Draft, run: r.Run) -> None:
    """All workers that the run had are gone; one that never had any waits for data."""
    matches = draft.group(sr.Match, run.id)
    ended = [draft.have(r.Workload, each.workload_id) for each in matches if each.workload_id is not None]
    if not ended:
        return
    well = [each for each in ended if each.state == WorkloadState.SUCCEEDED]
    if run.kind == runs.ADOPTED and well:
        runs.end(draft, run, Step.SUCCEED, "completed", f"{len(well)} of {len(ended)} workers have ended well")
        return
    unclear = [*well, *(each for each in ended if each.state == WorkloadState.LOST)]
    due = max(each.ended_at or each.stop_at or draft.now for each in ended) + LAST_WORD_S * SECOND
    if unclear and draft.now < due:
        draft.change(matches[0], check_at=due)
        return
    detail = f"all {len(ended)} workers are gone, and {len(well)} of them have ended well: " + (
        "the controller had nothing to report from them"
        if well
        else "nobody trains the model; look at the logs of the workers"
    )
    if run.kind == runs.ADOPTED:
        runs.end(draft, run, Step.FAIL, "too_few", detail)
    else:
        deployments.workers_gone(draft, run, detail)
