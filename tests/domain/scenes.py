"""Values to decide on, without a store: rows with whatever a test does not care about filled in, and the decision."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from domain import codec, values
from domain import commands as c
from domain import records as r
from domain.commands import AnyCommand
from domain.decide import decide
from domain.decisions.draft import Decision, Draft, State
from domain.ids import Id, derive
from domain.rules import Rules
from domain.values import Subject
from fedyard.wire.times import SECOND
from tests.seals import KEY

R = TypeVar("R", bound=r.Record)

DAY = 86_400 * SECOND
NOW = 1_800_000_000 * SECOND

CAUSE = derive("tests", "cause")
"""The id of whatever command is decided."""
ORGANISATION = "00000000-0000-4000-8000-0000000000a0"
ELSEWHERE = "00000000-0000-4000-8000-0000000000a1"
PROJECT = "00000000-0000-4000-8000-0000000000b0"
RUN = "00000000-0000-4000-8000-0000000000c0"
SITES = tuple(f"00000000-0000-4000-8000-00000000000{n}" for n in range(1, 6))
"""The first one coordinates."""

_BLANK: dict[str, Any] = {"Id": "", "str": "", "int": 0, "Micros": 0, "bytes": b"", "float": 0.0, "bool": False}
_USUAL: dict[type[r.Record], dict[str, Any]] = {
    r.Organisation: {"id": ORGANISATION, "name": "an organisation"},
    r.Account: {"organisation_id": ORGANISATION, "role": "member"},
    r.Token: {"scopes": "read write", "owner_kind": "site"},
    r.Enrolment: {"organisation_id": ORGANISATION},
    r.Site: {"organisation_id": ORGANISATION, "state": "online", "identity_key": KEY},
    r.SiteKey: {"state": "current"},
    r.Project: {
        "id": PROJECT,
        "organisation_id": ORGANISATION,
        "coordinator_site_id": SITES[0],
        "joining": "approval",
        "max_live_runs": 1,
        "sealed": "optional",
    },
    r.Membership: {"project_id": PROJECT, "role": "participant", "state": "active"},
    r.Run: {
        "id": RUN,
        "project_id": PROJECT,
        "coordinator_site_id": SITES[0],
        "number": 1,
        "attempt": 1,
        "state": "running",
        "created_by": SITES[0],
        "deadline_at": NOW + 30 * DAY,
    },
    r.TaskRun: {"run_id": RUN, "seq": 1, "name": "train", "state": "active", "round": 1, "first_round": 1},
    r.Round: {"number": 1, "run_id": RUN, "state": "selecting", "quorum": 1, "deadline_at": NOW + DAY},
    r.Seat: {"run_id": RUN, "round": 1, "state": "invited"},
    r.Submission: {"round": 1, "run_id": RUN},
    r.Message: {"project_id": PROJECT, "kind": "message", "expires_at": NOW + DAY},
    r.InboxEntry: {"kind": "message", "state": "queued"},
    r.Artifact: {"project_id": PROJECT, "owner_site_id": SITES[1], "kind": "result", "state": "stored"},
}


def row(kind: type[R], /, **fields: Any) -> R:
    """A record of this kind; what is neither given nor usual is empty."""
    blank = {
        field.name: None
        if kind.__annotations__[field.name].endswith("None")
        else _BLANK[kind.__annotations__[field.name]]
        for field in msgspec.structs.fields(kind)
        if field.required
    }
    return kind(**(blank | _USUAL.get(kind, {}) | fields))


def site(number: int, **fields: Any) -> list[r.Record]:
    """One of SITES, its mailbox and its stream."""
    key = SITES[number]
    made = row(r.Site, id=key, name=f"site {number}", **fields)
    return [made, row(r.Mailbox, site_id=key), stream("site", key)]


def stream(kind: str, key: Id) -> r.Stream:
    return r.Stream(id=key, kind=kind, last_seq=0, last_hash="")


def project(members: int = 3, tasks: list[values.TaskSpec] | None = None, **fields: Any) -> list[r.Record]:
    """The project with so many active members, the coordinator among them, and all that hangs on it."""
    tasks = tasks or [values.TaskSpec(name="train", model="m")]
    made = row(r.Project, tasks_json=msgspec.json.encode(tasks).decode(), **fields)
    rows: list[r.Record] = [row(r.Organisation), made, stream("project", PROJECT), stream("organisation", ORGANISATION)]
    for number in range(members):
        role = "coordinator" if number == 0 else "participant"
        rows += [*site(number), row(r.Membership, site_id=SITES[number], role=role)]
    return rows


def task_id(seq: int = 1) -> Id:
    return derive(RUN, "task", seq)


def task(spec: values.TaskSpec | None = None, seq: int = 1, **fields: Any) -> r.TaskRun:
    spec = spec or values.TaskSpec(name="train", model="m")
    spec_json = msgspec.json.encode(spec).decode()
    return row(r.TaskRun, **{"id": task_id(seq), "seq": seq, "name": spec.name, "spec_json": spec_json, **fields})


def seat(number: int, state: str, **fields: Any) -> r.Seat:
    return row(r.Seat, task_run_id=task_id(), site_id=SITES[number], state=state, **fields)


def run(
    seats: list[str],
    stage: str = "selecting",
    *,
    quorum: int = 1,
    rounds: int = 2,
    number: int = 1,
    contract: dict[str, Any] | None = None,
    deadline_at: int = NOW + DAY,
    **fields: Any,
) -> list[r.Record]:
    """A run in the first task of a project, whose seats (of the first sites) have these states in round `number`."""
    spec = values.TaskSpec(name="train", model="m", rounds=rounds, contract=values.Contract(**contract or {}))
    return [
        *project(len(seats), [spec]),
        row(r.Run, **fields),
        task(spec, round=number),
        row(
            r.Round,
            task_run_id=task_id(),
            number=number,
            state=stage,
            quorum=quorum,
            deadline_at=deadline_at,
            stage_at=NOW - DAY,
        ),
        *(seat(n, state, round=number) for n, state in enumerate(seats)),
    ]


def by_site(number: int) -> Subject:
    return Subject(kind="site", id=SITES[number], organisation_id=ORGANISATION)


def by_account(role: values.Role, organisation: Id = ORGANISATION) -> tuple[Subject, r.Account]:
    """Somebody, and the row of the account."""
    key = derive(organisation, role)
    made = row(r.Account, id=key, organisation_id=organisation, role=role)
    return Subject(kind="account", id=key, organisation_id=organisation, role=role), made


def draft(
    rows: list[Any], by: Subject = codec.THE_HUB, *, now: int = NOW, rules: Rules | None = None, **state: Any
) -> Draft:
    """A decision that has not begun."""
    envelope = codec.envelope_of(c.ForgetHistory(), id=CAUSE, by=by, at=now)
    return Draft(State(rows, **state), envelope, now, rules or Rules())


def decided(
    command: AnyCommand,
    rows: list[Any],
    by: Subject = codec.THE_HUB,
    *,
    now: int = NOW,
    rules: Rules | None = None,
    **state: Any,
) -> Decision:
    envelope = codec.envelope_of(command, id=CAUSE, by=by, at=now)
    return decide(State(rows, **state), envelope, now, rules or Rules())


def answer(decision: Decision) -> dict[str, Any]:
    """Of one that was accepted."""
    assert decision.accepted, decision.answer
    found: dict[str, Any] = msgspec.to_builtins(decision.answer)
    return found


def refusal(decision: Decision) -> tuple[int, str]:
    """(status, slug) of one that was refused."""
    assert not decision.accepted, decision.answer
    problem = msgspec.to_builtins(decision.answer)
    assert problem["status"] == decision.status
    return decision.status, problem["type"].removeprefix("/problems/")


def detail(decision: Decision) -> str:
    """The sentence of one that was refused."""
    assert not decision.accepted, decision.answer
    return str(msgspec.to_builtins(decision.answer)["detail"])


def came_to(decision: Decision) -> str:
    """`accepted`, or the slug of the refusal."""
    return "accepted" if decision.accepted else refusal(decision)[1]


def written(decision: Decision, kind: type[R]) -> list[R]:
    """The rows of a kind that the decision changes, in the order of their keys."""
    return sorted((one for one in decision.records if isinstance(one, kind)), key=r.key_of)
