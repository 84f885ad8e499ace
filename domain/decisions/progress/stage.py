"""Where a decision stands: in which round of which task of which run."""

from __future__ import annotations

import functools

import msgspec

from domain import records as r
from domain import values as v
from domain.decisions.draft import Draft
from domain.events import EventKind
from domain.ids import Id
from domain.states import Step
from fedyard.wire import notices as n

INITIAL = 0
"""The round in which a coordinator gives the model that round 1 begins with (`TaskSpec.initial`)."""
_spec_decoder = msgspec.json.Decoder(v.TaskSpec)


class Stage(msgspec.Struct, frozen=True, eq=False):
    """A round of a task of a run, in a draft.

    The rows are those of the draft at the moment of asking, so that none is out of date after a change. The round may
    not be there yet (its task has not started) or be over.
    """

    draft: Draft
    run_id: Id
    task_id: Id
    number: int

    @property
    def run(self) -> r.Run:
        return self.draft.have(r.Run, self.run_id)

    @property
    def task(self) -> r.TaskRun:
        return self.draft.have(r.TaskRun, self.task_id)

    @property
    def round(self) -> r.Round:
        return self.draft.have(r.Round, self.task_id, self.number)

    @property
    def spec(self) -> v.TaskSpec:
        return spec_of(self.task)

    @property
    def contract(self) -> v.Contract:
        return self.spec.contract

    def next(self) -> Stage:
        """The round after this one."""
        return Stage(self.draft, self.run_id, self.task_id, self.number + 1)

    def seats(self) -> list[r.Seat]:
        """Every seat of the task, also those that are out of this round, by the ids of their sites."""
        return self.draft.group(r.Seat, self.task_id)

    def event(self, kind: EventKind, facts: dict[str, object] | None = None, site_id: Id | None = None) -> None:
        """An event of the run that names task and round, unless the facts say another round."""
        own: dict[str, object] = {"task": self.task.name, "round": self.number}
        run_event(self.draft, self.run, kind, own | (facts or {}), site_id)

    def tell(self, site_id: Id, facts: n.Facts, message_id: Id | None = None) -> None:
        """Put a notice of this round into a site's inbox."""
        self.draft.notify(
            site_id,
            facts,
            project_id=self.run.project_id,
            run_id=self.run_id,
            task_seq=self.task.seq,
            round=self.number,
            message_id=message_id,
        )


class TaskEnd(msgspec.Struct, frozen=True):
    """That a task has to end, by which step, and why; what a round comes to that its task does not outlive."""

    step: Step
    reason: str
    detail: str = ""


def stage_of(draft: Draft, task: r.TaskRun) -> Stage:
    """The round that a task is in."""
    return Stage(draft, task.run_id, task.id, task.round)


@functools.lru_cache(maxsize=1024)
def _spec(text: str) -> v.TaskSpec:
    return _spec_decoder.decode(text)


def spec_of(task: r.TaskRun) -> v.TaskSpec:
    """The task as it was when its run started."""
    return _spec(task.spec_json)


def run_event(draft: Draft, run: r.Run, kind: EventKind, facts: dict[str, object], site_id: Id | None = None) -> None:
    """An event of a run, in its project's stream."""
    draft.event(("project", run.project_id), kind, facts, run_id=run.id, site_id=site_id)
