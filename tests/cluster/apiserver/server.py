"""The whole of it: an API server on loopback with controllers, scheduler and kubelets behind it, in this process."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.access import ADMIN_GROUP, Access, User
from tests.cluster.apiserver.admission import quota_status
from tests.cluster.apiserver.api import Api, Options
from tests.cluster.apiserver.clock import Clock
from tests.cluster.apiserver.controllers.events import Recorder
from tests.cluster.apiserver.controllers.garbage import Garbage, Namespaces
from tests.cluster.apiserver.controllers.jobs import FINALIZER, Jobs, release
from tests.cluster.apiserver.controllers.loop import Loop
from tests.cluster.apiserver.controllers.nodes import UNREACHABLE, NodeLifecycle, Scheduler
from tests.cluster.apiserver.controllers.pods_of import controller_uid, done, ending, set_condition
from tests.cluster.apiserver.controllers.services import Services
from tests.cluster.apiserver.controllers.storage import Storage
from tests.cluster.apiserver.controllers.workloads import Workloads
from tests.cluster.apiserver.faults import Faults, Request
from tests.cluster.apiserver.http import Server
from tests.cluster.apiserver.images import SHELL, Image, usual
from tests.cluster.apiserver.kubelet import Kubelet
from tests.cluster.apiserver.store import Change, Key, Store, key_of

Json = dict[str, Any]


class ApiServer:
    """A context: it starts at once and leaves no process, thread or file.

    url, token: how an administrator comes in. clock: `clock.advance(60)` lets time pass. faults: bad luck by rule.
    access: tokens and rights. requests: all that was asked, in order. jobs, kubelet, namespaces: their knobs.
    problems: what went wrong inside; raised at the end."""

    image = SHELL

    def __init__(self, *, nodes: int = 2) -> None:
        self.problems: list[Exception] = []
        self.requests: list[Request] = []
        self.clock = Clock()
        self.store = Store()
        self.api = Api(self.store, self.clock)
        self.access = Access(self.store, self.clock)
        self.faults = Faults()
        self.images: dict[str, Image] = usual()
        self.folder = Path(tempfile.mkdtemp(prefix="fedyard-cluster-"))
        self.recorder = Recorder(self.store, self.clock)
        self.loop = Loop(self.clock, self.problems)
        self._second = 16 + os.getpid() % 200
        self.kubelet = Kubelet(
            self.api, self.loop, self.recorder, self.images, self.folder, self._second, self.problems
        )
        self.jobs = Jobs(self.api, self.loop, self.recorder)
        self.namespaces = Namespaces(self.api, self.loop)
        self.workloads = Workloads(self.api, self.loop, self.recorder)
        self._services = Services(self.api, self._second)
        self.api.address_service = self._services.address
        self.kubelet.links = self._services.links
        self._storage = Storage(self.api, self.recorder)
        self._garbage = Garbage(self.api)
        self._scheduler = Scheduler(self.api, self.recorder)
        self._nodes = NodeLifecycle(self.api, self.loop, self.recorder)
        self._controllers: dict[r.Resource, Callable[[Key], None]] = {
            r.JOBS: self.jobs.sync,
            r.DEPLOYMENTS: self.workloads.sync_deployment,
            r.REPLICA_SETS: self.workloads.sync_replica_set,
            r.STATEFUL_SETS: self.workloads.sync_stateful_set,
            r.SERVICES: self._services.sync,
            r.CLAIMS: self._storage.sync,
        }
        self.store.listeners.append(self._changed)
        self._requests_lock = threading.Lock()
        self._http = Server(self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), name="apiserver", daemon=True)
        self.token = self.access.admit(User("admin", (ADMIN_GROUP, "system:authenticated")))
        for name in ("default", "kube-system"):
            self.api.create(r.NAMESPACES, "", {"metadata": {"name": name}}, manager="kube-apiserver")
        for number in range(nodes):
            self.add_node(f"node-{number + 1}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self.loop.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self.problems:
            raise self.problems[0]

    def close(self) -> None:
        self.faults.clear()
        self._http.closing.set()
        self._http.drop_all()
        self._http.shutdown()
        self._http.server_close()
        self.loop.stop()
        self._services.close()
        self.kubelet.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ------------------------------------------------------------ the API server's own luck

    def kubeconfig(self, path: Path, *, context: str = "tests", token: str | None = None) -> Path:
        """A file with two contexts: the one asked for, and another that is current and leads nowhere."""
        path.write_text(
            f"""\
