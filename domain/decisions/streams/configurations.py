"""Configurations: architectures of a project that are trained together, as Kafka-ML knows them."""

from __future__ import annotations

import msgspec

from domain import results
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import too_many
from domain.decisions.streams.architectures import own_project, with_their_chains
from domain.decisions.streams.kept import kept_of, known
from domain.decisions.streams.numbers import needs_of_numbers, next_number
from domain.events import EventKind
from domain.ids import Id
from domain.needs import Needs
from fedyard.wire.problems import ProblemType

MAX_CONFIGURATIONS = 200
"""Of one project."""


def needs_of_create_configuration(command: sc.CreateConfiguration) -> Needs:
    needs = needs_of_numbers("configuration")
    needs.add(Needs(members_of={command.project_id}, architectures_of={command.project_id}))
    return needs


def create_configuration(draft: Draft, command: sc.CreateConfiguration) -> Decision:
    project = own_project(draft, command.project_id)
    there = kept_of(draft, sr.Configuration, project.id)
    if len(there) >= MAX_CONFIGURATIONS:
        raise too_many("configurations", project.id, len(there), MAX_CONFIGURATIONS, "delete one that trains nothing")
    made = sr.Configuration(
        id=draft.derive("configuration"),
        number=next_number(draft, "configuration"),
        project_id=project.id,
        name=command.name,
        description=command.description,
        architectures_json=_architectures(draft, project.id, command.architecture_ids),
        created_by=draft.by.id,
        created_at=draft.now,
        changed_at=draft.now,
    )
    _check_name(made, there)
    draft.put(made)
    _tell(draft, made, EventKind.CONFIGURATION_CREATED)
    return draft.accept(_result(made), 201)


def needs_of_change_configuration(command: sc.ChangeConfiguration) -> Needs:
    return Needs(members_of={command.project_id}, architectures_of={command.project_id})


def change_configuration(draft: Draft, command: sc.ChangeConfiguration) -> Decision:
    """What was deployed of it before stays as it was."""
    project = own_project(draft, command.project_id)
    before = known(draft, sr.Configuration, project.id, command.configuration_id)
    changed = msgspec.structs.replace(
        before,
        name=command.name,
        description=command.description,
        architectures_json=_architectures(draft, project.id, command.architecture_ids),
    )
    if changed != before:
        _check_name(changed, kept_of(draft, sr.Configuration, project.id))
        changed = draft.change(changed, changed_at=draft.now)
        _tell(draft, changed, EventKind.CONFIGURATION_CHANGED)
    return draft.accept(_result(changed))


def needs_of_delete_configuration(command: sc.DeleteConfiguration) -> Needs:
    return Needs(
        members_of={command.project_id},
        architectures_of={command.project_id},
        counts={("deployments of a configuration", command.configuration_id)},
    )


def delete_configuration(draft: Draft, command: sc.DeleteConfiguration) -> Decision:
    """Not while a deployment of it is shown."""
    project = own_project(draft, command.project_id)
    gone = known(draft, sr.Configuration, project.id, command.configuration_id)
    deployed = draft.count("deployments of a configuration", gone.id)
    if deployed:
        raise Refused(
            ProblemType.IN_USE,
            f"configuration {gone.id} ({gone.name}) has {deployed} deployments: delete these first",
        )
    gone = draft.change(gone, deleted_at=draft.now, changed_at=draft.now)
    _tell(draft, gone, EventKind.CONFIGURATION_DELETED)
    return draft.accept(_result(gone))


def _architectures(draft: Draft, project_id: Id, wanted: list[Id]) -> str:
    """Their ids as they are kept. Raises `Refused`."""
    there = kept_of(draft, sr.Architecture, project_id)
    unknown = sorted(set(wanted) - {one.id for one in there})
    if unknown:
        raise Refused(ProblemType.IMPOSSIBLE, f"{unknown[0]} is no architecture of project {project_id}: leave it out")
    return msgspec.json.encode(with_their_chains(wanted, there)).decode()


def _check_name(one: sr.Configuration, there: list[sr.Configuration]) -> None:
    taken = next((other for other in there if other.id != one.id and other.name == one.name), None)
    if taken is not None:
        raise Refused(ProblemType.NAME_TAKEN, f"configuration {taken.id} has the name {one.name}: take another one")


def _tell(draft: Draft, one: sr.Configuration, kind: EventKind) -> None:
    facts = {"configuration_id": one.id, "number": one.number, "name": one.name}
    draft.event(("project", one.project_id), kind, facts)


def _result(one: sr.Configuration) -> results.ConfigurationResult:
    return results.ConfigurationResult(id=one.id, project_id=one.project_id, number=one.number)
