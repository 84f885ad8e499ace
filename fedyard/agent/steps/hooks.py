"""Calling a hook because of an entry, and keeping what it made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from fedyard.agent.confining import confinement_of, why_unreachable
from fedyard.agent.failures import Failures
from fedyard.agent.keeping import WORK, Keeping
from fedyard.agent.patience import Overtaken
from fedyard.agent.policy import PolicyRefused, ProjectPolicy
from fedyard.agent.state import Generation, LeftOut, Made, Seat
from fedyard.agent.steps.common import Common, task_of
from fedyard.agent.steps.holding import Holding
from fedyard.agent.steps.policy import Policy
from fedyard.clock import micros_now
from fedyard.sealed.errors import Gone, NotRecipient
from fedyard.sealed.sealing import Digests
from fedyard.tasks import TaskError, jobs
from fedyard.tasks.privacy import Filter, Privacy, may_leave
from fedyard.tasks.sources import Source
from fedyard.wire.answers import Entry, TaskSpec
from fedyard.wire.notices import EarlierModel

MAX_SAID = 500
"""Characters of one call to `context.log` that go to this site's own log."""
MAX_TRACE = 8000
"""Characters at the end of a traceback that go to this site's own log; the file has all."""


class Hooks:
    """Calling a hook because of an entry, and keeping what it made."""

    def __init__(self, common: Common, holding: Holding) -> None:
        self._at = common
        self._holding = holding
        self.policy = Policy(common, holding)
        self._failures = Failures(common.folder.path)
        self._keeping = Keeping(common.folder.path, common.state)
        self._aside: dict[tuple[str, int], Generation] = {}

    def keep_made(
        self,
        entry: Entry,
        finished: jobs.Finished,
        left_out: Sequence[LeftOut] = (),
        *,
        digests: Digests | None,
        **more: float,
    ) -> None:
        """What a hook made, on disk until the hub has it. digests: what it was made of."""
        packed = finished.packed
        assert packed is not None
        assert entry.run_id is not None
        metrics = self.leaving(entry, {**finished.metrics, **more})
        generation = self._aside.pop(task_of(entry), None)
        self._at.state.results.keep_made(
            Made(
                *(entry.seq, entry.run_id, packed.content, packed.file, metrics, left_out, digests, finished.norm),
                code=finished.code,
            ),
            finished.spent,
            generation,
        )
        if generation is not None:
            self._keeping.counts(generation)

    def forget_run(self, run_id: str) -> None:
        """What was put aside and never counted goes."""
        for key in [key for key in self._aside if key[0] == run_id]:
            self._keeping.counts(self._aside.pop(key))

    def leaving(self, entry: Entry, metrics: Mapping[str, float]) -> dict[str, float]:
        """As many of the metrics as this site lets leave it."""
        policy = self._holding.policy(entry)
        return may_leave(policy.leaving(metrics), policy.privacy)

    def call(
        self,
        entry: Entry,
        hook: jobs.Hook,
        spec: TaskSpec,
        seat: Seat | None,
        updates: list[jobs.Submitted] | None = None,
        results: Sequence[EarlierModel] | None = None,
        start: Callable[[], jobs.Packed | None] | None = None,
    ) -> jobs.Finished:
        """A hook's outcome; a crash of its process is one, too. Raises `Overtaken` or `Halted` if it is not wanted.

        results: of the tasks before; left out: as the seat was shown them. start: gets the model that an aggregation's
        round began with, if the hook asks for it. Raises `SealError` for one that is not what
        the hub says it is.
        """
        run_id, task_seq = task_of(entry)
        self._at.patience.go_on(entry)
        try:
            policy, code = self.policy.before(entry, hook, spec)
        except PolicyRefused as refusal:
            return jobs.Finished(error=str(refusal))
        blind = jobs.is_blind(hook, policy.privacy is not None)
        model = None
        if hook in ("train", "score") and seat and seat.model_id:
            model = jobs.packed(self._at.payloads.model(entry, seat.model_id, start=True).content)
        project_id, number = entry.project_id or "", 1 if entry.round is None else entry.round
        made, missing = self._made_before(entry, seat.results if results is None and seat else results or [])
        sources = {} if blind else self._sources(policy)
        own = self.policy.folder(entry, hook, policy)
        work = own / WORK if project_id and not blind else None
        if blind:
            self._keeping.place(None, run_id, own / WORK)
        self._copied(entry, spec, work)
        job = jobs.Job(
            hook=hook,
            model_name=spec.model,
            allowed=policy.models(self._at.settings.tasks.allow),
            site_id=self._at.site_id,
            run_id=run_id,
            task=spec.name,
            task_seq=task_seq,
            round=number,
            rounds=spec.rounds,
            parameters=spec.parameters,
            data={} if blind else self._data(policy),
            min_count=policy.least(self._at.settings.tasks.min_count),
            sources=sources,
            folder=str(own),
            model=model,
            updates=updates or [],
            limit_bytes=self._at.settings.tasks.content_limit_bytes,
            project_id=project_id,
            keep="" if work is None else str(work),
            filter=self._filter(entry, hook, policy.privacy),
            code=code,
            min_rows=policy.min_rows,
            results=made,
            missing_results=missing,
            confine=confinement_of(policy.confine, self._at.folder.path, sources, code, [str(own)]),
            model_on_request=start is not None,
        )
        finished = self._computed(entry, policy, job)
        if finished is not None and finished.wants_model and start is not None:
            self._copied(entry, spec, work)
            finished = self._computed(
                entry, policy, msgspec.structs.replace(job, model=start(), model_on_request=False)
            )
        if finished is not None:
            self._stays(entry, hook, finished)
            finished = self._kept(entry, hook, spec, work, self.policy.after(entry, hook, policy, finished))
        if policy.privacy is not None and hook == "train":
            finished = self._counted(entry, finished)
        if policy.privacy is not None and finished is not None:
            finished = msgspec.structs.replace(finished, metrics=may_leave(finished.metrics, policy.privacy))
        if finished is None:
            self._at.patience.go_on(entry)
            self._holding.consented(entry)
            raise Overtaken
        return msgspec.structs.replace(finished, code="" if code is None else code.digest)

    def _stays(self, entry: Entry, hook: jobs.Hook, finished: jobs.Finished) -> None:
        """What this site's own people see of a hook that failed: all of it, in a file and in the agent's log."""
        if not (finished.error or finished.trace):
            return
        run_id, task_seq = task_of(entry)
        reason = finished.error or f"{hook}: evaluate failed, which costs no model"
        try:
            file = self._failures.keep(run_id, task_seq, entry.round or 1, reason, finished.trace, micros_now())
        except OSError as error:
            self._at.log("traceback not kept", run=run_id, task=task_seq, error=type(error).__name__)
            return
        self._at.log(
            "hook failed",
            run=run_id,
            task=task_seq,
            round=entry.round,
            hook=hook,
            reason=reason,
            file=str(file),
            traceback=finished.trace[-MAX_TRACE:] or None,
        )

    def _copied(self, entry: Entry, spec: TaskSpec, work: Path | None) -> None:
        """What the hook finds in `context.keep`: what counted before its entry. Raises `OSError`.

        work: its copy; None where it is not to see what others have kept, or there is no project.
        """
        key = task_of(entry)
        if key in self._aside:
            self._keeping.counts(self._aside.pop(key))
        if entry.project_id and work is not None:
            self._keeping.begin(entry.project_id, spec.name, key[0], entry.seq, work)

    def _kept(
        self, entry: Entry, hook: jobs.Hook, spec: TaskSpec, work: Path | None, finished: jobs.Finished
    ) -> jobs.Finished:
        """What the hook keeps is put aside until its result is kept; at once where it has none. Raises `OSError`."""
        if finished.error or finished.stopped or not entry.project_id or work is None:
            return finished
        run_id, task_seq = task_of(entry)
        without = finished.packed is None
        try:
            generation = self._keeping.put_aside(
                entry.project_id, spec.name, run_id, entry.seq, work, if_changed=without
            )
        except TaskError as error:
            return jobs.Finished(error=f"{hook}: {error}")
        if generation is not None and without:
            self._at.state.kept.keep(generation)
            self._keeping.counts(generation)
        elif generation is not None:
            self._aside[run_id, task_seq] = generation
        return finished

    def _computed(self, entry: Entry, policy: ProjectPolicy, job: jobs.Job) -> jobs.Finished | None:
        return self._at.children.call(
            job,
            lambda: (
                self._at.patience.unwanted(entry) or not self._at.courier.directories.consents.serves(entry.project_id)
            ),
            lambda text: self._said(entry, policy, text),
        )

    def _data(self, policy: ProjectPolicy) -> dict[str, str]:
        return {name: str(path) for name, path in self._at.folder.data(self._at.settings, policy).items()}

    def _sources(self, policy: ProjectPolicy) -> dict[str, Source]:
        """What a task is shown; of what it cannot reach it is told why, should it ask for it."""
        found = self._at.folder.sources(self._at.settings, policy)
        whys = {name: why_unreachable(policy.confine, name, source) for name, source in found.items()}
        return {
            name: msgspec.structs.replace(source, fault=source.fault or whys[name]) for name, source in found.items()
        }

    def _filter(self, entry: Entry, hook: jobs.Hook, privacy: Privacy | None) -> Filter | None:
        """What is done to an update; a place in the project's budget is reserved before one is made."""
        if privacy is None:
            return None
        if hook == "train":
            return Filter(privacy, self._at.state.releases.reserve(entry, privacy, micros_now()))
        return Filter(privacy, self._at.state.releases.of(entry.project_id or ""))

    def _counted(self, entry: Entry, finished: jobs.Finished | None) -> jobs.Finished | None:
        """An update that has to have noise; its place is given back if there is none."""
        if finished is not None and not finished.error and finished.spent is None:
            finished = jobs.Finished(error="train: this site adds noise to updates, and this one came without any")
        if finished is None or finished.error:
            self._at.state.releases.give_back(entry)
        return finished

    def _said(self, entry: Entry, policy: ProjectPolicy, text: str) -> None:
        """What a hook says goes to the coordinator; with noise, or where logs stay, to this site's log."""
        run_id, task_seq = task_of(entry)
        if policy.privacy is None and policy.logs:
            self._at.logs.add(entry.project_id or "", run_id, task_seq, entry.round or 1, text)
        else:
            self._at.log("a hook said", run=run_id, task=task_seq, round=entry.round, text=text[:MAX_SAID])

    def _made_before(
        self, entry: Entry, results: Sequence[EarlierModel]
    ) -> tuple[dict[str, jobs.Packed], dict[str, str]]:
        """What the tasks before made, and of those that this site cannot open why, which it says where it is asked for.

        Raises `SealError` for one that is not what the hub says it is: that is not for a task to get over.
        """
        made: dict[str, jobs.Packed] = {}
        missing: dict[str, str] = {}
        for result in results:
            try:
                opened = self._at.payloads.model(entry, result.message_id, start=True)
            except (Gone, NotRecipient) as error:
                missing[result.task] = error.fact
                continue
            if not opened.content:
                missing[result.task] = "it is not at the hub any more"
                continue
            self._holding.check_result(entry, result, opened.origin)
            made[result.task] = jobs.packed(opened.content)
        return made, missing
