"""The Job controller, the TTL of finished Jobs."""

from __future__ import annotations

from typing import Any

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.api import Api, Options
from tests.cluster.apiserver.clock import parsed
from tests.cluster.apiserver.controllers.events import Recorder
from tests.cluster.apiserver.controllers.loop import Loop
from tests.cluster.apiserver.controllers.pods_of import (
    condition,
    done,
    ending,
    owned,
    phase,
    pod_of,
    ready,
    set_condition,
)
from tests.cluster.apiserver.errors import ApiError
from tests.cluster.apiserver.store import Key, key_of

Json = dict[str, Any]
FINALIZER = "batch.kubernetes.io/job-tracking"
_INDEX = "batch.kubernetes.io/job-completion-index"
_COMPONENT = "job-controller"
_MESSAGES = {
    "BackoffLimitExceeded": "Job has reached the specified backoff limit",
    "DeadlineExceeded": "Job was active longer than specified deadline",
}


class Jobs:
    """backoff_s: before a failed pod's successor, doubled each time (the real one begins with 10). retry_s: before a
    pod that was refused is tried again."""

    def __init__(self, api: Api, loop: Loop, recorder: Recorder) -> None:
        self.backoff_s = 10.0
        self.retry_s = 1.0
        self._api, self._loop, self._recorder = api, loop, recorder
        self._retry_at: dict[str, float] = {}
        self._refused: dict[str, int] = {}

    def sync(self, key: Key) -> None:
        job = self._api.store.get(key)
        if job is None:
            return
        pods = owned(self._api.store, r.PODS, job)
        if _finished(job):
            self._release(pods)
            self._expire(job)
            return
        if ending(job):
            self._release([pod for pod in pods if done(pod) or ending(pod)])
            return
        self._suspend_or_begin(key, job, pods)
        job = self._api.store.get(key)
        if job is None or job["spec"]["suspend"]:
            return
        self._count(key, job, pods)
        self._verdict(key)
        job = self._api.store.get(key)
        if job is None:
            return
        if condition(job, "FailureTarget") or condition(job, "SuccessCriteriaMet"):
            self._finish(key, job)
        else:
            self._fill(key, job)
        self._tell(key)

    # ------------------------------------------------------------ steps

    def _suspend_or_begin(self, key: Key, job: Json, pods: list[Json]) -> None:
        now = self._api.clock.stamp()
        suspended = condition(job, "Suspended")
        if job["spec"]["suspend"]:
            for pod in pods:
                if not done(pod) and not ending(pod):
                    self._delete(pod)

            def stop(obj: Json) -> None:
                obj["status"].pop("startTime", None)
                obj["status"]["active"] = 0
                set_condition(obj, "Suspended", "True", now, "JobSuspended", "Job suspended")

            self._release([pod for pod in pods if ending(pod)])
            self._api.modify(key, stop)
            if suspended is None or suspended["status"] != "True":
                self._recorder.say(_COMPONENT, job, "Normal", "Suspended", "Job suspended")
            return
        if (job.get("status") or {}).get("startTime"):
            return

        def begin(obj: Json) -> None:
            obj["status"] = obj.get("status") or {}
            obj["status"]["startTime"] = now
            obj["status"].setdefault("uncountedTerminatedPods", {})
            if suspended is not None:
                set_condition(obj, "Suspended", "False", now, "JobResumed", "Job resumed")

        self._api.modify(key, begin)
        if suspended is not None:
            self._recorder.say(_COMPONENT, job, "Normal", "Resumed", "Job resumed")
        deadline = job["spec"].get("activeDeadlineSeconds")
        if deadline is not None:
            self._again(key, self._api.clock.now() + deadline + 0.001)

    def _count(self, key: Key, job: Json, pods: list[Json]) -> None:
        """Finished pods are counted once, then let go: their finalizer says that they are not yet counted."""
        fresh = [pod for pod in pods if FINALIZER in (pod["metadata"].get("finalizers") or []) and _over(job, pod)]
        succeeded = [pod for pod in fresh if phase(pod) == "Succeeded"]
        ignored = [pod for pod in fresh if pod not in succeeded and _policy_action(job, pod) == "Ignore"]
        failed = [pod for pod in fresh if pod not in succeeded and pod not in ignored]
        if succeeded or failed:
            indexes = {index for pod in succeeded if (index := _index(pod)) is not None}

            def count(obj: Json) -> None:
                status = obj["status"]
                if succeeded:
                    status["succeeded"] = status.get("succeeded", 0) + len(succeeded)
                if failed:
                    status["failed"] = status.get("failed", 0) + len(failed)
                if indexes:
                    known = {int(n) for n in (status.get("completedIndexes") or "").split(",") if n}
                    status["completedIndexes"] = ",".join(str(n) for n in sorted(known | indexes))

            self._api.modify(key, count)
        if failed:
            times = (job.get("status") or {}).get("failed", 0) + len(failed)
            self._retry_at[job["metadata"]["uid"]] = self._api.clock.now() + self.backoff_s * 2 ** (min(times, 7) - 1)
            fatal = next((pod for pod in failed if _policy_action(job, pod) == "FailJob"), None)
            if fatal is not None:
                name = f"{fatal['metadata']['namespace']}/{fatal['metadata']['name']}"
                self._aim(key, "PodFailurePolicy", f"Container for pod {name} failed matching FailJob rule at index 0")
        self._release(fresh)

    def _verdict(self, key: Key) -> None:
        job = self._api.store.get(key)
        if job is None or condition(job, "FailureTarget") or condition(job, "SuccessCriteriaMet"):
            return
        spec, status, clock = job["spec"], job["status"], self._api.clock
        if status.get("failed", 0) > spec["backoffLimit"]:
            self._aim(key, "BackoffLimitExceeded")
            return
        deadline = spec.get("activeDeadlineSeconds")
        if deadline is not None and clock.now() >= parsed(status["startTime"]) + deadline:
            self._aim(key, "DeadlineExceeded")
            return
        wanted = spec.get("completions")
        active = [pod for pod in owned(self._api.store, r.PODS, job) if not done(pod)]
        enough = (
            status.get("succeeded", 0) > 0 and not active if wanted is None else status.get("succeeded", 0) >= wanted
        )
        if enough:
            now = clock.stamp()
            message = "Reached expected number of succeeded pods"
            self._api.modify(
                key, lambda o: set_condition(o, "SuccessCriteriaMet", "True", now, "CompletionsReached", message)
            )

    def _aim(self, key: Key, reason: str, message: str = "") -> None:
        now = self._api.clock.stamp()
        text = message or _MESSAGES[reason]
        self._api.modify(key, lambda obj: set_condition(obj, "FailureTarget", "True", now, reason, text))

    def _finish(self, key: Key, job: Json) -> None:
        """Active pods are deleted; only when all are over comes the last condition."""
        pods = owned(self._api.store, r.PODS, job)
        for pod in pods:
            if not done(pod) and not ending(pod):
                self._delete(pod)
                self._recorder.say(
                    _COMPONENT, job, "Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}"
                )
        pods = owned(self._api.store, r.PODS, job)
        self._count(key, job, pods)
        if any(not done(pod) for pod in owned(self._api.store, r.PODS, job)):
            return
        now = self._api.clock.stamp()
        target = condition(job, "FailureTarget")
        kind = "Failed" if target else "Complete"
        why = target or condition(job, "SuccessCriteriaMet") or {}

        def end(obj: Json) -> None:
            set_condition(obj, kind, "True", now, why["reason"], why["message"])
            obj["status"] |= {"active": 0, "ready": 0, "terminating": 0}
            obj["status"].pop("active")
            if kind == "Complete":
                obj["status"]["completionTime"] = now

        ended = self._api.modify(key, end)
        if kind == "Complete":
            self._recorder.say(_COMPONENT, job, "Normal", "Completed", "Job completed")
        else:
            self._recorder.say(_COMPONENT, job, "Warning", why["reason"], why["message"])
        if ended is not None:
            self._expire(ended)

    def _fill(self, key: Key, job: Json) -> None:
        """As many pods as are wanted at the same time, and not there."""
        spec, status, clock = job["spec"], job["status"], self._api.clock
        pods = owned(self._api.store, r.PODS, job)
        active = [
            pod for pod in pods if not done(pod) and (not ending(pod) or spec["podReplacementPolicy"] == "Failed")
        ]
        wanted = spec.get("completions")
        left = spec["parallelism"] if wanted is None else min(spec["parallelism"], wanted - status.get("succeeded", 0))
        if wanted is None and status.get("succeeded", 0):
            left = len(active)
        for pod in sorted(active, key=ready)[: max(0, len(active) - left)]:
            self._delete(pod)
        missing = left - len(active)
        wait_until = self._retry_at.get(job["metadata"]["uid"], 0.0)
        if missing > 0 and wait_until > clock.now():
            self._again(key, wait_until)
            return
        taken = {_index(pod) for pod in active} | {
            int(n) for n in (status.get("completedIndexes") or "").split(",") if n
        }
        for _ in range(missing):
            index = next(n for n in range(1_000_000) if n not in taken)
            taken.add(index)
            if not self._make(key, job, index if spec["completionMode"] == "Indexed" else None):
                return

    def _make(self, key: Key, job: Json, index: int | None) -> bool:
        pod = pod_of(job, job["spec"]["template"])
        pod["metadata"]["finalizers"] = [FINALIZER, *(pod["metadata"].get("finalizers") or [])]
        if index is not None:
            pod["metadata"]["annotations"] = (pod["metadata"].get("annotations") or {}) | {_INDEX: str(index)}
            pod["metadata"]["labels"] = (pod["metadata"].get("labels") or {}) | {_INDEX: str(index)}
            pod["metadata"]["generateName"] = f"{job['metadata']['name']}-{index}-"
            pod["spec"]["hostname"] = f"{job['metadata']['name']}-{index}"
            for container in (pod["spec"].get("initContainers") or []) + pod["spec"]["containers"]:
                env = container.setdefault("env", [])
                env.append({"name": "JOB_COMPLETION_INDEX", "value": str(index)})
        uid = job["metadata"]["uid"]
        try:
            made = self._api.create(r.PODS, key.namespace, pod, manager="kube-controller-manager").obj
        except ApiError as error:
            self._recorder.say(_COMPONENT, job, "Warning", "FailedCreate", f"Error creating: {error.message}")
            self._refused[uid] = self._refused.get(uid, 0) + 1
            self._retry_at[uid] = self._api.clock.now() + self.retry_s * 2 ** min(self._refused[uid] - 1, 6)
            self._again(key, self._retry_at[uid])
            return False
        self._refused.pop(uid, None)
        self._recorder.say(_COMPONENT, job, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        return True

    def _tell(self, key: Key) -> None:
        job = self._api.store.get(key)
        if job is None or _finished(job):
            return
        pods = owned(self._api.store, r.PODS, job)
        active = [pod for pod in pods if not done(pod) and not ending(pod)]
        terminating = [pod for pod in pods if ending(pod) and not done(pod)]

        def tell(obj: Json) -> None:
            status = obj["status"]
            status["ready"] = sum(1 for pod in active if ready(pod))
            status["terminating"] = len(terminating)
            status["active"] = len(active)
            if not active:
                status.pop("active")

        self._api.modify(key, tell)

    # ------------------------------------------------------------ parts

    def _delete(self, pod: Json) -> None:
        meta = pod["metadata"]
        try:
            self._api.delete(r.PODS, meta["namespace"], meta["name"], Options("Background", uid=meta["uid"]))
        except ApiError as error:
            if error.code not in {404, 409}:
                raise

    def _release(self, pods: list[Json]) -> None:
        for pod in pods:
            if FINALIZER in (pod["metadata"].get("finalizers") or []):
                self._api.modify(key_of(r.PODS, pod), release)

    def _again(self, key: Key, when: float) -> None:
        self._loop.at(when, lambda: self.sync(key))

    def _expire(self, job: Json) -> None:
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None or ending(job):
            return
        final = condition(job, "Complete") or condition(job, "Failed")
        assert final is not None
        due = parsed(final["lastTransitionTime"]) + ttl
        key, uid = key_of(r.JOBS, job), job["metadata"]["uid"]
        if self._api.clock.now() >= due:
            self._api.delete(r.JOBS, key.namespace, key.name, Options("Foreground", uid=uid))
        else:
            self._again(key, due)


def release(pod: Json) -> None:
    """Take the Job's finalizer off."""
    left = [each for each in pod["metadata"].get("finalizers") or [] if each != FINALIZER]
    if left:
        pod["metadata"]["finalizers"] = left
    else:
        pod["metadata"].pop("finalizers", None)


def _finished(job: Json) -> bool:
    return any((c := condition(job, kind)) is not None and c["status"] == "True" for kind in ("Complete", "Failed"))


def _over(job: Json, pod: Json) -> bool:
    return done(pod) or (ending(pod) and job["spec"]["podReplacementPolicy"] == "TerminatingOrFailed")


def _index(pod: Json) -> int | None:
    found = (pod["metadata"].get("annotations") or {}).get(_INDEX)
    return None if found is None else int(found)


def _policy_action(job: Json, pod: Json) -> str:
    """What the Job's podFailurePolicy says of a failed pod."""
    for rule in (job["spec"].get("podFailurePolicy") or {}).get("rules") or []:
        for pattern in rule.get("onPodConditions") or []:
            found = condition(pod, pattern["type"])
            if found is not None and found["status"] == pattern.get("status", "True"):
                return str(rule["action"])
        codes = rule.get("onExitCodes")
        if codes is None:
            continue
        for status in (pod.get("status") or {}).get("containerStatuses") or []:
            code = (status["state"].get("terminated") or {}).get("exitCode", 0)
            if (
                code
                and (code in codes["values"]) == (codes["operator"] == "In")
                and codes.get("containerName", status["name"]) == status["name"]
            ):
                return str(rule["action"])
    return "Count"
