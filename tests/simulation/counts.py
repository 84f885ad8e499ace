"""What has to add up: logs, rooms, models, keys."""

from __future__ import annotations

import math
from collections import defaultdict

import msgspec

from domain import records as r
from domain.states import RUN_FINAL, ArtifactState, KeyState, RoundState, TaskRunState
from domain.values import TaskSpec
from tests.simulation.copy import Copy
from tests.simulation.world import Broken

_BEFORE_ITS_END = (RoundState.TRAINING, RoundState.AGGREGATING)


def _value(metric: str, here: r.Round) -> float | None:
    """Of the coordinator's metrics, or of the sites' mean."""
    said = here.score_json if metric.startswith("score.") else here.metrics_json
    return msgspec.json.decode(said, type=dict[str, float]).get(metric.removeprefix("score."))


def _ended(task: r.TaskRun) -> bool:
    """Otherwise than by its rounds."""
    return task.state in (TaskRunState.FAILED, TaskRunState.CANCELLED)


class Counts(Copy):
    """See the module."""

    def _counted(self) -> None:
        """Keys, logs, models and artifacts, where something of them has changed."""
        if self._fresh[r.LogPiece]:
            self._logs({piece.run_id for piece in self._fresh[r.LogPiece]})
        for project_id in sorted(self._artifacts):
            self._room(project_id)
        if self._artifacts:
            self._needed()
        if self._fresh[r.Model] or self._fresh[r.Event]:
            self._models()
        if self._world.scores:
            self._measured()
        if self._world.codes:
            self._same_code()
        if self._fresh[r.SiteKey]:
            self._keys()

    def _logs(self, runs: set[str]) -> None:
        """The places of a run's log, and the numbers of each site's pieces, are counted without gaps and doubles."""
        for run_id in sorted(runs):
            pieces = [piece for piece in self.every(r.LogPiece) if piece.run_id == run_id]
            head = self.have(r.LogHead, run_id)
            if head is None or sorted(piece.place for piece in pieces) != list(range(1, head.last_place + 1)):
                raise Broken(f"the log of run {run_id} is not numbered without gaps and doubles up to its head")
            for log in (one for one in self.every(r.SiteLog) if one.run_id == run_id):
                mine = [one for one in pieces if (one.site_id, one.task_seq) == (log.site_id, log.task_seq)]
                mine.sort(key=lambda piece: piece.place)
                if [one.seq for one in mine] != list(range(1, log.last_seq + 1)):
                    raise Broken(f"the log of site {log.site_id} in run {run_id} has gaps, doubles or another order")
                if sum(one.size_bytes for one in mine) != log.size_bytes:
                    raise Broken(f"the log of site {log.site_id} in run {run_id} has another size than it says")

    def _room(self, project_id: str) -> None:
        """A project's total is what its artifacts that are not expired add up to."""
        living = [
            one.size_bytes
            for one in self.every(r.Artifact)
            if one.project_id == project_id and one.state != ArtifactState.EXPIRED
        ]
        total = self.have(r.ArtifactTotal, project_id)
        said = (total.live_bytes, total.live_count) if total else None
        if said != (sum(living), len(living)):
            raise Broken(f"the artifacts of project {project_id} are said to be {said}, they are {living}")

    def _needed(self) -> None:
        """No live run has lost its newest model, or an update of a round that is not over."""
        for artifact_id in self._undeclared:
            artifact = self.have(r.Artifact, artifact_id)
            if artifact is None or artifact.state != ArtifactState.EXPIRED:
                raise Broken(f"the digests of artifact {artifact_id} were forgotten before it expired")
        live = {run.id for run in self.every(r.Run) if run.state not in RUN_FINAL}
        needed = {one.model_message_id for one in self.every(r.TaskRun) if one.run_id in live}
        for one in self.every(r.Submission):
            here = self.have(r.Round, one.task_run_id, one.round)
            if one.run_id in live and here is not None and here.state in _BEFORE_ITS_END:
                needed.add(one.update_message_id)
        for message_id in sorted(needed - {None}, key=str):
            message = self.have(r.Message, message_id)
            artifact = self.have(r.Artifact, message.artifact_id) if message is not None else None
            if artifact is not None and artifact.state == ArtifactState.EXPIRED:
                raise Broken(f"artifact {artifact.id} has expired ({artifact.reason}), but a live run needs it")

    def _models(self) -> None:
        """Each completed round with a model is a version of its project, and the versions have no gaps or doubles."""
        for project in self.every(r.Project):
            models = sorted(m.version for m in self.every(r.Model) if m.project_id == project.id)
            if models != list(range(1, project.last_model_version + 1)):
                raise Broken(
                    f"the models of project {project.id} have versions {models}, not 1 to {project.last_model_version}"
                )
        made = {(m.run_id, m.task_seq, m.round, m.message_id) for m in self.every(r.Model)}
        seqs = {task.id: task.seq for task in self.every(r.TaskRun)}
        rounds = {
            (one.run_id, seqs[one.task_run_id], one.number, one.model_message_id)
            for one in self.every(r.Round)
            if one.state in (RoundState.SCORING, RoundState.COMPLETED) and one.model_message_id is not None
        }
        if made != rounds:
            raise Broken(f"models without a completed round, or such rounds without a model: {sorted(made ^ rounds)}")

    def _same_code(self) -> None:
        """Where a task wants it, all that was submitted was made by the code that was said first."""
        wanted = {one.id: one.code for one in self.every(r.TaskRun) if one.run_id in self._touched}
        same = {one.id for one in self.every(r.TaskRun) if msgspec.json.decode(one.spec_json)["code"] == "same"}
        for one in self.every(r.Submission):
            if one.task_run_id in same and one.code != wanted.get(one.task_run_id, one.code):
                raise Broken(f"site {one.site_id} submitted in run {one.run_id} with other code than its task's")
        for seat in self.every(r.Seat):
            if seat.reason == "code_differs" and seat.code == wanted.get(seat.task_run_id):
                raise Broken(f"the seat of site {seat.site_id} in run {seat.run_id} failed of the code that it shares")

    def _measured(self) -> None:
        """What scores come to, which model is the best one, and when a task has stopped early: counted anew."""
        for task in (one for one in self.every(r.TaskRun) if one.run_id in self._touched):
            rounds = sorted(
                (one for one in self.every(r.Round) if one.task_run_id == task.id), key=lambda one: one.number
            )
            spec = msgspec.json.decode(task.spec_json, type=TaskSpec)
            done = [one for one in rounds if one.state == RoundState.COMPLETED]
            for here in done:
                self._score(here)
            self._best(task, spec, done)
            self._stopped(task, spec, rounds)

    def _score(self, here: r.Round) -> None:
        """The mean of what the sites said of this round's model, and of nothing else."""
        said = [
            msgspec.json.decode(one.metrics_json, type=dict[str, float])
            for one in self.every(r.Score)
            if (one.task_run_id, one.round) == (here.task_run_id, here.number)
        ]
        mean = dict[str, float]()
        for name in sorted({name for one in said for name in one}):
            those = [one for one in said if name in one]
            weights = [one.get("samples", 0.0) for one in those]
            if not all(weights):
                weights = [1.0] * len(those)
            total = sum(weight * one[name] for weight, one in zip(weights, those, strict=True)) / sum(weights)
            mean[name] = sum(one[name] for one in those) if name == "samples" else total
        found = msgspec.json.decode(here.score_json, type=dict[str, float])
        if found.keys() != mean.keys() or any(not math.isclose(found[name], mean[name]) for name in mean):
            raise Broken(f"round {here.number} of run {here.run_id} has the score {found}, and {said} was said of it")

    @staticmethod
    def _best(task: r.TaskRun, spec: TaskSpec, done: list[r.Round]) -> None:
        """The first of those rounds whose metric no other one exceeds."""
        if spec.best is None:
            return
        sign = 1 if spec.best.mode == "max" else -1
        values = {one.number: _value(spec.best.metric, one) for one in done if one.model_version is not None}
        known = {number: sign * value for number, value in values.items() if value is not None}
        best = min((number for number in known if known[number] == max(known.values())), default=None)
        version = next((one.model_version for one in done if one.number == best), None)
        if (task.best_round, task.best_version) != (best, version):
            raise Broken(f"task {task.seq} of run {task.run_id} says {task}, and its best round is {best} of {known}")

    @staticmethod
    def _stopped(task: r.TaskRun, spec: TaskSpec, rounds: list[r.Round]) -> None:
        """A round is opened only as long as patience lasts, and a task stops early only when it is over."""
        stop, best, without = spec.stop_early, None, 0
        if stop is None:
            return
        sign = 1 if stop.mode == "max" else -1
        for here in rounds:
            if without >= stop.patience:
                raise Broken(
                    f"round {here.number} of run {task.run_id} was opened after {without} without a better one"
                )
            value = _value(stop.metric, here) if here.state == RoundState.COMPLETED else None
            if value is not None:
                without = 0 if best is None or sign * value > best else without + 1
                best = sign * value if without == 0 else best
        early = task.state == TaskRunState.SUCCEEDED and task.reason == "stopped_early"
        if early != (without >= stop.patience and rounds[-1].number < spec.rounds and not _ended(task)):
            raise Broken(f"task {task.seq} of run {task.run_id} is {task.state} ({task.reason}) after {without} rounds")

    def _keys(self) -> None:
        """Epochs are counted without gaps; none but the newest is current."""
        epochs: dict[str, list[r.SiteKey]] = defaultdict(list)
        for key in self.every(r.SiteKey):
            epochs[key.site_id].append(key)
        for site_id, keys in epochs.items():
            keys.sort(key=lambda key: key.epoch)
            if [key.epoch for key in keys] != list(range(1, len(keys) + 1)):
                raise Broken(f"the keys of site {site_id} are not numbered without gaps and doubles")
            if any(key.state == KeyState.CURRENT for key in keys[:-1]):
                raise Broken(f"site {site_id} has a key that was not superseded by the one behind it")
