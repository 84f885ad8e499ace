"""The kubelets of all simulated nodes: which pods run, and what is read of their logs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.api import Api, Options
from tests.cluster.apiserver.controllers.events import Recorder
from tests.cluster.apiserver.controllers.loop import Loop
from tests.cluster.apiserver.controllers.pods_of import done, ending
from tests.cluster.apiserver.errors import ApiError, bad_request
from tests.cluster.apiserver.images import Image
from tests.cluster.apiserver.logs import Log, read
from tests.cluster.apiserver.store import Key
from tests.cluster.apiserver.worker import Container, Pod

Json = dict[str, Any]
_addresses = itertools.count()
"""Of pods of all servers of this process."""


class Kubelet:
    """backoff_s: before a container or a pull is tried again, doubled (the real one begins with 10). probe_every_s:
    instead of a probe's own period. Both are short so that tests need not wait."""

    def __init__(
        self,
        api: Api,
        loop: Loop,
        recorder: Recorder,
        images: dict[str, Image],
        folder: Path,
        second: int,
        problems: list[Exception],
    ) -> None:
        self.api, self.loop, self._recorder = api, loop, recorder
        self.images, self.folder, self.problems = images, folder, problems
        self.backoff_s = 0.2
        self.probe_every_s = 0.05
        self.links: Callable[[str], dict[str, str]] = lambda _namespace: {}
        self._pods: dict[Key, Pod] = {}
        self._away: set[str] = set()
        self._second = second

    def address(self) -> str:
        """Of a new pod: one of this machine's own, which really connects."""
        number = next(_addresses)
        return f"127.{self._second}.{number // 250 % 200}.{number % 250 + 2}"

    def node_address(self, node: str) -> str:
        obj = self.api.find(r.NODES, "", node)
        return obj["status"]["addresses"][0]["address"] if obj else ""

    def service_links(self, namespace: str, wanted: bool) -> dict[str, str]:
        return self.links(namespace) if wanted else self.links("")

    def claim_folder(self, namespace: str, name: str) -> Path:
        claim = self.api.get(r.CLAIMS, namespace, name)
        folder = self.folder / "claims" / claim["metadata"]["uid"]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def is_away(self, node: str) -> bool:
        return node in self._away

    def away(self, node: str, *, away: bool) -> None:
        """away: its pods' processes end, and nothing is told any more."""
        if not away:
            self._away.discard(node)
            return
        self._away.add(node)
        for pod in list(self._pods.values()):
            if pod.node == node:
                pod.lose()

    def say(self, pod: Pod, kind: str, reason: str, message: str, part: Container | None = None) -> None:
        obj = self.api.store.get(pod.key)
        if obj is None or pod.lost:
            return
        if part is not None:
            message = message.replace("Container ", f"{'Init c' if part.init else 'C'}ontainer {part.spec['name']} ", 1)
        self._recorder.say("kubelet", obj, kind, reason, message, pod.node)

    def sync(self, key: Key) -> None:
        """Start, stop and forget, by what the pod is now."""
        pod = self.api.store.get(key)
        found = self._pods.get(key)
        if found is not None and (pod is None or pod["metadata"]["uid"] != found.uid):
            found.kill()
            del self._pods[key]
            found = None
        if pod is None or not pod["spec"].get("nodeName") or pod["spec"]["nodeName"] in self._away:
            return
        uid = pod["metadata"]["uid"]
        if found is None and not done(pod) and not ending(pod):
            found = self._pods[key] = Pod(self, pod)
            found.thread.start()
        elif ending(pod):
            grace = pod["metadata"].get("deletionGracePeriodSeconds", 0)
            if found is None or not found.thread.is_alive():
                self._remove(key, uid)
            elif not done(pod):
                found.stop(grace)

    def ended(self, worker: Pod) -> None:
        """All of it is over; a pod that shall be gone is gone now."""
        pod = self.api.store.get(worker.key)
        if pod is not None and pod["metadata"]["uid"] == worker.uid and ending(pod):
            self._remove(worker.key, worker.uid)

    def _remove(self, key: Key, uid: str) -> None:
        try:
            self.api.delete(r.PODS, key.namespace, key.name, Options("Background", 0, uid))
        except ApiError as error:
            if error.code not in {404, 409}:
                raise

    def evict(self, namespace: str, name: str, message: str) -> None:
        """As a node under pressure does."""
        pod = self.api.get(r.PODS, namespace, name)
        worker = self._pods[Key(r.PODS, namespace, pod["metadata"]["name"])]
        self.say(worker, "Warning", "Evicted", message)
        worker.fail("Evicted", message, 0)

    def close(self) -> None:
        workers = list(self._pods.values())
        for worker in workers:
            worker.lose()
        for worker in workers:
            worker.thread.join(10)

    # ------------------------------------------------------------ logs

    def log(self, namespace: str, name: str, query: dict[str, str], closed: Callable[[], bool]) -> Iterator[bytes]:
        """Pieces of a log as the query asks for it. ApiError before the first piece."""
        pod = self.api.get(r.PODS, namespace, name)
        names = [each["name"] for each in pod["spec"]["containers"]]
        inits = [each["name"] for each in pod["spec"].get("initContainers") or []]
        wanted = query.get("container") or (names[0] if len(names) == 1 else "")
        if not wanted:
            raise bad_request(
                f"a container name must be specified for pod {name}, choose one of: [{' '.join(inits + names)}]"
            )
        if wanted not in names + inits:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        if not pod["spec"].get("nodeName"):
            return iter(())
        if pod["spec"]["nodeName"] in self._away:
            host = self.node_address(pod["spec"]["nodeName"])
            path = f"https://{host}:10250/containerLogs/{namespace}/{name}/{wanted}"
            raise ApiError(
                500, "InternalError", f'Get "{path}": dial tcp {host}:10250: connect: connection refused', {}
            )
        worker = self._pods.get(Key(r.PODS, namespace, name))
        container = next((c for c in worker.containers if c.spec["name"] == wanted), None) if worker else None
        if container is None:
            raise bad_request(f'container "{wanted}" in pod "{name}" is waiting to start: ContainerCreating')
        return read(self._log_of(container, wanted, name, query), query, closed, self.api.clock.now)

    def _log_of(self, container: Container, wanted: str, name: str, query: dict[str, str]) -> Log:
        if query.get("previous") in {"true", "1"}:
            if container.last_log is None:
                raise bad_request(f'previous terminated container "{wanted}" in pod "{name}" not found')
            return container.last_log
        if container.running is None and container.outcome is None:
            if container.last_log is not None:
                return container.last_log
            reason = (container.waiting or ("ContainerCreating", ""))[0]
            shown = {
                "ErrImagePull": "image can't be pulled",
                "ImagePullBackOff": "trying and failing to pull image",
            }.get(reason, reason)
            raise bad_request(f'container "{wanted}" in pod "{name}" is waiting to start: {shown}')
        return container.log
