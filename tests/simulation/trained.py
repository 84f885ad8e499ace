"""Deployments and the results of their jobs, compared with what the jobs have sent, and with what they read."""

from __future__ import annotations

from typing import Any

import msgspec

from domain import records as r
from domain import stream_records as sr
from domain.states import DEPLOYMENT, RESULT, RESULT_LIVE, ArtifactState, DeploymentState, ResultState, RunState
from domain.streams.training import key_of
from tests.simulation.copy import Copy
from tests.simulation.world import Broken

OF_TRAINING = (r.Run, r.Workload, sr.Deployment, sr.TrainingResult)
_RESULT_MOVES = {(before, after) for (before, _), after in dict(RESULT).items() if before != after}
_DEPLOYMENT_MOVES = {(before, after) for (before, _), after in dict(DEPLOYMENT).items()}


class Trained(Copy):
    """See the module."""

    def _of_training(self, old: Any, new: Any) -> None:
        match new:
            case r.Run(kind="deployment") if old is not None and old.deadline_at != new.deadline_at:
                self.story.runs[new.id].deadline_at = new.deadline_at
                if new.deadline_at > old.deadline_at:
                    raise Broken(f"run {new.id} was given more time")
            case r.Workload(purpose="training") if old is None:
                self._begun.append(new)
            case sr.Deployment() if old is not None and old.state != new.state:
                if (DeploymentState(old.state), new.state) not in _DEPLOYMENT_MOVES:
                    raise Broken(f"illegal transition: deployment {new.number} went from {old.state} to {new.state}")
            case sr.TrainingResult() if old is not None:
                self._result(old, new)

    def _result(self, old: sr.TrainingResult, new: sr.TrainingResult) -> None:
        if old.state != new.state and (ResultState(old.state), new.state) not in _RESULT_MOVES:
            raise Broken(f"illegal transition: result {new.number} went from {old.state} to {new.state}")
        if old.state == ResultState.FINISHED and msgspec.structs.replace(new, deleted_at=old.deleted_at) != old:
            raise Broken(f"result {new.number} was finished twice: {old}, then {new}")
        if old.state != new.state == ResultState.FINISHED:
            self._finished.append(new)

    def _training(self) -> None:
        """What has begun now, and what was finished."""
        for workload in self._begun:
            self._has_its_data(workload)
        for result in self._finished:
            self._is_what_was_sent(result)
        self._begun.clear()
        self._finished.clear()

    def _has_its_data(self, workload: r.Workload) -> None:
        """No job is wanted before its topic says what it is to be trained on, once."""
        deployment = self.have(sr.Deployment, workload.run_id)
        source = deployment and self.have(sr.DataSource, deployment.data_source_id)
        if deployment is None or source is None or deployment.prepared_at is None:
            raise Broken(f"job {workload.name} is wanted, and its data are not there: {deployment}")
        if deployment.control_topic == source.topic:
            return
        records = self._world.kafka.topics.records.get(deployment.control_topic, [])
        if [one.key for one in records] != [key_of(deployment.number)]:
            raise Broken(f"topic {deployment.control_topic} of deployment {deployment.number} has {records}")

    def _is_what_was_sent(self, result: sr.TrainingResult) -> None:
        """By the newest attempt, while it might, and it was trained on the data that the deployment names."""
        attempt = (result.workload_id or "", result.attempt, result.number)
        sent = self._world.door.sent.get(attempt, {}).get(result.digest)
        if sent is None:
            raise Broken(f"result {result.number} is finished, and no attempt {attempt} has uploaded it: {result}")
        artifact = self.have(r.Artifact, result.model_artifact_id)
        if artifact is None or artifact.state == ArtifactState.DECLARED or artifact.digest != sent[0]:
            raise Broken(f"the model of result {result.number} is not what was uploaded: {artifact}")
        workload, run = self.have(r.Workload, result.workload_id), self.have(r.Run, result.run_id)
        assert workload is not None
        assert run is not None
        for over_at in (workload.stop_at, run.ended_at):
            if over_at is not None and over_at < result.state_at:
                raise Broken(f"result {result.number} was taken after its job was to stop, or its run was over")
        deployment = self.have(sr.Deployment, result.run_id)
        source = deployment and self.have(sr.DataSource, deployment.data_source_id)
        if (source is None or source.description != sent[1]) and not self._world.restores.done:
            raise Broken(f"result {result.number} was trained on {sent[1]}, not on {source and source.description}")

    def untrained(self) -> str | None:
        """Results that are open still, or None."""
        left = [one.number for one in self.every(sr.TrainingResult) if one.state in RESULT_LIVE]
        waiting = [one.number for one in self.every(sr.Deployment) if one.state != DeploymentState.ENDED]
        return f"results {left}, deployments {waiting} are open" if left or waiting else None

    def all_trained(self) -> None:
        """What was accepted is there, runs ended as their jobs did, and each topic says once what there is to do."""
        for (workload, attempt, number), (digest, _) in self._world.door.heard.items():
            result = next((one for one in self.every(sr.TrainingResult) if one.number == number), None)
            if result is None or (result.state, result.digest) != (ResultState.FINISHED, digest):
                raise Broken(f"attempt {attempt} at {workload} was told that result {number} is taken: it is {result}")
        for deployment in self.every(sr.Deployment):
            run = self.have(r.Run, deployment.run_id)
            assert run is not None
            given = [o.state == ResultState.FINISHED for o in self.every(sr.TrainingResult) if o.run_id == run.id]
            if run.state == RunState.SUCCEEDED and not all(given):
                raise Broken(f"run {run.id} has succeeded without its results")
            records = self._world.kafka.topics.records.get(deployment.control_topic, [])
            own = deployment.control_topic.endswith(f".{run.id}.{deployment.number}")
            if own and len(records) != (deployment.prepared_at is not None or bool(records)):
                raise Broken(f"topic {deployment.control_topic} has {len(records)} records")
