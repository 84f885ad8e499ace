"""Architectures: models that can be trained, whose code was parsed where it came in. A chain of them runs from what
feeds to what is fed, without forks and circles."""

from __future__ import annotations

import msgspec

from domain import records as r
from domain import results
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.access import known_project, missing, need_coordinator, sees_runs
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import too_many
from domain.decisions.streams.kept import kept_of, known
from domain.decisions.streams.numbers import needs_of_numbers, next_number
from domain.events import EventKind
from domain.ids import Id, sha256_hex
from domain.needs import Needs
from domain.streams import contract
from fedyard.wire.problems import ProblemType

MAX_ARCHITECTURES = 200
"""Of one project."""
_ids_decoder = msgspec.json.Decoder(list[Id])


def needs_of_create_architecture(command: sc.CreateArchitecture) -> Needs:
    needs = needs_of_numbers("architecture")
    needs.add(Needs(members_of={command.project_id}, architectures_of={command.project_id}))
    return needs


def create_architecture(draft: Draft, command: sc.CreateArchitecture) -> Decision:
    project = own_project(draft, command.project_id)
    there = kept_of(draft, sr.Architecture, project.id)
    if len(there) >= MAX_ARCHITECTURES:
        raise too_many("architectures", project.id, len(there), MAX_ARCHITECTURES, "delete one that nothing trains")
    made = sr.Architecture(
        id=draft.derive("architecture"),
        number=next_number(draft, "architecture"),
        project_id=project.id,
        name=command.name,
        description=command.description,
        framework=command.framework,
        distributed=int(command.distributed),
        father_id=command.father_id if command.distributed else None,
        version=1,
        created_by=draft.by.id,
        created_at=draft.now,
        changed_at=draft.now,
    )
    _check(made, there)
    draft.put(made)
    _keep(draft, made, command)
    _tell(draft, made, EventKind.ARCHITECTURE_CREATED)
    return draft.accept(_result(made), 201)


def needs_of_change_architecture(command: sc.ChangeArchitecture) -> Needs:
    return Needs(members_of={command.project_id}, code_of={command.project_id})


def change_architecture(draft: Draft, command: sc.ChangeArchitecture) -> Decision:
    """What was trained keeps the version that it was trained with."""
    project = own_project(draft, command.project_id)
    before = known(draft, sr.Architecture, project.id, command.architecture_id)
    newest = draft.have(sr.ArchitectureVersion, before.id, before.version)
    same = (newest.framework, bool(newest.distributed), newest.imports, newest.code) == (
        command.framework,
        command.distributed,
        command.imports,
        command.code,
    )
    changed = msgspec.structs.replace(
        before,
        name=command.name,
        description=command.description,
        framework=command.framework,
        distributed=int(command.distributed),
        father_id=command.father_id if command.distributed else None,
        version=before.version if same else before.version + 1,
    )
    if changed != before:
        _check(changed, kept_of(draft, sr.Architecture, project.id))
        changed = draft.change(changed, changed_at=draft.now)
        if not same:
            _keep(draft, changed, command)
        _tell(draft, changed, EventKind.ARCHITECTURE_CHANGED)
    return draft.accept(_result(changed))


def needs_of_delete_architecture(command: sc.DeleteArchitecture) -> Needs:
    return Needs(members_of={command.project_id}, architectures_of={command.project_id})


def delete_architecture(draft: Draft, command: sc.DeleteArchitecture) -> Decision:
    """Not while a configuration has it. What fed it feeds nothing any more."""
    project = own_project(draft, command.project_id)
    gone = known(draft, sr.Architecture, project.id, command.architecture_id)
    for configuration in draft.group(sr.Configuration, project.id):
        if configuration.deleted_at is None and gone.id in ids_of(configuration):
            raise Refused(
                ProblemType.IN_USE,
                f"configuration {configuration.id} ({configuration.name}) has architecture {gone.id}: "
                "take it out of there first",
            )
    for other in kept_of(draft, sr.Architecture, project.id):
        if other.father_id == gone.id:
            draft.change(other, father_id=None, changed_at=draft.now)
    gone = draft.change(gone, deleted_at=draft.now, changed_at=draft.now)
    _tell(draft, gone, EventKind.ARCHITECTURE_DELETED)
    return draft.accept(_result(gone))


