"""Models that are trained elsewhere: where only the edge is this hub's, a run of its own stands for such a training.

It has no task of its own: what belongs to it is the workers (workers.py). It ends with them, or by its deadline.
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
from domain.needs import Needs
from domain.states import AnnouncementState
from domain.streams.matching import adopted_run_id

WITHIN_S: Final = 604_800
"""So long it goes on at most: nobody here hears how the training ends."""


def adopt(draft: Draft, model: sr.ModelAnnouncement) -> None:
    """Ask for a run for it, if the settings name a project for such."""
    cluster = draft.rules.streams.cluster(model.cluster)
    if cluster is None or not cluster.models_project:
        return
    command = sc.AdoptModel(
        announcement_id=model.id,
        project_id=cluster.models_project,
        run_id=adopted_run_id(model.cluster, model.string_id),
    )
    draft.follow_up(command, model.id)


def needs_of_adopt_model(command: sc.AdoptModel) -> Needs:
    return Needs(
        announcements={command.announcement_id},
        members_of={command.project_id},
        mentioned_runs={command.run_id},
        counts={("adopted runs", command.project_id)},
    )


def adopt_model(draft: Draft, command: sc.AdoptModel) -> Decision:
    """Its run begins at once; then it is matched. Not while as many go on as the project may have workloads."""
    need_hub(draft.by)
    model = draft.get(sr.ModelAnnouncement, command.announcement_id)
    project = draft.get(r.Project, command.project_id)
    if model is None or model.state != AnnouncementState.LIVE or project is None or project.archived_at is not None:
        return draft.accept(results.Made(id=command.run_id))
    if draft.get(r.Run, command.run_id) is None:
        if draft.count("adopted runs", project.id) >= draft.rules.workloads_per_project:
            return draft.accept(results.Made(id=command.run_id))
        draft.add_to("adopted runs", project.id)
        facts = {"model": model.string_id}
        run = runs.create(draft, project, command.run_id, within_s=WITHIN_S, kind=runs.ADOPTED, facts=facts)
        runs.start(draft, run)
    draft.change(model, run_id=command.run_id)
    draft.follow_up(sc.MatchModel(announcement_id=model.id), model.id)
    return draft.accept(results.Made(id=command.run_id))
