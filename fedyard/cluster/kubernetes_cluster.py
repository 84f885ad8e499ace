"""The port `Cluster` on Kubernetes: what is asked for becomes objects, and what the objects say becomes `Observed`.

Nothing is remembered that matters: what there is, is what the lists say. The watches only wake, and tell that a list
made before need not be made again. (Of pods that the cluster ends it is remembered why, for a more exact reason.)
docs/workloads.md says what a place is made of and what an account needs.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, ParamSpec, TypeVar

import msgspec

from fedyard.clock import Clock, SystemClock
from fedyard.cluster import kubernetes_objects as objects
from fedyard.cluster import manifests, names
from fedyard.cluster.kubernetes_api import Api, Conflict, Expired, Missing, decoded, in_cluster, kubeconfig
from fedyard.cluster.kubernetes_log import Mark
from fedyard.cluster.kubernetes_log import read as read_log
from fedyard.cluster.kubernetes_objects import Deployment, Event, Job, Namespace, Pod, Service
from fedyard.cluster.kubernetes_watch import Watches
from fedyard.cluster.manifests import Manifest, Rules
from fedyard.cluster.port import AttemptId, Evidence, Observed, Reason, Refused, Spec, Unavailable

T = TypeVar("T")
P = ParamSpec("P")
M = TypeVar("M", Job, Deployment, Pod)  # a StatefulSet is read as a Deployment is

PAGE: Final = 500
MAX_PAGES: Final = 1000
MAX_REMEMBERED: Final = 10_000
QUOTA_COUNTS_WITHIN_S, QUOTA_EVERY_S = 10.0, 0.05
MAX_POSTS: Final = 3
MAX_LISTS: Final = 3
PLACE_HOLDS_S: Final = 300.0
"""After so long the objects of a place are looked at again, lest one of them be gone."""
LIST_HOLDS_S: Final = 60.0
"""Even of a list of which no watch has told a change: its connection may be dead, and nobody have noticed yet."""
_CONTAINER: Final = {"container": names.CONTAINER}
_BY_THE_NODE: Final = "/containerLogs/"
"""In what the server says where a pod's node, which has the log, does not answer."""
CLOSES_WITHIN_S: Final = 5.0
MAX_EVENTS: Final = 50
GRACE_AT_LEAST_S: Final = 1
"""A pod that is removed at once may still run: the server does not wait for its node."""


class Kind(NamedTuple, Generic[T]):
    """Of objects: where the API has them, and what is read of them."""

    group: str
    plural: str
    type: type[T]

    def path(self, namespace: str = "", name: str = "", part: str = "") -> str:
        base = f"/apis/{self.group}" if "/" in self.group else f"/api/{self.group}"
        inside = f"/namespaces/{namespace}" if namespace else ""
        return base + inside + f"/{self.plural}" + (f"/{name}" if name else "") + (f"/{part}" if part else "")


JOBS: Final = Kind("batch/v1", "jobs", Job)
DEPLOYMENTS: Final = Kind("apps/v1", "deployments", Deployment)
STATEFUL_SETS: Final = Kind("apps/v1", "statefulsets", Deployment)
PODS: Final = Kind("v1", "pods", Pod)
SERVICES: Final = Kind("v1", "services", Service)
EVENTS: Final = Kind("v1", "events", Event)
NAMESPACES: Final = Kind("v1", "namespaces", Namespace)
SECRETS: Final = Kind("v1", "secrets", objects.Secret)
QUOTAS: Final = Kind("v1", "resourcequotas", objects.Quota)
PLURALS: Final[dict[str, Kind[Any]]] = {
    "Job": JOBS,
    "Deployment": DEPLOYMENTS,
    "StatefulSet": STATEFUL_SETS,
    "PersistentVolumeClaim": Kind("v1", "persistentvolumeclaims", objects.Anything),
    "Service": SERVICES,
    "Secret": SECRETS,
    "Namespace": NAMESPACES,
    "ServiceAccount": Kind("v1", "serviceaccounts", objects.Anything),
    "ResourceQuota": QUOTAS,
    "LimitRange": Kind("v1", "limitranges", objects.Anything),
    "NetworkPolicy": Kind("networking.k8s.io/v1", "networkpolicies", objects.Anything),
}
MAINS: Final[tuple[Kind[Any], ...]] = (JOBS, DEPLOYMENTS, STATEFUL_SETS)
SERVED: Final = (DEPLOYMENTS, STATEFUL_SETS)
WATCHED: Final[tuple[Kind[Any], ...]] = (JOBS, DEPLOYMENTS, STATEFUL_SETS, PODS, NAMESPACES)

