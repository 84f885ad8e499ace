"""Each hook against the site's own word: before it is called, while a person or the clock is waited for, and after it.

Everything that a task computes goes through `Hooks.call`, and so through here, whatever the hub has sent before.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from fedyard.agent import contract
from fedyard.agent.paths import under
from fedyard.agent.patience import Overtaken
from fedyard.agent.policy import HELD_BACK, LEFT_OUT_HELD_BACK, PolicyRefused, ProjectPolicy, differences
from fedyard.agent.state import Approval
from fedyard.agent.steps.common import Common, task_of
from fedyard.agent.steps.holding import Holding
from fedyard.agent.steps.waits import Waits
from fedyard.clock import micros_now
from fedyard.tasks import jobs
from fedyard.tasks.code import NAMED, Code, CodeError
from fedyard.tasks.privacy import HIDDEN
from fedyard.wire.answers import Entry, TaskSpec
from fedyard.wire.times import moment
from fedyard.wire.types import decode

LOOK_EVERY_S = 1.0
"""How often it is looked whether a person has answered: a question to this site's own memory."""
NOT_APPROVED = "the people of this site did not approve the run"


class Deadline(msgspec.Struct, frozen=True):
    """What of an entry's facts says until when the hub waits, and how many sites train."""

    deadline_at: int = 0
    seats: int | None = None


