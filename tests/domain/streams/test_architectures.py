"""Architectures and configurations of a project: names, versions, chains without forks and circles."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.streams.architectures import MAX_ARCHITECTURES, ids_of, with_their_chains
from domain.ids import derive
from tests.domain.scenes import (
    CAUSE,
    NOW,
    PROJECT,
    answer,
    by_account,
    by_site,
    came_to,
    decided,
    detail,
    project,
    refusal,
    row,
    site,
    written,
)

A, B, C, D = (derive("architecture", name) for name in "abcd")
SET = derive("configuration")


def architecture(key: str, name: str, **fields: Any) -> list[Any]:
    usual = {"framework": "tf", "version": 1, "project_id": PROJECT, "number": ord(name[0]), "created_at": NOW}
    one = row(sr.Architecture, id=key, name=name, **(usual | fields))
    version = row(
        sr.ArchitectureVersion,
        architecture_id=key,
        version=one.version,
        framework=one.framework,
        distributed=one.distributed,
        code="model = 1",
    )
    return [one, version]


def chain() -> list[Any]:
    """a feeds b, which feeds c; d is on its own."""
    return [
        *project(2),
        *architecture(A, "a", distributed=1, father_id=B),
        *architecture(B, "b", distributed=1, father_id=C),
        *architecture(C, "c", distributed=1),
        *architecture(D, "d"),
    ]


def configuration(*ids: str, **fields: Any) -> sr.Configuration:
    usual = {"id": SET, "name": "set", "project_id": PROJECT, "architectures_json": msgspec.json.encode(ids).decode()}
    return row(sr.Configuration, **(usual | fields))


def creating(**fields: Any) -> sc.CreateArchitecture:
    said = {"project_id": PROJECT, "name": "net", "framework": "tf", "code": "model = 1"}
    return sc.CreateArchitecture(**(said | fields))


def changing(key: str, name: str, **fields: Any) -> sc.ChangeArchitecture:
    said = {"project_id": PROJECT, "architecture_id": key, "name": name, "framework": "tf", "code": "model = 1"}
    return sc.ChangeArchitecture(**(said | fields))


def setting(*ids: str, **fields: Any) -> sc.CreateConfiguration:
    return sc.CreateConfiguration(**({"project_id": PROJECT, "name": "new", "architecture_ids": list(ids)} | fields))


def test_one_is_made_with_a_number_and_its_first_version() -> None:
    decision = decided(creating(imports="import os"), project(2), by_site(0))
    (made,) = written(decision, sr.Architecture)
    assert (decision.status, answer(decision)) == (
        201,
        {"id": made.id, "project_id": PROJECT, "number": 1, "version": 1},
    )
    assert (made.id, made.name, made.framework, made.distributed) == (derive(CAUSE, "architecture"), "net", "tf", 0)
    (version,) = written(decision, sr.ArchitectureVersion)
    assert (version.architecture_id, version.version, version.imports, version.code) == (
        made.id,
        1,
        "import os",
        "model = 1",
    )


@pytest.mark.parametrize(
    ("command", "by", "came"),
    [
        (creating(), by_site(1), "forbidden"),
        (creating(project_id=A), by_site(0), "not_found"),
        (creating(name="a"), by_site(0), "name_taken"),
        (creating(name="A"), by_site(0), "accepted"),
        (creating(distributed=True, father_id=C), by_site(0), "impossible"),
        (creating(distributed=True, father_id=A), by_site(0), "accepted"),
        (creating(distributed=True, father_id=D), by_site(0), "impossible"),
        (creating(distributed=True, father_id=SET), by_site(0), "impossible"),
        (creating(father_id=SET), by_site(0), "accepted"),
        (changing(D, "d", code="model = 2"), by_site(0), "accepted"),
        (changing(D, "a"), by_site(0), "name_taken"),
        (changing(SET, "x"), by_site(0), "not_found"),
        (changing(C, "c", distributed=True, father_id=C), by_site(0), "impossible"),
        (changing(C, "c", distributed=True, father_id=A), by_site(0), "impossible"),
        (changing(B, "b"), by_site(0), "impossible"),
        (changing(A, "a"), by_site(0), "accepted"),
        (sc.DeleteArchitecture(project_id=PROJECT, architecture_id=D), by_site(0), "accepted"),
        (sc.DeleteArchitecture(project_id=PROJECT, architecture_id=SET), by_site(0), "not_found"),
        (setting(A, D), by_site(0), "accepted"),
        (setting(), by_site(0), "accepted"),
        (setting(SET), by_site(0), "impossible"),
        (setting(A, name="set"), by_site(0), "name_taken"),
        (setting(A), by_site(1), "forbidden"),
        (setting(A), by_account("admin", SET)[0], "forbidden"),
    ],
)
def test_who_may_do_what_and_what_cannot_be(command, by, came) -> None:
    rows = [*chain(), configuration(B)]
    if by.kind == "account":
        rows.append(by_account("admin", SET)[1])
    assert came_to(decided(command, rows, by)) == came


def test_strangers_do_not_learn_that_there_is_a_project() -> None:
    rows = [*project(2, joining="invitation"), *site(2)]
    assert came_to(decided(creating(), rows, by_site(2))) == "not_found"
    assert came_to(decided(setting(), rows, by_site(2))) == "not_found"


def test_there_are_so_many_of_a_project() -> None:
    many = [architecture(derive("many", number), f"n{number}", number=number)[0] for number in range(MAX_ARCHITECTURES)]
    assert came_to(decided(creating(), [*project(2), *many], by_site(0))) == "too_many"


def test_a_circle_of_many_is_seen() -> None:
    """c would be fed by b, which is fed by a, which c would feed."""
    said = detail(decided(changing(C, "c", distributed=True, father_id=A), chain(), by_site(0)))
    assert "would feed itself" in said


def test_other_code_is_another_version_and_the_same_is_none() -> None:
    other = decided(changing(D, "d", code="model = 2"), chain(), by_site(0))
    assert answer(other)["version"] == 2
    (kept,) = written(other, sr.ArchitectureVersion)
    assert (kept.version, kept.code) == (2, "model = 2")
    renamed = decided(changing(D, "e", description="better"), chain(), by_site(0))
    assert answer(renamed)["version"] == 1
    assert not written(renamed, sr.ArchitectureVersion)
    assert not written(decided(changing(D, "d"), chain(), by_site(0)), sr.Architecture)


def test_what_fed_a_deleted_one_feeds_nothing() -> None:
    gone = sc.DeleteArchitecture(project_id=PROJECT, architecture_id=B)
    changed = {one.id: one for one in written(decided(gone, chain(), by_site(0)), sr.Architecture)}
    assert {key: (one.father_id, one.deleted_at) for key, one in changed.items()} == {A: (None, None), B: (C, NOW)}


def test_one_that_a_configuration_has_is_not_deleted() -> None:
    gone = sc.DeleteArchitecture(project_id=PROJECT, architecture_id=D)
    assert refusal(decided(gone, [*chain(), configuration(D)], by_site(0))) == (409, "in_use")
    assert decided(gone, [*chain(), configuration(D, deleted_at=NOW)], by_site(0)).accepted


def test_a_configuration_takes_whatever_feeds_its_architectures() -> None:
    (made,) = written(decided(setting(C, D), chain(), by_site(0)), sr.Configuration)
    assert ids_of(made) == [C, B, A, D]
    assert with_their_chains([D, A, D], [one for one in chain() if isinstance(one, sr.Architecture)]) == [D, A]


def test_a_configuration_is_changed_whole_and_deleted_unless_it_was_deployed() -> None:
    rows = [*chain(), configuration(D)]
    change = sc.ChangeConfiguration(
        project_id=PROJECT, configuration_id=SET, name="other", architecture_ids=[A], description="x"
    )
    (changed,) = written(decided(change, rows, by_site(0)), sr.Configuration)
    assert (changed.name, ids_of(changed), changed.description) == ("other", [A], "x")
    gone = sc.DeleteConfiguration(project_id=PROJECT, configuration_id=SET)
    assert written(decided(gone, rows, by_site(0)), sr.Configuration)[0].deleted_at == NOW
    deployed = {("deployments of a configuration", SET): 1}
    assert refusal(decided(gone, rows, by_site(0), counts=deployed)) == (409, "in_use")


def test_an_archived_project_takes_none() -> None:
    rows = [*project(2, archived_at=NOW)]
    assert came_to(decided(creating(), rows, by_site(0))) == "project_archived"
    assert came_to(decided(setting(), rows, by_site(0))) == "project_archived"


def test_code_is_no_command_without_text() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(msgspec.to_builtins(creating(code="")), sc.CreateArchitecture)