PERMISSIONS: Final = {
    "namespaces": ("get", "create", "list", "watch", "patch", "delete"),
    "resourcequotas": ("get", "create", "patch"),
    "limitranges": ("get", "create", "patch"),
    "serviceaccounts": ("get", "create", "patch"),
    "networkpolicies.networking.k8s.io": ("get", "create", "patch"),
    "jobs.batch": ("get", "create", "list", "watch", "delete"),
    "deployments.apps": ("get", "create", "list", "watch", "patch", "delete"),
    "statefulsets.apps": ("get", "create", "list", "watch", "patch", "delete"),
    "persistentvolumeclaims": ("get", "create"),
    "pods": ("list", "watch", "delete"),
    "pods/log": ("get",),
    "services": ("get", "create", "list"),
    "secrets": ("get", "create"),
    "events": ("list",),
}
"""In all namespaces: a place is a namespace that is made when it is needed. Secrets are never listed."""


def open_in_cluster(rules: Rules | None = None) -> KubernetesCluster:
    """The cluster that this runs in, by its pod's service account. Raises `Refused`."""
    return KubernetesCluster(Api(in_cluster(), "in-cluster"), rules)


def open_kubeconfig(path: str, context: str, rules: Rules | None = None) -> KubernetesCluster:
    """By a context that is named, never by the current one. Raises `Refused`."""
    return KubernetesCluster(Api(kubeconfig(path, context), context), rules)