apiVersion: v1
kind: Config
current-context: elsewhere
clusters:
- {{name: {context}, cluster: {{server: "{self.url}"}}}}
- {{name: elsewhere, cluster: {{server: "http://127.0.0.1:1"}}}}
users:
- {{name: {context}, user: {{token: "{token or self.token}"}}}}
contexts:
- {{name: {context}, context: {{cluster: {context}, user: {context}}}}}
- {{name: elsewhere, context: {{cluster: elsewhere, user: {context}}}}}
"""
        )
        return path

    def go_away(self) -> None:
        """Refuse connections, and drop those that there are; objects and pods stay. Until `come_back`."""
        self._port = self._http.server_port
        self._http.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._http.drop_all()
        self._thread.join(10)

    def come_back(self) -> None:
        """At the same address."""
        self._http = Server(self, self._port)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), name="apiserver", daemon=True)
        self._thread.start()

    def compact(self) -> None:
        """Who watches or continues a list from before gets 410."""
        self.store.compact()

    # ------------------------------------------------------------ nodes and pods

    def add_node(
        self, name: str, *, labels: dict[str, str] | None = None, taints: list[Json] | None = None, **capacity: str
    ) -> None:
        """capacity: `cpu="4"`, `memory="8Gi"`; with a slash in its name: `**{"nvidia.com/gpu": "2"}`."""
        number = len(self.store.all(r.NODES)) + 1
        room = {"cpu": "32", "memory": "128Gi", "ephemeral-storage": "200Gi", "pods": "110"} | capacity
        own = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        self.api.create(
            r.NODES, "", {"metadata": {"name": name, "labels": own | (labels or {})}, "spec": {"taints": taints or []}}
        )
        now = self.clock.stamp()

        def begin(obj: Json) -> None:
            address = f"127.{self._second}.250.{number}"
            addresses = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
            obj["status"] = {"capacity": room, "allocatable": room, "addresses": addresses}
            obj["status"]["nodeInfo"] = {
                "kubeletVersion": "v1.36.2",
                "operatingSystem": "linux",
                "architecture": "amd64",
            }
            set_condition(obj, "Ready", "True", now, "KubeletReady", "kubelet is posting ready status")

        self.api.modify(Key(r.NODES, "", name), begin)

    def lose_node(self, name: str) -> None:
        """Its kubelet says no more: NotReady and tainted; its pods are ended after their tolerations (300 s, by the
        server's clock), and stay, ending, until the node is back or removed."""
        self.kubelet.away(name, away=True)
        now = self.clock.stamp()

        def taint(obj: Json) -> None:
            taints = obj["spec"].setdefault("taints", [])
            taints += [
                {"key": UNREACHABLE, "effect": effect, "timeAdded": now} for effect in ("NoSchedule", "NoExecute")
            ]
            set_condition(obj, "Ready", "Unknown", now, "NodeStatusUnknown", "Kubelet stopped posting node status.")

        self.api.modify(Key(r.NODES, "", name), taint)

    def remove_node(self, name: str) -> None:
        """Gone from the cluster: what ran on it fails (DisruptionTarget) and is collected at once."""
        self.kubelet.away(name, away=True)
        self.api.delete(r.NODES, "", name)

    def evict(
        self, namespace: str, name: str, message: str = "The node was low on resource: ephemeral-storage."
    ) -> None:
        """A pod, by the kubelet of a node under pressure: Failed, reason Evicted. A full disk looks so."""
        self.kubelet.evict(namespace, name, message)

    def disrupt(self, namespace: str, name: str, reason: str, message: str) -> None:
        now = self.clock.stamp()
        key = Key(r.PODS, namespace, name)
        self.api.modify(key, lambda obj: set_condition(obj, "DisruptionTarget", "True", now, reason, message))

    def delete_pod(self, namespace: str, name: str) -> None:
        """As somebody with kubectl does."""
        self.api.delete(r.PODS, namespace, name, Options())

    def hold_namespace(self, name: str) -> None:
        """It stays in Terminating once it is deleted, until `free_namespace`."""
        self.namespaces.held.add(name)

    def free_namespace(self, name: str) -> None:
        self.namespaces.held.discard(name)
        self.loop.ask(("namespace", name), lambda: self.namespaces.sync(name))

    def namespace_key(self, name: str) -> Key:
        return Key(r.NAMESPACES, "", name)

    # ------------------------------------------------------------ requests

    def note_request(self, request: Request) -> int:
        with self._requests_lock:
            self.requests.append(request)
            return len(self.requests) - 1

    def note_status(self, number: int, status: int, user: str) -> None:
        with self._requests_lock:
            self.requests[number] = self.requests[number]._replace(status=status, user=user)

    def asked(self, method: str = "", path: str = "") -> list[Request]:
        """Of the log: those with that method whose path has this in it."""
        with self._requests_lock:
            return [each for each in self.requests if method in {"", each.method} and path in each.path]

    # ------------------------------------------------------------ who has to look at what

    def _changed(self, change: Change) -> None:
        """Under the store's lock: only says who has work."""
        key, ask = change.key, self.loop.ask
        for each in self._garbage.changed(change):
            ask(("garbage", each), lambda each=each: self._garbage.sync(each))
        if key.resource in self._controllers:
            ask(("controller", key), lambda: self._controllers[key.resource](key))
        if key.resource is r.PODS:
            self._pod_changed(change)
        elif key.resource is r.REPLICA_SETS:
            self._ask_owner(change.after)
        elif key.resource is r.SERVICES and change.kind == "DELETED":
            ask(("endpoints", key), lambda: self._services.forget(key))
        elif key.resource is r.NODES:
            ask(("node", key), lambda: self._nodes.sync(key.name))
            self._schedule_waiting()
        elif key.resource is r.NAMESPACES:
            ask(("namespace", key.name), lambda: self.namespaces.sync(key.name))
        elif key.resource is r.CLAIMS:
            self._schedule_waiting()
        if key.namespace and key.resource is not r.EVENTS:
            self._namespace_touched(change)

    def _pod_changed(self, change: Change) -> None:
        key, ask, pod = change.key, self.loop.ask, change.after
        ask(("kubelet", key), lambda: self.kubelet.sync(key))
        owner = controller_uid(pod)
        self._ask_owner(pod)
        self._ask_services(pod)
        for volume in pod["spec"].get("volumes") or []:
            if name := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
                claim = Key(r.CLAIMS, key.namespace, name)
                ask(("controller", claim), lambda claim=claim: self._storage.sync(claim))
        if FINALIZER in (pod["metadata"].get("finalizers") or []) and ending(pod):
            ask(("orphan", key), lambda: self._let_go(key, owner))
        if not pod["spec"].get("nodeName") and change.kind != "DELETED":
            ask(("schedule", key), lambda: self._scheduler.sync(key))
        elif change.kind == "DELETED" or (done(pod) and not done(change.before or pod)):
            self._schedule_waiting()

    def _ask_owner(self, obj: Json) -> None:
        for each in obj["metadata"].get("ownerReferences") or []:
            resource = r.BY_KIND.get((each["apiVersion"], each["kind"]))
            if each.get("controller") and resource in self._controllers:
                key = Key(resource, obj["metadata"]["namespace"], each["name"])
                self.loop.ask(("controller", key), lambda key=key: self._controllers[key.resource](key))
                if resource is r.REPLICA_SETS and (parent := self.store.get(key)) is not None:
                    self._ask_owner(parent)

    def _ask_services(self, pod: Json) -> None:
        for service in self.store.all(r.SERVICES, pod["metadata"]["namespace"]):
            key = key_of(r.SERVICES, service)
            self.loop.ask(("controller", key), lambda key=key: self._services.sync(key))

    def _let_go(self, key: Key, owner: str) -> None:
        """A pod whose Job is no more is nobody's to count."""
        pod = self.store.get(key)
        if pod is None:
            return
        jobs = [job for job in self.store.all(r.JOBS, key.namespace) if job["metadata"]["uid"] == owner]
        if not jobs or controller_uid(pod) != owner:
            self.api.modify(key, release)

    def _schedule_waiting(self) -> None:
        def all_waiting() -> None:
            for pod in self.store.all(r.PODS):
                if not pod["spec"].get("nodeName"):
                    self._scheduler.sync(key_of(r.PODS, pod))

        self.loop.ask(("schedule", "all"), all_waiting)

    def _namespace_touched(self, change: Change) -> None:
        name = change.key.namespace
        room = self.store.get(Key(r.NAMESPACES, "", name))
        if room is not None and (ending(room) or change.kind == "DELETED"):
            self.loop.ask(("namespace", name), lambda: self.namespaces.sync(name))
        if self.store.all(r.QUOTAS, name):
            self.loop.ask(("quotas", name), lambda: self._count_quotas(name))

    def _count_quotas(self, namespace: str) -> None:
        for quota in self.store.all(r.QUOTAS, namespace):
            status = quota_status(self.store, quota)
            self.api.modify(key_of(r.QUOTAS, quota), lambda obj, status=status: obj.update(status=status))
