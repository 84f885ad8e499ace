"""Secrets of projects: what their workloads are given by name. Here they are shut, and stay so."""

from __future__ import annotations

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import known_project, missing, need_coordinator
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import take_one
from domain.events import EventKind
from domain.ids import Id
from domain.needs import Needs
from domain.states import WORKLOAD_LIVE
from domain.values import MAX_SECRETS, WorkloadSpec
from domain.workloads import site_of, spec_of
from fedyard.wire.problems import ProblemType


def needs_of_set_secret(command: c.SetSecret) -> Needs:
    project = command.project_id
    return Needs(members_of={project}, secrets={(project, command.name)}, counts={("secrets", project)})


def set_secret(draft: Draft, command: c.SetSecret) -> Decision:
    """Attempts that begin from now on get it."""
    project = known_project(draft, command.project_id)
    need_coordinator(draft, project, admin_too=False)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived: nothing runs for it")
    if _set(draft, project.id, command.name) is None:
        take_one(draft, "secrets", project.id, MAX_SECRETS, "delete one that nothing needs")
    draft.put(
        r.ProjectSecret(
            project_id=project.id,
            name=command.name,
            key_id=command.key_id,
            content=command.content,
            set_by=draft.by.id,
            set_at=draft.now,
        )
    )
    draft.event(("project", project.id), EventKind.SECRET_SET, {"name": command.name})
    return draft.accept(results.SecretResult(project_id=project.id, name=command.name))


def needs_of_delete_secret(command: c.DeleteSecret) -> Needs:
    project = command.project_id
    return Needs(members_of={project}, secrets={(project, command.name)}, workloads_of={project})


def delete_secret(draft: Draft, command: c.DeleteSecret) -> Decision:
    """Not while something that goes on at a cluster of the hub's may need it once more."""
    project = known_project(draft, command.project_id)
    need_coordinator(draft, project, admin_too=False)
    secret = _set(draft, project.id, command.name)
    if secret is None:
        raise missing("secret", command.name)
    for workload in draft.group(r.Workload, project.id):
        live = workload.state in WORKLOAD_LIVE and workload.stop_at is None
        if live and site_of(workload.cluster) is None and command.name in spec_of(workload).secrets.values():
            raise Refused(
                ProblemType.SECRET_NEEDED,
                f"workload {workload.id} ({workload.name}) gets secret {command.name} when it is made anew: stop it "
                "first, or set the secret to something else",
            )
    draft.change(secret, key_id="", content=b"", set_by=draft.by.id, set_at=draft.now)
    draft.event(("project", project.id), EventKind.SECRET_DELETED, {"name": command.name})
    return draft.accept(results.SecretResult(project_id=project.id, name=command.name))


def _set(draft: Draft, project: Id, name: str) -> r.ProjectSecret | None:
    """One that was deleted has its row still, without content."""
    found = draft.get(r.ProjectSecret, project, name)
    return found if found is not None and found.key_id else None


def secrets_needed(project: Id, where: str, spec: WorkloadSpec) -> set[tuple[Id, str]]:
    """Of the hub's, for a workload there; a site's own are that site's to know."""
    return {(project, name) for name in spec.secrets.values()} if site_of(where) is None else set()


def check_secrets(draft: Draft, project: Id, where: str, spec: WorkloadSpec) -> None:
    """422 unless all that it names are set."""
    lacking = sorted(name for of, name in secrets_needed(project, where, spec) if _set(draft, of, name) is None)
    if lacking:
        raise Refused(
            ProblemType.IMPOSSIBLE,
            f"project {project} has no secret {', '.join(lacking)}: set it (PUT /v1/projects/{project}/secrets/"
            f"{lacking[0]}), or leave it out of the spec",
        )
