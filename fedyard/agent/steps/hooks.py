"""Calling a hook because of an entry, and keeping what it made."""

from __future__ import annotations

from collections.abc import Sequence

from fedyard.agent.paths import under
from fedyard.agent.patience import Overtaken
from fedyard.agent.state import LeftOut, Made, Seat
from fedyard.agent.steps.common import Common, task_of
from fedyard.agent.steps.holding import Holding
from fedyard.sealed.sealing import Digests
from fedyard.tasks import jobs
from fedyard.wire.answers import Entry, TaskSpec


class Hooks:
    """Calling a hook because of an entry, and keeping what it made."""

    def __init__(self, common: Common, holding: Holding) -> None:
        self._at = common
        self._holding = holding

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
        metrics = {**finished.metrics, **more}
        self._at.state.results.keep_made(
            Made(entry.seq, entry.run_id, packed.content, packed.file, metrics, left_out, digests, finished.norm)
        )

    def call(
        self,
        entry: Entry,
        hook: jobs.Hook,
        spec: TaskSpec,
        seat: Seat | None,
        updates: list[jobs.Submitted] | None = None,
    ) -> jobs.Finished:
        """A hook's outcome; a crash of its process is one, too. Raises `Overtaken` or `Halted` if it is not wanted."""
        run_id, task_seq = task_of(entry)
        self._at.patience.go_on(entry)
        policy = self._holding.policy(entry)
        model = None
        if hook in ("train", "score") and seat and seat.model_id:
            model = jobs.packed(self._at.payloads.model(entry, seat.model_id, start=True).content)
        project_id, number = entry.project_id or "", entry.round or 1
        job = jobs.Job(
            hook=hook,
            model_name=spec.model,
            allowed=self._at.settings.tasks.allow,
            site_id=self._at.site_id,
            run_id=run_id,
            task=spec.name,
            task_seq=task_seq,
            round=entry.round or 1,
            rounds=spec.rounds,
            parameters=spec.parameters,
            data={name: str(path) for name, path in self._at.folder.data(self._at.settings, policy).items()},
            sources=self._at.folder.sources(self._at.settings, policy),
            folder=str(under(self._at.runs, run_id, str(task_seq))),
            model=model,
            updates=updates or [],
            limit_bytes=self._at.settings.tasks.content_limit_bytes,
            project_id=project_id,
            keep=str(under(self._at.kept, project_id, spec.name)) if project_id else "",
        )
        finished = self._at.children.call(
            job,
            lambda: (
                self._at.patience.unwanted(entry) or not self._at.courier.directories.consents.serves(entry.project_id)
            ),
            lambda text: self._at.logs.add(project_id, run_id, task_seq, number, text),
        )
        if finished is None:
            self._at.patience.go_on(entry)
            self._holding.consented(entry)
            raise Overtaken
        return finished
