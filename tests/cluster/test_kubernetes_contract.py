"""What holds of Kubernetes alone, on the tests' API server and, with `make test-cluster`, on a real one."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from fedyard.cluster import manifests, names
from fedyard.cluster.kubernetes_api import Missing
from fedyard.cluster.kubernetes_cluster import PERMISSIONS
from fedyard.cluster.manifests import Rules
from fedyard.cluster.port import Phase, Placement, Reason, Refused, Spec, Unavailable
from tests.cluster.programs import DEAF, LIVES, sh
from tests.cluster.test_contract import Yard as AnyYard
from tests.cluster.worlds import KubernetesWorld, needs

pytestmark = needs("kubernetes")
RBAC = "/apis/rbac.authorization.k8s.io/v1"


class Yard(AnyYard):
    """With the API itself, as an administrator has it."""

    world: KubernetesWorld

    @property
    def api(self):
        return self.cluster._api

    @property
    def namespace(self) -> str:
        return names.place_name(self.place)

    def path(self, plural: str, name: str = "", *, group: str = "v1") -> str:
        base = f"/api/{group}" if group == "v1" else f"/apis/{group}"
        return f"{base}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def named(self, plural: str, spec: Spec | None = None, *, group: str = "v1") -> list[dict]:
        """Objects of that kind in the place, of that attempt alone if one is given."""
        query = {"labelSelector": names.selector(names.identity(spec))} if spec else None
        return json.loads(self.api.get(self.path(plural, group=group), query))["items"]

    def reason(self, spec: Spec, reason: Reason):
        return self.until(spec, lambda one: one.reason is reason)


@pytest.fixture(scope="module")
def shared_cluster(world: KubernetesWorld):
    return world.client()


@pytest.fixture
def yard(world: KubernetesWorld, shared_cluster) -> Iterator[Yard]:
    made = Yard(world, shared_cluster)
    yield made
    for owner, place in made.places:
        world.places.add((owner, place))


def test_what_a_place_is_made_of_is_there_and_stays_as_it_was_written(yard: Yard) -> None:
    """The server fills in what is left out; it must not find anything that it would have otherwise."""
    yard.cluster.ensure(yard.job("exit 0"))
    for wanted in manifests.place(yard.owner, yard.place, Rules()):
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        plural = {"NetworkPolicy": "networkpolicies", "Namespace": ""}.get(kind, f"{kind.lower()}s")
        group = "networking.k8s.io/v1" if kind == "NetworkPolicy" else "v1"
        path = yard.path(plural, name, group=group) if plural else f"/api/v1/namespaces/{name}"
        found = json.loads(yard.api.get(path))
        assert wanted["metadata"]["labels"].items() <= found["metadata"]["labels"].items()
        if "spec" in wanted:
            assert _within(wanted["spec"], found["spec"]), (wanted["spec"], found["spec"])
    versions = [one["metadata"]["resourceVersion"] for one in yard.named("limitranges") + yard.named("serviceaccounts")]
    yard.world.client().ensure(yard.job("exit 0"))
    again = [one["metadata"]["resourceVersion"] for one in yard.named("limitranges") + yard.named("serviceaccounts")]
    assert again == versions, "what is as it should be is not written again"


def _within(wanted, found) -> bool:
    """Lists as long as they were, and no key missing or changed. Quantities may be written another way."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(key in found and _within(one, found[key]) for key, one in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(wanted) == len(found) and all(map(_within, wanted, found))
    return wanted == found or (isinstance(wanted, str) and isinstance(found, str) and wanted[:1].isdigit())


def test_a_pod_of_ours_is_restricted(yard: Yard) -> None:
    """The namespace enforces it; so a pod that runs has been found so by the server itself."""
    spec = yard.job("touch /tmp/new /fedyard/new && echo fine")
    yard.cluster.ensure(spec)
    assert yard.ended(spec).phase is Phase.SUCCEEDED
    assert yard.log(spec) == b"fine\n"
    namespace = json.loads(yard.api.get(f"/api/v1/namespaces/{yard.namespace}"))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    (pod,) = yard.named("pods", spec)
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert not [one for one in pod["spec"]["volumes"] if "emptyDir" not in one]


