"""What this site holds the hub to: consent, a run's project, its tasks and models as they were first shown."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fedyard.agent import contract
from fedyard.agent.policy import ProjectPolicy, policy_of
from fedyard.agent.state import RunTask, Seat
from fedyard.agent.steps.common import Common, task_of
from fedyard.sealed.errors import NotConsented, OlderModel, TaskDiffers
from fedyard.sealed.sealing import Digests, Origin
from fedyard.wire.answers import Entry, TaskSpec
from fedyard.wire.notices import EarlierModel, Invitation
from fedyard.wire.types import decode


class Holding:
    """What this site holds the hub to: consent, a run's project, its tasks and models as they were first shown."""

    def __init__(self, common: Common) -> None:
        self._at = common

    def consented(self, entry: Entry) -> None:
        """Raises `NotConsented` unless this site serves the entry's project, under the coordinator of its consent."""
        consent = self._at.courier.directories.consented(entry.project_id)
        if entry.run_id is not None:
            known = self._at.state.seats.project_of(entry.run_id)
            if known not in (None, entry.project_id):
                raise NotConsented(
                    f"run {entry.run_id} belongs to project {known}, and the hub now shows it in {entry.project_id}"
                )
        if entry.kind in ("invited", "score"):
            said = decode(entry.facts, Invitation[TaskSpec]).coordinator_site_id
            if said not in (None, consent.coordinator):
                raise NotConsented(
                    f"project {consent.name!r} ({consent.project_id}) was joined under the coordinator "
                    f"{consent.coordinator}, and the hub invites to it under {said}"
                )

    def policy(self, entry: Entry) -> ProjectPolicy:
        """What this site's own configuration says of the entry's project. Raises `NotConsented`."""
        return policy_of(self._at.settings.project, self._at.courier.directories.consented(entry.project_id))

    def hold(self, entry: Entry, spec: TaskSpec, seats: Sequence[str] = ()) -> RunTask:
        """Hold the hub to a task of a run as it was first shown, and to the tasks of this site's people.

        Raises `TaskDiffers`.
        """
        run_id, task_seq = task_of(entry)
        digest = contract.task_digest(spec)
        known = self._at.state.runs.run_task(run_id, task_seq)
        if known is not None and known.digest != digest:
            raise TaskDiffers(f"task {spec.name!r} of run {run_id} is not as it was when the run began")
        ours = self._at.state.runs.own_tasks(entry.project_id or "")
        if ours and digest not in ours:
            raise TaskDiffers(
                f"task {spec.name!r} of run {run_id} is none of those that this site gave to project "
                f"{entry.project_id}; if its people want it so for this run: `fedyard run accept {run_id}`, then "
                f"`fedyard run restart {run_id}`"
            )
        before = known.seats if known is not None else ()
        held = RunTask(run_id, task_seq, digest, msgspec.json.encode(spec), sorted({*before, *seats}))
        if held != known:
            self._at.state.runs.keep_run_task(held)
        return held

    @staticmethod
    def check_start(entry: Entry, shown: Origin | None, newest: Origin | None) -> None:
        """Is the model that a seat is to start with newer than what it has, and of its task? Raises `SealError`.

        Before this site has seen a model of the task run, the hub says which one it starts from.
        """
        if shown is None:
            return
        task_run = (entry.run_id, entry.task_seq)
        here = (shown.run, shown.task) == task_run
        if here and (shown.round or 0) >= (entry.round or 1):
            raise OlderModel(f"round {entry.round} cannot start from the model of round {shown.round}")
        if newest is None or (newest.run, newest.task) != task_run:
            return
        if not here or (shown.round or 0) < (newest.round or 0):
            raise OlderModel(
                f"round {entry.round} is to start from a model of round {shown.round} in run {shown.run}, and this "
                f"site has that of round {newest.round} in run {newest.run}"
            )

    @staticmethod
    def check_results(entry: Entry, shown: Sequence[EarlierModel], seat: Seat) -> None:
        """Tasks before have ended, so what they made is what this seat was shown first. Raises `OlderModel`."""
        if list(shown) != seat.results:
            raise OlderModel(
                f"round {entry.round} of task {entry.task_seq} in run {entry.run_id} is shown other results of the "
                "tasks before it than its first one"
            )

    def check_result(self, entry: Entry, result: EarlierModel, shown: Origin | None) -> None:
        """Is this the model of that task, and none older than this site has seen? Raises `SealError`.

        In an attempt that carries the task over it is of the attempt before.
        """
        if shown is None or entry.run_id is None:
            return
        if shown.task != result.seq:
            raise OlderModel(f"the model of task {result.task!r} that the hub shows was made by task {shown.task}")
        known = self._at.state.runs.run_task(entry.run_id, result.seq)
        if known is not None and shown.digests is not None and shown.digests.task != known.digest:
            raise TaskDiffers(f"the model of task {result.task!r} that the hub shows was made of another task")
        seat = self._at.state.seats.get(entry.run_id, result.seq)
        newest = None if seat is None else self._at.payloads.model_origin(seat.model_id)
        if newest is not None and newest.run == shown.run and (shown.round or 0) < (newest.round or 0):
            raise OlderModel(
                f"the model of task {result.task!r} that the hub shows is of round {shown.round}, and this site has "
                f"that of round {newest.round}"
            )

    def of_update(self, seat: Seat) -> Digests:
        """What an update of this seat says of its task and of the model that it starts from."""
        origin = self._at.payloads.model_origin(seat.model_id)
        spec = decode(seat.task_json, TaskSpec)
        return Digests(contract.task_digest(spec), None if origin is None else origin.digest)