class Policy:
    """A hook against the site's own word. now: microseconds, from this machine's clock and not from the hub."""

    def __init__(self, common: Common, holding: Holding, now: Callable[[], int] = micros_now) -> None:
        self._at, self._holding, self.now = common, holding, now
        self._waits = Waits(common)
        self._told: set[int] = set()

    def waits_for(self, entry: Entry, spec: TaskSpec) -> str:
        """Whom or what a hook that sees data would wait for now: person, hours, or nothing (empty)."""
        policy = self._holding.policy(entry)
        try:
            if self._asked(entry, spec, policy, self.code(spec)).state == "waiting":
                return "person"
        except PolicyRefused:
            return ""
        return "hours" if policy.opens_in(self.now()) else ""

    def code(self, spec: TaskSpec) -> Code | None:
        """The code of a task at this site; None where this site does not start it. Raises `PolicyRefused`."""
        try:
            return self._at.children.code(spec.model)
        except CodeError as error:
            raise PolicyRefused("code", str(error)) from None

    def before(self, entry: Entry, hook: jobs.Hook, spec: TaskSpec) -> tuple[ProjectPolicy, Code | None]:
        """Wait until the hook may be called. Raises `PolicyRefused`; `Overtaken` or `Halted` once it is not wanted."""
        run_id, _ = task_of(entry)
        policy = self._holding.policy(entry)
        said = decode(entry.facts, Deadline)
        if (reason := self._at.state.approvals.refused_run(run_id)) is not None:
            raise PolicyRefused("run_refused", reason or NOT_APPROVED)
        if (entry.round or 1) > spec.rounds:
            raise PolicyRefused("rounds", f"the task has {spec.rounds} rounds, and this would be round {entry.round}")
        code = self.code(spec)
        policy.check_model(spec.model, "" if code is None else code.digest)
        if hook not in jobs.AT_DATA:
            return policy, self._pinned(policy, spec, code)
        policy.check_sites(spec, said.seats, trains=hook == "train")
        policy.check_shown(self._at.state.receipts.without_model(*task_of(entry), entry.round or 1))
        self._approved(entry, spec, policy, code)
        while (left := policy.opens_in(self.now())) > 0:
            self._waits.begins(entry, "hours", self.now() + left)
            self._wait(entry, min(left / 1e6, LOOK_EVERY_S))
        self._waits.over(entry)
        opens = self._at.state.approvals.begin(entry.project_id or "", run_id, self.now(), policy.runs_a_day)
        if opens:
            raise PolicyRefused(
                "runs_a_day",
                f"this site takes part in {policy.runs_a_day} runs of the project within 24 hours; the next one may "
                f"begin at {moment(opens)}",
            )
        return policy, self._pinned(policy, spec, code)

    def after(self, entry: Entry, hook: jobs.Hook, policy: ProjectPolicy, finished: jobs.Finished) -> jobs.Finished:
        """What may leave of a hook's outcome; with an error instead where it may not leave at all."""
        finished = msgspec.structs.replace(finished, left_out=_unsaid(finished.left_out, policy))
        if finished.error:
            error = finished.error if policy.logs else f"{hook}: {HELD_BACK}"
            if policy.min_rows and finished.error.startswith(
                f"{hook}: {jobs.FEW_ROWS}"
            ):  # said before the task was there
                few = f"{jobs.FEW_ROWS} this site takes part with {policy.min_rows} rows at least"
                error = finished.error.removeprefix(f"{hook}: ") if policy.logs else few
            if finished.died and policy.privacy is not None:  # with which code, or of which signal, may come of data
                error = f"{hook}: {HIDDEN}"
            return msgspec.structs.replace(finished, error=error)
        try:
            size, packed = self._taken(entry, finished.packed, self.folder(entry, hook, policy))
            if hook == "train":
                policy.check_update(size, finished.metrics, finished.rows)
        except PolicyRefused as refusal:
            return jobs.Finished(error=str(refusal))
        return msgspec.structs.replace(finished, packed=packed, metrics=policy.leaving(finished.metrics))

    def folder(self, entry: Entry, hook: jobs.Hook, policy: ProjectPolicy) -> Path:
        """Where a hook's process may write. What a hook without data finds there no other has left."""
        run_id, task_seq = task_of(entry)
        blind = jobs.is_blind(hook, policy.privacy is not None)
        return under(self._at.runs, run_id, f"{task_seq}-blind" if blind else str(task_seq))

    def check_model(self, entry: Entry, updates: int | None) -> None:
        """The model of a round, by what its sealed header names. What is against this site's word ends its part."""
        run_id, _ = task_of(entry)
        try:
            self._holding.policy(entry).check_made_of(updates)
        except PolicyRefused as refusal:
            self._at.state.approvals.refuse_run(run_id, str(refusal))
            self._at.log("policy", run=run_id, round=entry.round, reason=refusal.slug, detail=str(refusal))

    def _taken(self, entry: Entry, packed: jobs.Packed | None, own: Path) -> tuple[int, jobs.Packed | None]:
        """What a hook made, and its size; a file is taken out of the folder that the hooks' process may change: `own`.

        That process names the file, and the agent may read more than it may: so it has to lie in the task's folder, and
        to be no link. Raises `PolicyRefused`.
        """
        if packed is None or not packed.file:
            return 0 if packed is None else len(packed.content), packed
        run_id, _ = task_of(entry)
        file = Path(packed.file)
        ours = under(self._at.runs, run_id, f"made-{entry.seq}")
        if file.parent != own:
            raise PolicyRefused("file", "what the task made is in a file that is not in its folder")
        try:
            folder = os.open(own, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if not _plain(os.stat(file.name, dir_fd=folder, follow_symlinks=False)):
                    raise PolicyRefused("file", "what the task made is a link")
                os.rename(file.name, ours, src_dir_fd=folder)
            finally:
                os.close(folder)
            found = ours.lstat()
        except OSError:
            raise PolicyRefused("file", "what the task made is in a file that is not there") from None
        if not _plain(found):
            ours.unlink()
            raise PolicyRefused("file", "what the task made is a link")
        return found.st_size, jobs.Packed(file=str(ours))

    def _pinned(self, policy: ProjectPolicy, spec: TaskSpec, code: Code | None) -> Code | None:
        """Of a model that is allowed by a digest nothing else is imported from where its files lie."""
        if code is None or spec.model in NAMED or policy.digests(spec.model) is None:
            return code
        return msgspec.structs.replace(code, only=True)

    def _asked(self, entry: Entry, spec: TaskSpec, policy: ProjectPolicy, code: Code | None) -> Approval:
        """The task as this site's people see it, put on record when it is first seen."""
        run_id, task_seq = task_of(entry)
        project_id, digest = entry.project_id or "", contract.task_digest(spec)
        made = "" if code is None else code.digest
        asks = policy.ask == "runs" or (
            policy.ask == "changes" and not self._at.state.approvals.approved(project_id, digest, made)
        )
        seat = self._at.state.seats.get(run_id, task_seq)
        wanted = Approval(
            project_id=project_id,
            run_id=run_id,
            task_seq=task_seq,
            name=spec.name,
            digest=digest,
            code=made,
            task_json=msgspec.json.encode(spec),
            number=seat.number if seat else 0,
            attempt=seat.attempt if seat else 0,
            asked_at=self.now(),
            until=decode(entry.facts, Deadline).deadline_at,
            state="waiting" if asks else "told",
        )
        asked = self._at.state.approvals.ask(wanted)
        return asked if asks or asked.state in ("refused", "approved") else msgspec.structs.replace(asked, state="told")

    def _approved(self, entry: Entry, spec: TaskSpec, policy: ProjectPolicy, code: Code | None) -> None:
        """Wait for a person, where this site says so. Raises `PolicyRefused` if the answer was no."""
        asked = self._asked(entry, spec, policy, code)
        self._tell(asked)
        if asked.state == "waiting":
            self._waits.begins(entry, "approval")
        while asked.state == "waiting":
            try:
                self._wait(entry, LOOK_EVERY_S)
            except Overtaken:
                self._at.state.approvals.over(*task_of(entry), self.now())
                raise
            asked = self._at.state.approvals.get(asked.id) or msgspec.structs.replace(asked, state="over")
        if asked.state not in ("approved", "told"):
            raise PolicyRefused("not_approved", self._at.state.approvals.refused_run(asked.run_id) or NOT_APPROVED)

    def _tell(self, asked: Approval) -> None:
        """This site's people, of a task that waits for them, or is not as the one of its name was before."""
        if asked.state not in ("waiting", "told") or asked.id in self._told:
            return
        self._told.add(asked.id)
        before = self._at.state.approvals.before(asked.project_id, asked.name, asked.id)
        facts = {"run": asked.run_id, "task": asked.task_seq, "project": asked.project_id}
        if before is not None and before.digest != asked.digest:
            self._at.log("task changed", **facts, detail="; ".join(differences(before.task_json, asked.task_json)))
        if asked.state == "waiting":
            remedy = f"fedyard site approve {asked.run_id}, or fedyard site refuse {asked.run_id}"
            self._at.log("waits for a person", **facts, detail=remedy)

    def _wait(self, entry: Entry, seconds: float) -> None:
        self._at.patience.pause(entry, seconds)
        self._holding.consented(entry)


def _unsaid(left_out: Mapping[str, str], policy: ProjectPolicy) -> dict[str, str]:
    """Sites whose updates a task cannot use, without its sentences where what it says stays."""
    return dict(left_out) if policy.logs else dict.fromkeys(left_out, LEFT_OUT_HELD_BACK)


def _plain(found: os.stat_result) -> bool:
    """A file of its own, under one name."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1
