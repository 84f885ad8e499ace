"""A project's own coordinator and selectors, as Fedota has them: what is run, and what each sees of the files.

Their images are today's: what they read of their environment, on which ports they listen and where they look for files
is Fedota's. Who may read and write what is its permission matrix (docs/problems.md), by parts of the volume and by
users of their own: a selector sees the initial files and its own folder, the coordinator all but what is a selector's
alone, and writes the checkpoint alone.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from domain.ids import Id
from domain.values import Infrastructure, TaskSpec, WorkloadSpec
from fedyard.cluster.conventions import FILES_TOKEN, ROUNDS_TOKEN
from fedyard.cluster.port import REPLICA, Companion, Made, Part, Spec, Volume

PartName: TypeAlias = Literal["coordinator", "selector"]
COORDINATOR: Final = "coordinator"
SELECTOR: Final = "selector"
PARTS: Final[tuple[PartName, ...]] = (COORDINATOR, SELECTOR)
PORTS: Final[dict[PartName, int]] = {COORDINATOR: 50050, SELECTOR: 50051}
ATTEMPTS: Final = 20
GRACE_S: Final = 30.0
INITIAL_FILES: Final = "initFiles"
CHECKPOINT: Final = f"{INITIAL_FILES}/fl_checkpoint"
OWN_FOLDER: Final = f"{REPLICA}.{SELECTOR}:{PORTS[SELECTOR]}"
"""Fedota calls a selector by where it is dialled, and its folder as well."""
SIDECAR: Final = Companion(
    module="fedyard.sidecar",
    address="WEBSERVER_ADDRESS",
    port=50052,
    paths=[CHECKPOINT],
    secrets=[ROUNDS_TOKEN],
    parts=[INITIAL_FILES],
    user=3,
)
"""Beside the coordinator: it takes its round status, as Fedota's webserver would, and tells the hub."""
FILES_KEPT_S: Final = 86_400
"""So long after a project was archived its volume is kept."""

_INITIAL_FILES = Made(INITIAL_FILES, mode=0o770)
"""By whoever starts first. It is written by the coordinator's user alone: the others have it mounted to be read."""
VOLUMES: Final[dict[PartName, Volume]] = {
    COORDINATOR: Volume(
        variable="FL_ROOT_PATH",
        parts=[Part(), Part(CHECKPOINT, write=True)],
        made=[_INITIAL_FILES, Made(CHECKPOINT, mode=0o640, file=True)],
        files_token=FILES_TOKEN,
    ),
    SELECTOR: Volume(
        variable="FL_ROOT_PATH",
        parts=[Part(INITIAL_FILES), Part(OWN_FOLDER, write=True)],
        made=[_INITIAL_FILES, Made(OWN_FOLDER, mode=0o750), Made(f"{OWN_FOLDER}/roundFiles", mode=0o700)],
    ),
}
USERS: Final[dict[PartName, int]] = {COORDINATOR: 1, SELECTOR: 2}


def goal_count(tasks: list[TaskSpec]) -> int | None:
    """Sites that a round needs; None where the first task's quorum is a fraction."""
    contract = tasks[0].contract
    return int(contract.quorum) if contract.quorum_of == "count" else None


def spec_of_part(part: PartName, of: Infrastructure, project_id: Id, goal: int) -> WorkloadSpec:
    """What a person could ask for as well; the rest is `shaped`. goal: check-ins that begin a round."""
    environment = {"PROBLEM_ID": project_id}
    if part == COORDINATOR:
        environment["CHECKIN_LIMIT"] = str(goal)
    else:
        environment["SELECTOR_SERVICE"] = SELECTOR
    return WorkloadSpec(
        kind="service",
        image=of.coordinator_image if part == COORDINATOR else of.selector_image,
        environment=environment,
        replicas=1 if part == COORDINATOR else of.selectors,
        port=PORTS[part],
        grace_s=GRACE_S,
        attempts=ATTEMPTS,
    )


def shaped(spec: Spec, part: PartName) -> Spec:
    """As its cluster makes it: called by its name, with what it dials and what it sees of the project's files."""
    return msgspec.structs.replace(
        spec,
        name=part,
        stable=True,
        peers=True,
        dials={"COORDINATOR_ADDRESS": f"{COORDINATOR}:{PORTS[COORDINATOR]}"} if part == SELECTOR else {},
        outside=part == SELECTOR,
        user=USERS[part],
        volume=VOLUMES[part],
        companion=SIDECAR if part == COORDINATOR else None,
    )