# for whoever trains them


def ids_of(configuration: sr.Configuration) -> list[Id]:
    return _ids_decoder.decode(configuration.architectures_json)


def with_their_chains(wanted: list[Id], there: list[sr.Architecture]) -> list[Id]:
    """These, and what feeds them, and what feeds that; each once."""
    below = {one.father_id: one.id for one in there if one.father_id is not None}
    found: dict[Id, None] = {}
    for one in wanted:
        step: Id | None = one
        while step is not None and step not in found:
            found[step] = None
            step = below.get(step)
    return list(found)


def for_the_contract(draft: Draft, one: sr.Architecture) -> contract.Architecture:
    """With its newest code: needs `code_of` its project."""
    version = draft.have(sr.ArchitectureVersion, one.id, one.version)
    return contract.Architecture(
        id=one.id,
        name=one.name,
        framework="pth" if one.framework == "pth" else "tf",
        distributed=bool(one.distributed),
        father_id=one.father_id,
        code=version.code,
    )


def own_project(draft: Draft, project_id: Id) -> r.Project:
    """A project that the caller coordinates, and that is not archived."""
    project = known_project(draft, project_id)
    if not sees_runs(draft, project):
        raise missing("project", project_id)
    need_coordinator(draft, project, admin_too=False)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived: nothing is trained for it")
    return project


def _check(one: sr.Architecture, there: list[sr.Architecture]) -> None:
    """It has a name of its own, and fits into the chain that it is a part of. Raises `Refused`."""
    others = {other.id: other for other in there if other.id != one.id}
    taken = next((other for other in others.values() if other.name == one.name), None)
    if taken is not None:
        raise Refused(ProblemType.NAME_TAKEN, f"architecture {taken.id} has the name {one.name}: take another one")
    child = next((other for other in others.values() if other.father_id == one.id), None)
    if child is not None and not one.distributed:
        raise _impossible(
            f"architecture {child.id} feeds {one.id}, which is then a part of a chain: leave it distributed"
        )
    if one.father_id is None:
        return
    father = others.get(one.father_id)
    if father is None:
        raise _impossible(
            f"{one.father_id} is no other architecture of project {one.project_id}: it can feed none else"
        )
    if not father.distributed:
        raise _impossible(f"architecture {father.id} is no part of a chain (distributed): nothing feeds it")
    other = next((other for other in others.values() if other.father_id == father.id), None)
    if other is not None:
        raise _impossible(f"architecture {father.id} is fed by {other.id} already: one is fed by one")
    step: sr.Architecture | None = father
    while step is not None:
        if step.father_id == one.id:
            raise _impossible(f"architecture {one.id} would feed itself, through {father.id}: name another father")
        step = others.get(step.father_id) if step.father_id is not None else None


def _impossible(detail: str) -> Refused:
    return Refused(ProblemType.IMPOSSIBLE, detail)


def _keep(draft: Draft, one: sr.Architecture, command: sc.CreateArchitecture | sc.ChangeArchitecture) -> None:
    draft.put(
        sr.ArchitectureVersion(
            architecture_id=one.id,
            version=one.version,
            framework=command.framework,
            distributed=int(command.distributed),
            imports=command.imports,
            code=command.code,
            sha256=sha256_hex(f"{command.imports}\0{command.code}".encode()),
            created_by=draft.by.id,
            created_at=draft.now,
        )
    )


def _tell(draft: Draft, one: sr.Architecture, kind: EventKind) -> None:
    facts = {"architecture_id": one.id, "number": one.number, "name": one.name, "version": one.version}
    draft.event(("project", one.project_id), kind, facts)


def _result(one: sr.Architecture) -> results.ArchitectureResult:
    return results.ArchitectureResult(id=one.id, project_id=one.project_id, number=one.number, version=one.version)