def test_the_permissions_that_are_asked_for_are_enough(yard: Yard, tmp_path: Path) -> None:
    name = f"fedyard-test-{yard.owner}"
    rules = []
    for what, verbs in PERMISSIONS.items():
        resource, _, group = what.partition(".")
        rules.append({"apiGroups": [group], "resources": [resource], "verbs": list(verbs)})
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": yard.namespace, "name": "asked"}],
    }
    yard.cluster.ensure(yard.job("exit 0"))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "asked", "namespace": yard.namespace}}
    yard.api.post(yard.path("serviceaccounts"), account)
    made = [(f"{RBAC}/clusterroles", role), (f"{RBAC}/clusterrolebindings", binding)]
    uids = [(f"{path}/{name}", json.loads(yard.api.post(path, body))["metadata"]["uid"]) for path, body in made]
    try:
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        given = yard.api.post(yard.path("serviceaccounts", "asked") + "/token", asked)
        least = yard.world.client(kubeconfig=_with_token(yard.world, tmp_path, json.loads(given)["status"]["token"]))
        yard.waited(lambda: not least.missing(), each_s=0.1)  # a right that was just given takes a moment
        with pytest.raises(Refused, match="cannot list resource"):
            least._api.get("/api/v1/secrets")
        everything = Yard(yard.world, least)
        spec = everything.service(secrets={"TOKEN": "x"})
        least.ensure(spec)
        everything.until(spec, lambda one: one.ready == 1)
        least.scale(spec.attempt_id, 0)
        assert least.ensure(spec).replicas == 0
        job = everything.job("echo said", secrets={"TOKEN": "x"})
        least.ensure(job)
        everything.ended(job)
        assert least.evidence(job.attempt_id, log_bytes=100).log == b"said\n"
        for one in (spec, job):
            everything.stopped(one, grace_s=0)
        everything.waited(lambda: least.remove_place(everything.owner, everything.place))
    finally:
        for path, uid in uids:
            yard.api.delete(path, uid, propagation="Background")


def _with_token(world: KubernetesWorld, folder: Path, token: str) -> Path:
    """Of the same kubeconfig one whose context logs in by that token."""
    config = yaml.safe_load(world.kubeconfig.read_text())
    (context,) = [one["context"] for one in config["contexts"] if one["name"] == world.context]
    config["users"] = [{"name": "asked", "user": {"token": token}}]
    context["user"] = "asked"
    for one in config["clusters"]:
        file = one["cluster"].pop("certificate-authority", None)
        if file:
            content = (world.kubeconfig.parent / file).read_bytes()
            one["cluster"]["certificate-authority-data"] = base64.b64encode(content).decode()
    path = folder / "asked"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_quota_that_is_full_is_seen_and_passes(yard: Yard) -> None:
    """A Job over quota is taken, and its pod is refused: only an event says so. Then it is tried again."""
    yard.cluster = yard.world.client(rules=Rules(quota={"pods": "1"}))
    first, second = yard.job(), yard.job("exit 0")
    yard.cluster.ensure(first)
    yard.running(first)
    yard.cluster.ensure(second)
    found = yard.reason(second, Reason.QUOTA_EXCEEDED)
    assert (found.phase, "exceeded quota" in found.detail) == (Phase.STARTING, True)
    assert yard.cluster.ensure(second).reason is Reason.QUOTA_EXCEEDED
    yard.stopped(first, grace_s=0)
    assert yard.ended(second).phase is Phase.SUCCEEDED


def test_a_quota_of_jobs_refuses_at_once(yard: Yard) -> None:
    yard.cluster = yard.world.client(rules=Rules(quota={"count/jobs.batch": "1"}))
    yard.cluster.ensure(yard.job("exit 0"))
    assert yard.refused(yard.job("exit 0")) is Reason.QUOTA_EXCEEDED


def test_a_strangers_job_under_our_name_is_left_alone(yard: Yard) -> None:
    spec = yard.job()
    yard.cluster.ensure(yard.job("exit 0"))  # the place is there
    theirs = manifests.workload(spec, Rules())
    theirs["metadata"] |= {"labels": {"app": "theirs"}, "annotations": {}}
    theirs["spec"]["template"]["metadata"] = {}
    made = json.loads(yard.api.post(yard.path("jobs", group="batch/v1"), theirs))
    with pytest.raises(Refused, match="none of ours"):
        yard.cluster.ensure(spec)
    assert yard.seen(spec) is None
    assert yard.cluster.stop(spec.attempt_id, grace_s=1)
    found = json.loads(yard.api.get(yard.path("jobs", made["metadata"]["name"], group="batch/v1")))
    assert (found["metadata"]["uid"], "deletionTimestamp" in found["metadata"]) == (made["metadata"]["uid"], False)


def test_a_strangers_namespace_under_our_name_is_left_alone(yard: Yard) -> None:
    theirs = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": yard.namespace}}
    made = json.loads(yard.api.post("/api/v1/namespaces", theirs))
    try:
        with pytest.raises(Refused, match="none of ours"):
            yard.cluster.ensure(yard.job())
        with pytest.raises(Refused, match="none of ours"):
            yard.cluster.remove_place(yard.owner, yard.place)
        assert yard.named("resourcequotas") == []
    finally:
        yard.api.delete(f"/api/v1/namespaces/{yard.namespace}", made["metadata"]["uid"], propagation="Background")


def test_a_namespace_that_something_holds_back_is_told_and_nothing_is_made_in_it(yard: Yard) -> None:
    yard.cluster.ensure(yard.job("exit 0"))
    held = {"name": "held", "finalizers": ["fedyard.example/held"]}
    yard.api.post(yard.path("secrets"), {"apiVersion": "v1", "kind": "Secret", "metadata": held})
    try:
        assert not yard.cluster.remove_place(yard.owner, yard.place)
        yard.waited(lambda: "deletionTimestamp" in json.loads(yard.api.get(yard.path("secrets", "held")))["metadata"])
        with pytest.raises(Unavailable, match="is being removed"):
            yard.cluster.ensure(yard.job())
        assert not yard.cluster.remove_place(yard.owner, yard.place)
    finally:
        yard.api.patch(yard.path("secrets", "held"), {"metadata": {"finalizers": None}})
    yard.waited(lambda: yard.cluster.remove_place(yard.owner, yard.place))