def read_rules(path: Path) -> Rules:
    """A file of TOML with the fields of `Rules`. Raises `Refused`, which says what is wrong with it."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Rules)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise Refused(Reason.CONFIG_INVALID, f"{path} has no rules of a cluster: {error}") from None


def _in_the_ports_words(call: Callable[P, T]) -> Callable[P, T]:
    """What nobody below has made sense of: something was changed, or the server forgot, while it was looked at. Whoever
    asks again finds it as it is then."""

    @wraps(call)
    def asked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except (Missing, Conflict, Expired) as error:
            raise Unavailable(f"{error}: it was changed meanwhile", 1.0) from None

    return asked


class KubernetesCluster:
    """See `Cluster`. Threads may share it; the watches start with the first `wait`."""

    def __init__(self, api: Api, rules: Rules | None = None, *, clock: Clock | None = None, page: int = PAGE) -> None:
        """page: so many objects a list asks for at once."""
        self._api = api
        self._page = page
        self._rules = rules or Rules()
        self._clock = clock or SystemClock()
        self._watches = Watches(api, {kind.plural: kind.path() for kind in WATCHED}, self._clock)
        self._lock = threading.Lock()
        self._places: dict[tuple[str, str], float] = {}
        self._marks: dict[str, Mark] = {}
        self._disrupted: dict[str, objects.Judged] = {}
        self._lists: dict[tuple[str, str], tuple[int, float, list[Any]]] = {}
        self._seen_as: dict[str, dict[tuple[str, str], tuple[Kind[Any], str]]] = {}
        """By owner and attempt, what it was when all of them were looked at last: where to look for it first."""

    @_in_the_ports_words
    def missing(self) -> list[str]:
        lacking = []
        for what, verbs in PERMISSIONS.items():
            resource, _, group = what.partition(".")
            resource, _, part = resource.partition("/")
            for verb in verbs:
                asked = {"verb": verb, "group": group, "resource": resource, "subresource": part}
                review = {
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "SelfSubjectAccessReview",
                    "spec": {"resourceAttributes": asked},
                }
                answer = self._api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
                if not msgspec.json.decode(answer).get("status", {}).get("allowed", False):
                    lacking.append(f"{verb} {what} in all namespaces")
        return lacking

    # ------------------------------------------------------------ make

    @_in_the_ports_words
    def ensure(self, spec: Spec) -> Observed:
        try:
            wanted = manifests.workload(spec, self._rules)
        except ValueError as error:
            raise Refused(Reason.CONFIG_INVALID, str(error)) from None
        self._make_place(spec)
        try:
            made, new = self._make_all(wanted, spec)
        except Missing:  # the namespace was there a moment ago
            self._forget_place(spec)
            self._make_place(spec)
            try:
                made, new = self._make_all(wanted, spec)
            except Missing as error:
                raise Unavailable(str(error), 1.0) from None
        finally:
            self._watches.touch()
        if made.metadata.deletion_timestamp is None:
            for one in manifests.belongings(spec, made.metadata.uid, self._rules):
                self._make_belonging(one, made.metadata.uid)
        return self._seen(made, [] if new else self._of(PODS, spec.attempt_id), new=new)

    def _make_place(self, spec: Spec) -> None:
        with self._lock:
            if self._places.get((spec.owner, spec.place), 0.0) > self._clock.monotonic():
                return
        namespace, *inside = manifests.place(spec.owner, spec.place, self._rules)
        try:
            self._make_part(namespace, spec)
            for one in inside:
                self._make_part(one, spec)
            if any(one["kind"] == "ResourceQuota" for one in inside):
                self._await_quota(names.place_name(spec.place))
        except (Missing, Conflict) as error:
            raise Unavailable(f"{error}: it was changed while it was made", 1.0) from None
        with self._lock:
            self._places[spec.owner, spec.place] = self._clock.monotonic() + PLACE_HOLDS_S

    def _await_quota(self, namespace: str) -> None:
        """A quota that the cluster has not counted yet refuses everything. It takes it some tenths of a second."""
        never = threading.Event()
        end = self._clock.monotonic() + QUOTA_COUNTS_WITHIN_S
        while (found := self._find(QUOTAS, namespace, manifests.QUOTA_NAME)) is None or not found.status.used:
            if self._clock.monotonic() >= end:
                raise Unavailable(f"the cluster has not counted what is in namespace {namespace} yet", 1.0)
            self._clock.wait(never, QUOTA_EVERY_S)

    def _forget_place(self, spec: Spec) -> None:
        with self._lock:
            self._places.pop((spec.owner, spec.place), None)

    def _make_part(self, wanted: Manifest, spec: Spec) -> None:
        """Of a place: made, or brought to what it should be."""
        kind, namespace, name = _where(wanted)
        found = self._find(kind, namespace, name)
        if found is None:
            try:
                self._api.post(kind.path(namespace), wanted)
            except Conflict:
                found = self._find(kind, namespace, name)
                if found is None:
                    raise Unavailable(f"{kind.plural} {name} comes and goes", 1.0) from None
            else:
                return
        if isinstance(found, Namespace) and (found.metadata.deletion_timestamp or found.status.phase == "Terminating"):
            raise Unavailable(f"namespace {name} is being removed{_stuck(found)}", 2.0)
        if not _owned(found.metadata, spec.owner):
            raise Refused(Reason.CONFIG_INVALID, f"{kind.plural} {name} is there, and none of ours: it is left alone")
        if found.metadata.annotations.get(names.SPEC_HASH) != wanted["metadata"]["annotations"][names.SPEC_HASH]:
            self._api.patch(kind.path(namespace, name), wanted)

    def _make_all(self, wanted: Manifest, spec: Spec) -> tuple[Job | Deployment, bool]:
        """The volume first, if it is one of those that share it. It is made once, and stays as it is."""
        if spec.volume is not None:
            claim = manifests.volume(spec, self._rules)
            kind, namespace, name = _where(claim)
            found = self._find(kind, namespace, name)
            if found is None:
                with suppress(Conflict):
                    self._api.post(kind.path(namespace), claim)
            elif found.metadata.deletion_timestamp is not None:
                raise Unavailable(f"the volume in namespace {namespace} is being removed", 2.0)
        if spec.stable or (spec.exact and spec.kind == "service"):
            self._check_name(spec)
        return self._make(wanted, spec)

    def _check_name(self, spec: Spec) -> None:
        """The address of an earlier one of its name goes a moment after that itself. Raises `Refused`."""
        found = self._find(SERVICES, names.place_name(spec.place), spec.name)
        mine = (spec.id, str(spec.attempt))
        if found is not None and _owned(found.metadata, spec.owner) and objects.key(found.metadata) != mine:
            raise Refused(Reason.NOT_READY, f"an earlier {spec.name} is still there: it has to go first")

    def _make(self, wanted: Manifest, spec: Spec) -> tuple[Job | Deployment, bool]:
        """The workload's own object: made, adopted, or on its way out because it has another content."""
        kind, namespace, name = _where(wanted)
        for _ in range(MAX_POSTS):
            try:
                return decoded(self._api.post(kind.path(namespace), wanted), kind.type), True
            except Conflict:
                found = self._find(kind, namespace, name)
            if found is not None:
                break  # else it has just gone
        else:
            raise Unavailable(f"{kind.plural} {name} comes and goes", 1.0)
        own = _owned(found.metadata, spec.owner)
        if own and (spec.stable or spec.exact) and objects.key(found.metadata) != (spec.id, str(spec.attempt)):
            raise Refused(Reason.NOT_READY, f"an earlier {name} is still there: it has to go first")
        if not own or objects.key(found.metadata) != (spec.id, str(spec.attempt)):
            raise Refused(Reason.CONFIG_INVALID, f"{kind.plural} {name} is there, and none of ours: it is left alone")
        if found.metadata.deletion_timestamp is None and not self._is_same(found.metadata, spec):
            self._delete(kind, found.metadata)
            found = self._find(kind, namespace, name) or found
            found = _leaving(found)
        return found, False

    def _is_same(self, found: objects.Metadata, spec: Spec) -> bool:
        if found.annotations.get(names.SPEC_HASH) != names.spec_hash(spec):
            return False
        secret = self._find(SECRETS, found.namespace, found.name) if spec.secrets else None
        return secret is None or secret.data == manifests.secret_data(spec)

    def _make_belonging(self, wanted: Manifest, uid: str) -> None:
        kind, namespace, name = _where(wanted)
        try:
            self._api.post(kind.path(namespace), wanted)
            return
        except Conflict:
            found = self._find(kind, namespace, name)
        except Missing as error:
            raise Unavailable(str(error), 1.0) from None
        owners = {one.uid for one in found.metadata.owner_references} if found else set()
        if uid in owners:
            return
        if found is not None and not _owned(found.metadata, wanted["metadata"]["labels"][names.OWNER]):
            raise Refused(Reason.CONFIG_INVALID, f"{kind.plural} {name} is there, and none of ours: it is left alone")
        raise Unavailable(f"{kind.plural} {name} is still an earlier workload's", 1.0)

    # ------------------------------------------------------------ see

    @_in_the_ports_words
    def observe(self, owner: str) -> list[Observed]:
        """Pods are listed after their jobs: of a job that has ended they say why, and so must have been seen to end."""
        wanted = {names.MANAGED_BY: names.US, names.OWNER: owner}
        jobs = self._listed(JOBS, owner, wanted)
        served = {kind: self._listed(kind, owner, wanted) for kind in SERVED}
        deployments = [one for kind in SERVED for one in served[kind]]
        all_of: list[tuple[Kind[Any], Iterable[Job | Deployment]]] = [(JOBS, jobs), *served.items()]
        with self._lock:
            self._seen_as[owner] = {
                objects.key(one.metadata): (kind, one.metadata.name) for kind, found in all_of for one in found
            }
        mine = _by_attempt(self._listed(PODS, owner, wanted))
        if any(_ended(job) and not objects.has_ended(mine.get(objects.key(job.metadata), [])) for job in jobs):
            mine = _by_attempt(self._listed(PODS, owner, wanted, anew=True))  # what was listed before is older
        self._remember(jobs, mine)
        waiting = [job for job in jobs if objects.key(job.metadata) not in mine]
        failed = self._failed_creates({job.metadata.namespace for job in waiting if not _ended(job)})
        mains = {objects.key(one.metadata) for one in jobs} | {objects.key(one.metadata) for one in deployments}
        left_over = {key: own for key, own in mine.items() if key not in mains and any(map(objects.is_left_over, own))}
        ending: list[Job | Deployment | Pod] = [
            *jobs,
            *deployments,
            *(pod for own in left_over.values() for pod in own),
        ]
        gone = self._gone({one.metadata.namespace for one in ending if one.metadata.deletion_timestamp})
        services = self._list(SERVICES, "", wanted) if deployments else []
        reachable: dict[tuple[str, str], list[Service]] = defaultdict(list)
        for service in services:
            reachable[objects.key(service.metadata)].append(service)
        found = []
        for job in jobs:
            own = mine.get(objects.key(job.metadata), [])
            refused, lost = failed.get(job.metadata.uid, ""), job.metadata.namespace in gone
            why = self._disrupted.get(job.metadata.uid)
            found.append(objects.of_job(job, own, refused, disrupted=why, namespace_gone=lost))
        for one in deployments:
            own = mine.get(objects.key(one.metadata), [])
            where = objects.addresses(reachable[objects.key(one.metadata)], self._rules.outside_host)
            lost = one.metadata.namespace in gone
            found.append(objects.of_deployment(one, own, where, namespace_gone=lost))
        for own in left_over.values():
            pod = next(filter(objects.is_left_over, own))
            found.append(objects.of_left_over(pod, namespace_gone=pod.metadata.namespace in gone))
        return found

    def _remember(self, jobs: list[Job], pods: dict[tuple[str, str], list[Pod]]) -> None:
        """Which pods the cluster ends by itself: once they have ended they are gone, and their job does not say it."""
        for job in jobs:
            for pod in pods.get(objects.key(job.metadata), []):
                said = objects.disrupted_of(pod)
                if said[0] is not Reason.NONE:
                    self._disrupted[job.metadata.uid] = said
        while len(self._disrupted) > MAX_REMEMBERED:
            self._disrupted.pop(next(iter(self._disrupted)))

    def _seen(self, made: Job | Deployment, pods: list[Pod], *, new: bool) -> Observed:
        metadata = made.metadata
        if isinstance(made, Job):
            failed = {} if new or pods or _ended(made) else self._failed_creates({metadata.namespace})
            return objects.of_job(made, pods, failed.get(metadata.uid, ""))
        id, attempt = objects.key(metadata)
        services = self._list(SERVICES, metadata.namespace, {names.WORKLOAD: id, names.ATTEMPT: attempt})
        return objects.of_deployment(made, pods, objects.addresses(services, self._rules.outside_host))

    def _failed_creates(self, namespaces: Iterable[str]) -> dict[str, str]:
        """By the job's uid, why the cluster does not let its pod in: only an event says so."""
        found: dict[str, str] = {}
        chosen = {"fieldSelector": "involvedObject.kind=Job,reason=FailedCreate"}
        for namespace in sorted(namespaces):
            for event in sorted(self._list(EVENTS, namespace, {}, chosen), key=_age):
                found[event.involved_object.uid] = event.message
        return found

    def _gone(self, namespaces: Iterable[str]) -> set[str]:
        found = {name: self._find(NAMESPACES, "", name) for name in sorted(namespaces)}
        return {name for name, one in found.items() if one is None or one.metadata.deletion_timestamp is not None}

    # ------------------------------------------------------------ keep

    @_in_the_ports_words
    def evidence(self, which: AttemptId, *, log_bytes: int) -> Evidence:
        pods = self._of(PODS, which)
        told = {one.metadata.uid for _, one in self._mains(which)}
        told |= {pod.metadata.uid for pod in pods}
        if not told:
            return Evidence()
        # Of each by itself: a place has the events of all its workloads, of the last hour.
        chosen = [{"fieldSelector": f"involvedObject.uid={uid}"} for uid in sorted(told)]
        events = [one for about in chosen for one in self._list(EVENTS, _namespace(which), {}, about)]
        said = [objects.sentence(event) for event in sorted(events, key=_age)]
        return Evidence(log=self._of_newest(pods, lambda pod: self._tail(pod, log_bytes)), events=said[-MAX_EVENTS:])

    @_in_the_ports_words
    def log(self, which: AttemptId, *, after: int, most: int) -> bytes:
        """Of its newest pod."""
        return self._of_newest(self._of(PODS, which), lambda pod: self._piece(pod, after, most))

    def _of_newest(self, pods: list[Pod], read: Callable[[Pod], bytes]) -> bytes:
        """The log of the newest pod that has one."""
        for pod in sorted(pods, key=objects.age, reverse=True):
            try:
                return read(pod)
            except (Missing, Refused):
                continue  # its container has not started
            except Unavailable as error:
                if objects.is_lost(pod) or _BY_THE_NODE in error.fact:
                    continue  # the log is on its node, and gone with it
                raise
        return b""

    def _tail(self, pod: Pod, most: int) -> bytes:
        """Lines can be counted from the end, and one has a byte at least."""
        kept = bytearray()
        with closing(self._api.pieces(_log_path(pod), {**_CONTAINER, "tailLines": str(max(most, 1))})) as pieces:
            for piece in pieces:
                kept += piece
                del kept[: max(0, len(kept) - most)]
        return bytes(kept)

    def _piece(self, pod: Pod, after: int, most: int) -> bytes:
        """From the last second that was read, if this goes on from there; else from the first byte."""
        with self._lock:
            mark = self._marks.get(pod.metadata.uid, Mark())
        mark = mark if mark.byte <= after else Mark()
        query = {**_CONTAINER, "timestamps": "true", **({"sinceTime": mark.since} if mark.since else {})}
        with closing(self._api.pieces(_log_path(pod), query)) as pieces:
            found, mark = read_log(pieces, mark, after=after, most=most)
        with self._lock:
            self._marks.pop(pod.metadata.uid, None)
            self._marks[pod.metadata.uid] = mark
            while len(self._marks) > MAX_REMEMBERED:
                self._marks.pop(next(iter(self._marks)))
        return found

    # ------------------------------------------------------------ end

    @_in_the_ports_words
    def scale(self, which: AttemptId, replicas: int) -> None:
        for kind in SERVED:
            for one in self._of(kind, which):
                if one.spec.replicas != replicas and one.metadata.deletion_timestamp is None:
                    path = kind.path(one.metadata.namespace, one.metadata.name)
                    with suppress(Missing):
                        self._api.patch(path, {"spec": {"replicas": replicas}})
                    self._watches.touch()

    @_in_the_ports_words
    def stop(self, which: AttemptId, *, grace_s: float) -> bool:
        grace = max(GRACE_AT_LEAST_S, -int(-grace_s // 1))
        left = False
        for kind, one in self._mains(which):
            left = True
            if one.metadata.deletion_timestamp is None:
                self._delete(kind, one.metadata)
        for pod in self._of(PODS, which):
            left = True
            if objects.is_on_a_lost_node(pod):
                self._delete(PODS, pod.metadata, grace_s=0)
                continue
            replaced = any(one.kind in ("ReplicaSet", "StatefulSet") for one in pod.metadata.owner_references)
            ending = pod.metadata.deletion_grace_period_seconds
            # A replica set or StatefulSet would make another one, until it is itself on its way out; then its pods are.
            if (ending is None and not replaced) or (ending is not None and ending > grace):
                self._delete(PODS, pod.metadata, grace_s=grace)
        return not left

    @_in_the_ports_words
    def remove_place(self, owner: str, place: str) -> bool:
        name = names.place_name(place)
        with self._lock:
            self._places.pop((owner, place), None)
        found = self._find(NAMESPACES, "", name)
        if found is None:
            return True
        if not _owned(found.metadata, owner):
            raise Refused(Reason.CONFIG_INVALID, f"namespace {name} is there, and none of ours: it is left alone")
        if found.metadata.deletion_timestamp is None:
            self._delete(NAMESPACES, found.metadata)
        return False

    def _delete(self, kind: Kind[Any], found: objects.Metadata, *, grace_s: int | None = None) -> None:
        """That very object, and what it has made, which it waits for. Without saying so, a job's pods would run on."""
        propagation = "Foreground" if kind in MAINS else "Background"
        try:
            self._api.delete(
                kind.path(found.namespace, found.name), found.uid, propagation=propagation, grace_s=grace_s
            )
        except (Missing, Conflict):
            pass  # it is gone, or another one has its name
        finally:
            self._watches.touch()

    # ------------------------------------------------------------ wait

    def wait(self, seconds: float) -> None:
        self._watches.wait(seconds)

    def close(self) -> None:
        self._watches.close()
        self._api.close()
        self._watches.join(CLOSES_WITHIN_S)

    # ------------------------------------------------------------ read

    def _mains(self, which: AttemptId) -> list[tuple[Kind[Any], Job | Deployment]]:
        """The objects that the attempt is, one as a rule: looked at by its name, if it was seen, else listed."""
        attempt = (which.id, str(which.attempt))
        with self._lock:
            before = self._seen_as.get(which.owner, {}).get(attempt)
        if before is not None:
            kind, name = before
            found = self._find(kind, _namespace(which), name)
            if found is not None and _owned(found.metadata, which.owner) and objects.key(found.metadata) == attempt:
                return [(kind, found)]
        return [(kind, one) for kind in MAINS for one in self._of(kind, which)]

    def _of(self, kind: Kind[T], which: AttemptId) -> list[T]:
        wanted = names.place_labels(which.owner, which.place)
        return self._list(
            kind, _namespace(which), wanted | {names.WORKLOAD: which.id, names.ATTEMPT: str(which.attempt)}
        )

    def _listed(self, kind: Kind[M], owner: str, labels: dict[str, str], *, anew: bool = False) -> list[M]:
        """All attempts of an owner's; made before, if a watch has been open ever since and has told no change."""
        now, version = self._clock.monotonic(), self._watches.version(kind.plural)
        with self._lock:
            before = None if anew else self._lists.get((kind.plural, owner))
        if before is not None and version is not None and before[0] == version and now - before[1] < LIST_HOLDS_S:
            return before[2]
        found = [one for one in self._list(kind, "", labels) if objects.is_attempt(one.metadata)]
        with self._lock:
            if version is not None:
                self._lists[kind.plural, owner] = (version, now, found)
            else:
                self._lists.pop((kind.plural, owner), None)
        return found

    def _list(
        self, kind: Kind[T], namespace: str, labels: dict[str, str], more: dict[str, str] | None = None
    ) -> list[T]:
        """In pages. A list whose later pages the server has forgotten meanwhile is begun again."""
        query = {
            "limit": str(self._page),
            **({"labelSelector": names.selector(labels)} if labels else {}),
            **(more or {}),
        }
        for _ in range(MAX_LISTS):
            found: list[T] = []
            at = ""
            try:
                for _ in range(MAX_PAGES):
                    answer = self._api.get(kind.path(namespace), query | ({"continue": at} if at else {}))
                    page = decoded(answer, _page(kind.type))  # type: ignore[arg-type]
                    found += page.items or []
                    at = page.metadata.continue_
                    if not at:
                        return found
            except Expired:
                continue
            except Missing:
                return []  # of this namespace
        raise Unavailable(f"the list of {kind.plural} changes faster than it can be read", 1.0)

    def _find(self, kind: Kind[T], namespace: str, name: str) -> T | None:
        try:
            return decoded(self._api.get(kind.path(namespace, name)), kind.type)
        except Missing:
            return None


@cache
def _page(kind: type[T]) -> type[objects.Page[T]]:
    return objects.Page[kind]  # type: ignore[valid-type]


def _where(wanted: Manifest) -> tuple[Kind[Any], str, str]:
    return PLURALS[wanted["kind"]], wanted["metadata"].get("namespace", ""), wanted["metadata"]["name"]


def _namespace(which: AttemptId) -> str:
    return names.place_name(which.place)


def _owned(found: objects.Metadata, owner: str) -> bool:
    return (found.labels.get(names.MANAGED_BY), found.labels.get(names.OWNER)) == (names.US, owner)


def _by_attempt(pods: Iterable[Pod]) -> dict[tuple[str, str], list[Pod]]:
    found: dict[tuple[str, str], list[Pod]] = defaultdict(list)
    for pod in pods:
        found[objects.key(pod.metadata)].append(pod)
    return found


def _leaving(found: M) -> M:
    """Its end has been asked for, whether it shows that yet or not."""
    at = found.metadata.deletion_timestamp or found.metadata.creation_timestamp
    return msgspec.structs.replace(found, metadata=msgspec.structs.replace(found.metadata, deletion_timestamp=at))


def _ended(job: Job) -> bool:
    return any(one.status == "True" and one.type in {"Complete", "Failed"} for one in job.status.conditions)


def _stuck(found: Namespace) -> str:
    """What the cluster says of a namespace that does not go."""
    said = [one.message for one in found.status.conditions if one.status == "True" and one.message]
    return f": {' '.join(said)[: objects.MAX_DETAIL]}" if said else ""


def _age(event: Event) -> float:
    at = objects.when(event)
    return at.timestamp() if at else 0.0


def _log_path(pod: Pod) -> str:
    return PODS.path(pod.metadata.namespace, pod.metadata.name, "log")
