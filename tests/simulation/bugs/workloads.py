"""Workloads: what is said of them is what happened, and nothing is lost or left behind."""

from __future__ import annotations

import msgspec

import actors.workloads
import domain.decisions.infrastructure
import domain.decisions.progress.holders
import domain.decisions.projects
import domain.decisions.workloads
import fedyard.agent.spool
import fedyard.cluster.plan
import storage.places
import storage.wanted
from domain import commands as c
from domain import records as r
from domain.decisions.draft import Decision, Draft
from domain.workloads import wanted_of
from fedyard.cluster.doing import ended
from fedyard.cluster.plan import Wanted
from fedyard.cluster.port import AttemptId, Cluster
from tests.simulation.bugs.planting import Swap, bug
from tests.simulation.world import World

_report = domain.decisions.workloads.report_workload


@bug("what an old attempt reports is taken for the newest one's", shown_by=38)
def old_attempts_believed(_: World) -> list[Swap]:
    def believed(draft: Draft, command: c.ReportWorkload) -> Decision:
        workload = draft.get(r.Workload, command.workload_id)
        newest = command.attempt if workload is None else workload.attempt
        return _report(draft, msgspec.structs.replace(command, attempt=newest))

    return [(domain.decisions.workloads, "report_workload", believed)]


@bug("what has ended is removed although its evidence is not on record", shown_by=38)
def removed_before_its_evidence(_: World) -> list[Swap]:
    def as_if_kept(workload: r.Workload, attempt: r.WorkloadAttempt, owner: str) -> Wanted:
        return msgspec.structs.replace(wanted_of(workload, attempt, owner), kept=True)

    return [(storage.wanted, "wanted_of", as_if_kept)]


@bug("another attempt follows, whatever the one before has failed of", shown_by=30)
def repeated_whatever_it_was(_: World) -> list[Swap]:
    return [(domain.decisions.workloads, "may_heal", lambda *_: True)]


@bug("what no record knows is left to run", shown_by=6)
def orphans_never_swept(_: World) -> list[Swap]:
    return [(fedyard.cluster.plan, "ORPHAN_AGE_S", float("inf"))]


@bug("a workload counts as gone as soon as its end was asked for", shown_by=3)
def gone_when_asked(_: World) -> list[Swap]:
    def hasty(cluster: Cluster, which: AttemptId, *, grace_s: float) -> bool:
        ended(cluster, which, grace_s=grace_s)
        return True

    return [(actors.workloads, "ended", hasty)]


@bug("what is not listed is not there, however short a time ago it was made", shown_by=38)
def late_lists_believed(_: World) -> list[Swap]:
    return [(fedyard.cluster.plan, "MISSING_S", 0.0)]


@bug("the next attempt takes no seat over", shown_by=38)
def seats_not_taken_over(_: World) -> list[Swap]:
    return [(domain.decisions.progress.holders, "take_over", lambda *_: None)]


@bug("an attempt that was replaced keeps its seat", shown_by=14)
def old_seats_kept(_: World) -> list[Swap]:
    return [(domain.decisions.progress.holders, "_drop", lambda *_: None)]


@bug("the site that an attempt was stays in its project, and its tokens stay in force", shown_by=22)
def old_attempts_not_let_go(_: World) -> list[Swap]:
    return [(domain.decisions.workloads, "let_go", lambda *_: None)]


@bug("what runs for a project runs on when that is archived", shown_by=22)
def archived_projects_run_on(_: World) -> list[Swap]:
    return [(domain.decisions.projects, "shall_stop", lambda _draft, workload, _reason: workload)]


@bug("places of archived projects stay", shown_by=22)
def places_stay(_: World) -> list[Swap]:
    return [(storage.wanted.WantedWorkloads, "places_to_end", lambda *_: [])]


@bug("the files of an archived project go as soon as nothing uses them", shown_by=86)
def files_not_kept(_: World) -> list[Swap]:
    return [(storage.places, "FILES_KEPT_S", 0)]


@bug("whoever starts what runs has it twice", shown_by=30)
def started_twice(_: World) -> list[Swap]:
    return [(domain.decisions.infrastructure, "_there", lambda *_: {})]