def test_the_trap_of_deletion_leaves_an_orphan_which_is_seen_and_ended(yard: Yard) -> None:
    """A job that somebody deletes without a policy: its pods run on, and nothing collects them."""
    spec = yard.job()
    yard.cluster.ensure(spec)
    yard.up(spec)
    yard.api._call("DELETE", yard.path("jobs", names.workload_name(spec), group="batch/v1"))
    yard.waited(lambda: not yard.named("jobs", spec, group="batch/v1"))
    yard.waited(lambda: not yard.named("pods", spec)[0]["metadata"].get("ownerReferences"))
    found = yard.waited(lambda: yard.seen(spec))
    assert found is not None
    assert (found.attempt, found.phase) == (1, Phase.RUNNING)
    yard.stopped(spec, grace_s=0)
    assert yard.named("pods", spec) == []
    assert yard.seen(spec) is None


def test_all_that_belongs_to_a_workload_goes_with_it(yard: Yard) -> None:
    spec = yard.service(secrets={"TOKEN": "x"})
    yard.cluster.ensure(spec)
    yard.until(spec, lambda one: one.ready == 1)
    kinds = [
        ("secrets", "v1"), ("services", "v1"), ("networkpolicies", "networking.k8s.io/v1"), ("pods", "v1"),
        ("replicasets", "apps/v1"), ("deployments", "apps/v1"),
    ]  # fmt: skip
    assert [len(yard.named(plural, spec, group=group)) for plural, group in kinds] == [1] * len(kinds)
    yard.stopped(spec, grace_s=0)
    assert [yard.named(plural, spec, group=group) for plural, group in kinds] == [[]] * len(kinds)


def test_an_eviction_is_told_although_the_pod_is_gone_with_it(yard: Yard) -> None:
    spec = yard.job(DEAF, grace_s=2.0)
    yard.cluster.ensure(spec)
    yard.up(spec)
    (pod,) = yard.named("pods", spec)
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": yard.namespace}}
    yard.api.post(yard.path("pods", name) + "/eviction", eviction)
    assert yard.ended(spec).reason is Reason.EVICTED
    yard.waited(lambda: not yard.named("pods", spec))
    assert yard.ended(spec).reason is Reason.EVICTED


def test_an_image_that_cannot_be_pulled_and_a_node_that_is_not_there(yard: Yard) -> None:
    no_image = yard.job(image="registry.invalid/none:1")
    no_node = yard.job(placement=Placement(node_selector={"fedyard-test": "none"}))
    for one in (no_image, no_node):
        yard.cluster.ensure(one)
    assert yard.reason(no_image, Reason.IMAGE_NOT_PULLED).phase is Phase.STARTING
    assert yard.reason(no_node, Reason.UNSCHEDULABLE).phase is Phase.STARTING
    assert yard.cluster.log(no_image.attempt_id, after=0, most=10) == b""
    assert yard.cluster.evidence(no_image.attempt_id, log_bytes=10).log == b""
    for one in (no_image, no_node):
        yard.stopped(one, grace_s=0)


def test_a_pod_keeps_its_log_past_its_deadline(yard: Yard) -> None:
    """The deadline is the pod's own: a job's would remove the pod with the log."""
    spec = yard.job(command=sh(LIVES), deadline_s=4.0)
    yard.cluster.ensure(spec)
    assert yard.ended(spec).reason is Reason.DEADLINE_PASSED
    assert yard.cluster.evidence(spec.attempt_id, log_bytes=100).log == b"up\n"


def test_two_hubs_on_one_cluster_know_nothing_of_each_other(yard: Yard) -> None:
    other = Yard(yard.world, yard.world.client())
    mine, theirs = yard.job(), other.job()
    yard.cluster.ensure(mine)
    other.cluster.ensure(theirs)
    assert [one.id for one in yard.cluster.observe(yard.owner)] == [mine.id]
    as_mine = msgspec.structs.replace(theirs, owner=yard.owner)
    with pytest.raises(Refused):
        yard.cluster.ensure(as_mine)
    assert yard.cluster.stop(as_mine.attempt_id, grace_s=1)
    with pytest.raises(Refused):
        yard.cluster.remove_place(yard.owner, other.place)
    assert other.running(theirs).stopping is False


def test_what_is_read_of_a_namespace_that_is_not_there_is_nothing(yard: Yard) -> None:
    with pytest.raises(Missing):
        yard.api.get(f"/api/v1/namespaces/fy-{uuid.uuid4()}")
    assert yard.cluster.observe(str(uuid.uuid4())) == []
